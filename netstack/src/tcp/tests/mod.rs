//! Tests of whole connections.

mod link;
mod transfer;
