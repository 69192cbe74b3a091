//! A level has the visibility that it is declared with.
#![allow(unused)]
mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        pub(self) level Secret;
        Stack => Secret;
    }
}

static LOCK: lockorder::Mutex<levels::Secret, u8> = lockorder::Mutex::new(0);

fn main() {}
