//! The same with the word `unsafe`, in a crate that forbids it.
#![allow(unused)]
#![forbid(unsafe_code)]
mod levels {
    lockorder::__private::lock_order_impl! { (lockorder unsafe) pub domain D; level A; D => A; }
}

fn main() {}
