//! Another domain takes part in the check of cycles.
#![allow(unused)]



mod net {
    lockorder::lock_order! { pub domain Net; level Conn; Net => Conn; }
}
mod app {
    lockorder::lock_order! {
        pub domain App;
        level Callback, Session;
        App => Callback => Session => extern crate::net::Net;
        extern crate::net::Net => Callback;
    }
}

fn main() {}
