//! A domain between two levels of another one, which a third declaration puts before all of it.
#![allow(unused)]

mod net {
    lockorder::lock_order! { pub domain Net; level Conn; Net => Conn; }
}
mod app {
    lockorder::lock_order! {
        pub domain App;
        level Session, Callback;
        App => Session => extern crate::net::Net => Callback;
    }
}
mod program {
    lockorder::lock_order! {
        pub domain Program;
        level Main;
        Program => Main;
        extern crate::net::Net => extern crate::app::App;
    }
}

fn main() {}
