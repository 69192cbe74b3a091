//! Sockets in tokio's shape.
