//! Workers, timers and turns.
