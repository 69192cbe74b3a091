//! The receiving half: the bytes that wait for the application or for a gap to close, and the
//! window that is offered.

pub(crate) mod assembler;
pub(crate) mod compact;
pub(crate) mod dsack;
pub(crate) mod ring;
pub(crate) mod window;
