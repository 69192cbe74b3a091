//! A guard, which may be a member of a set, is not released for a time.
#![allow(unused)]
use lockorder::{Key, LockSet, Mutex, MutexGuard};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let locks = [Mutex::<A, _>::new(0), Mutex::new(1)];
    let mut key = Key::<D>::take().unwrap();
    let mut root = key.ctx();
    let set = LockSet::new(&locks);
    let ([mut one, other], _) = set.lock(&mut root);
    MutexGuard::unlocked(&mut one, || ());
    MutexGuard::bump(&mut one);
}
