//! Levels of different domains have no order; each domain has its own key.
#![allow(unused)]
use lockorder::{Key, Mutex};

mod levels {
    lockorder::lock_order! { pub domain One; level A; One => A; }
    lockorder::lock_order! { pub domain Other; level B; Other => B; }
}

fn main() {
    let a = Mutex::<levels::A, _>::new(0);
    let b = Mutex::<levels::B, _>::new(0);
    let mut key = Key::<levels::One>::take().unwrap();
    a.with(&mut key.ctx(), |_, ctx| {
        b.with(ctx, |_, _| ());
    });
}
