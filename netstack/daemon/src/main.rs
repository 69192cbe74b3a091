//! netstackd
fn main() {}
