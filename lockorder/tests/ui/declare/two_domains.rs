#![allow(unused)]
lockorder::lock_order! {
    domain One;
    level A;
    One => A;
    domain Other;
}

fn main() {}
