//! Tasks: futures that a worker polls.

use std::future::Future;
use std::pin::Pin;

/// A task that a worker runs.
pub type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
