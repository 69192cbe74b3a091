//! Which connection, listener or socket a packet belongs to.
