//! A slot has nothing that another crate can call.
#![allow(unused)]
mod levels {
    lockorder::lock_order! { pub domain D; level A; D => A; }
}
use lockorder::Domain;

fn main() {
    levels::D::__slot(|slot| slot.release());
    levels::D::__slot(|slot| slot.leave_leaf());
}
