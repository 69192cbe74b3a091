//! `/metrics`: every counter and gauge for Prometheus. [`crate::web`] serves it.

mod collect;

use std::sync::Arc;

use prometheus_client::registry::Registry;

use crate::control::Target;

/// The metrics of one stack.
#[derive(Debug)]
pub(crate) struct Metrics(Registry);

impl Metrics {
    /// The content type of [`Metrics::text`].
    pub(crate) const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    pub(crate) fn new(target: &Arc<Target>) -> Self {
        let mut registry = Registry::with_prefix("netstack");
        registry.register_collector(Box::new(collect::StackCollector::new(target)));
        Self(registry)
    }

    /// Returns the values of this moment. Counters are read without a lock.
    ///
    /// # Errors
    /// A value cannot be written.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}
