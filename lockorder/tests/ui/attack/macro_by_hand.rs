//! The hidden macro called by hand with a path of the caller's choice: without the word `unsafe` it is no macro at all.
#![allow(unused)]
mod evil {
    pub use lockorder::*;
    macro_rules! my_slot {
        ($n:literal) => {
            fn __slot<R>(f: impl FnOnce(&lockorder::__private::Slot) -> R) -> R {
                f(&lockorder::__private::Slot::new())
            }
        };
    }
    pub(crate) use my_slot as __domain_slot;
}
mod levels {
    lockorder::__private::lock_order_impl! { (crate::evil) pub domain D; level A, B; D => A => B; }
}
mod disguised {
    macro_rules! lock_order {
        ($($order:tt)*) => { lockorder::__private::lock_order_impl! { ($crate) $($order)* } };
    }
    lock_order! { pub domain D; level A; D => A; }
}

fn main() {}
