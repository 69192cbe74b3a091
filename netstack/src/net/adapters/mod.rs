//! Adapters for other crates, each behind a feature of its name.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "hyper")]
pub(super) mod hyper;
