//! The locked stack.
