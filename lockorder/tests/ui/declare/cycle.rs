#![allow(unused)]
lockorder::lock_order! {
    domain Stack;
    level A, B, C;
    Stack => A => B => C;
    C => A;
}

fn main() {}
