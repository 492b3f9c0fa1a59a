//! How large the entries of the log are, oldest first: for the bound on what it takes on disk.

use std::collections::VecDeque;

/// Sizes in bytes of the entries that are there, which follow each other without gaps.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    first: u64,
    sizes: VecDeque<usize>,
}

impl Sizes {
    /// Of a log whose first entry is, or will be, at `first`.
    pub(super) fn from(first: u64) -> Self {
        Self { first, sizes: VecDeque::new() }
    }

    fn at(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX)
    }

    /// An entry was appended; those from this index on are no more.
    pub(super) fn push(&mut self, index: u64, size: usize) {
        self.truncate(index);
        self.sizes.push_back(size);
    }

    pub(super) fn truncate(&mut self, from: u64) {
        self.sizes.truncate(self.at(from));
    }

    pub(super) fn purge(&mut self, upto: u64) {
        let gone = self.at(upto + 1).min(self.sizes.len());
        self.sizes.drain(..gone);
        self.first = self.first.max(upto + 1);
    }

    /// Bytes of all entries behind this index.
    pub(super) fn behind(&self, index: Option<u64>) -> u64 {
        let skipped = index.map_or(0, |index| self.at(index + 1));
        self.sizes.iter().skip(skipped).map(|size| *size as u64).sum()
    }

    /// The last entry that must go for no more than `bytes` to be left, if any must.
    pub(super) fn excess(&self, bytes: u64) -> Option<u64> {
        let mut left = bytes;
        for (at, size) in self.sizes.iter().enumerate().rev() {
            match left.checked_sub(*size as u64) {
                Some(less) => left = less,
                None => return Some(self.first + at as u64),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_what_must_go_is_counted() {
        let mut sizes = Sizes::from(5);
        (5..10).for_each(|index| sizes.push(index, 10));
        assert_eq!((sizes.behind(None), sizes.behind(Some(7)), sizes.behind(Some(9))), (50, 20, 0));
        assert_eq!((sizes.excess(50), sizes.excess(25), sizes.excess(0)), (None, Some(7), Some(9)));
        sizes.push(8, 1);
        assert_eq!(sizes.behind(None), 31);
        sizes.purge(6);
        assert_eq!((sizes.behind(None), sizes.excess(10)), (11, Some(7)));
        sizes.truncate(8);
        assert_eq!(sizes.behind(None), 10);
        sizes.purge(20);
        sizes.push(21, 3);
        assert_eq!((sizes.behind(Some(20)), sizes.excess(2)), (3, Some(21)));
    }
}
