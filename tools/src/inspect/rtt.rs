//! A summary of round-trip times.

use serde::Serialize;
use serde::ser::SerializeStruct as _;

/// Count, smallest, mean and largest of round-trip times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoundTrips {
    count: u64,
    min_nanos: u64,
    max_nanos: u64,
    sum_nanos: u128,
}

impl RoundTrips {
    /// Adds a sample. Times that went backwards are left out.
    pub(super) fn add(&mut self, nanos: i128) {
        let Ok(nanos) = u64::try_from(nanos) else {
            return;
        };
        self.min_nanos = if self.count == 0 {
            nanos
        } else {
            self.min_nanos.min(nanos)
        };
        self.max_nanos = self.max_nanos.max(nanos);
        self.sum_nanos += u128::from(nanos);
        self.count += 1;
    }

    /// Returns the number of samples.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns smallest, mean and largest in nanoseconds; `None` without a sample.
    pub fn min_mean_max_nanos(&self) -> Option<(u64, u64, u64)> {
        let mean = self.sum_nanos.checked_div(u128::from(self.count))? as u64;
        Some((self.min_nanos, mean, self.max_nanos))
    }
}

impl Serialize for RoundTrips {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let all = self.min_mean_max_nanos();
        let mut fields = serializer.serialize_struct("RoundTrips", 4)?;
        fields.serialize_field("count", &self.count)?;
        fields.serialize_field("min_ms", &all.map(|(min, _, _)| millis(min)))?;
        fields.serialize_field("mean_ms", &all.map(|(_, mean, _)| millis(mean)))?;
        fields.serialize_field("max_ms", &all.map(|(_, _, max)| millis(max)))?;
        fields.end()
    }
}
