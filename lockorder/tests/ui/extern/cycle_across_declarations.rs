//! A cycle that no declaration sees alone, found when the last one is compiled.
#![allow(unused)]



// Three crates, in the order of their dependencies.
mod net {
    lockorder::lock_order! { pub domain Net; level Conn; Net => Conn; }
}
mod app {
    lockorder::lock_order! { pub domain App; level Callback; App => Callback; extern crate::net::Net => Callback; }
}
mod program {
    lockorder::lock_order! { pub domain Program; level Main; Program => Main; extern crate::app::App => extern crate::net::Net; }
}

fn main() {}
