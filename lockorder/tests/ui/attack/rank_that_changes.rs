//! A rank that changes while its lock is held.
#![allow(unused)]
use lockorder::{Ascending, Key, Mutex, Ranked};
use std::cell::Cell;
use std::sync::atomic::AtomicU32;

mod levels {
    lockorder::lock_order! {
        pub domain Dom;
        level A, B;
        Dom => A => B;
    }
}
use levels::{A, B, Dom};

fn main() {
    let mut key = Key::<Dom>::take().unwrap();
    let mut root = key.ctx();
    let (cell, ranks) = (Cell::new(1), AtomicU32::new(1));
    let row = Ranked::new(&cell, Mutex::<A, u32>::new(0));
    let _ = Ascending::new(&mut root).lock(&row);
    let row = Ranked::new(1u32, Mutex::<A, u32>::new(0));
    row.rank = 2;
}
