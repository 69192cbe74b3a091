//! One UDP socket.
