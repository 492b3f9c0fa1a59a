//! When a service must be looked at again although nothing changes.

/// The earliest of the times noted, nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wake(Option<i64>);

impl Wake {
    /// Notes a time.
    pub(super) fn at(&mut self, time: i64) {
        self.0 = Some(self.0.map_or(time, |earliest| earliest.min(time)));
    }

    /// The earliest, if there is any.
    pub(super) fn earliest(self) -> Option<i64> {
        self.0
    }
}
