#![allow(unused)]
lockorder::lock_order! {
    domain Stack;
    level A;
    Stack => {} => A;
}

fn main() {}
