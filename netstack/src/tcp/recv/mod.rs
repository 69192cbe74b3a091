//! The receiving half: what waits for the application, what waits for a gap to close, and the window
//! that is offered.

pub(crate) mod assembler;
pub(crate) mod compact;
pub(crate) mod ring;
pub(crate) mod window;
