#![allow(unused)]
lockorder::lock_order! {
    domain Stack;
    level A, B, C;
    Stack => A => B => C;
    {A, B} => C;
}

fn main() {}
