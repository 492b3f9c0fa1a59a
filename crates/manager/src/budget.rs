//! How much one commit may hold: whoever writes for many objects at once stops when it is spent, and goes on with the
//! next commit.

/// Encoded bytes of one commit; below the store's limit, with room for what it adds.
const MAX_BYTES: usize = 3 << 20;

/// What is left of a commit's size.
pub struct Budget {
    left: usize,
    spent: bool,
}

impl Budget {
    /// A whole commit.
    pub fn new() -> Self {
        Self { left: MAX_BYTES, spent: false }
    }

    /// Takes `size` bytes; false if they do not fit. The first always do: nothing could be cut any smaller.
    pub fn take(&mut self, size: usize) -> bool {
        let fits = size <= self.left || !self.spent;
        self.spent = true;
        self.left = self.left.saturating_sub(size);
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_takes_one_thing_of_any_size_and_more_only_while_there_is_room() {
        let mut budget = Budget::new();
        assert!(budget.take(MAX_BYTES * 2));
        assert!(!budget.take(1));
        let mut budget = Budget::new();
        assert!(budget.take(MAX_BYTES - 1) && budget.take(1));
        assert!(!budget.take(1));
    }
}
