//! Another domain's key is not to be had under a level that it does not come after.
#![allow(unused)]
use lockorder::{Key, Mutex};


mod net {
    lockorder::lock_order! { pub domain Net; level Conn; Net => Conn; }
}
mod app {
    lockorder::lock_order! { pub domain App; level Outer, Inner; App => Outer => Inner; Outer => extern crate::net::Net; }
}

fn main() {
    let inner = Mutex::<app::Inner, _>::new(0);
    let mut key = Key::<app::App>::take().unwrap();
    inner.with(&mut key.ctx(), |_, ctx| ctx.enter(|_: &mut Key<net::Net>| ()));
}
