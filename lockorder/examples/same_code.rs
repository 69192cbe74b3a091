//! An ordered lock is the raw lock: the same machine code.
//!
//! Each pair of functions below does the same thing, once with this crate's locks and once
//! with the raw library's. The example disassembles itself with `objdump` and compares each
//! pair, instruction by instruction; where a function lies is the only thing that may differ.
//! (Some pairs the compiler has merged into one function already.)
//!
//! ```sh
//! cargo run --release -p lockorder --example same_code
//! ```
//!
//! Exits with an error if a pair differs.

use std::error::Error;
use std::process::Command;

use lockorder::{HeldMutex, Key, LockCtx, Mutex, RwLock, lockdep};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Stack;
        level A, B, C;
        Stack => A => B => C;
    }
}
use levels::{A, B, C, Stack};

type RawMutex<T> = lock_api::Mutex<parking_lot::RawMutex, T>;
type RawRwLock<T> = lock_api::RwLock<parking_lot::RawRwLock, T>;

/// A context is passed by reference; the raw functions get one, too, for the same signature.
type Ctx<'a, 'k> = &'a mut LockCtx<'k, Stack>;

#[inline(never)]
fn raw_lock(lock: &RawMutex<u64>, _: Ctx<'_, '_>) -> u64 {
    let mut value = lock.lock();
    *value += 1;
    *value
}

#[inline(never)]
fn ordered_lock(lock: &Mutex<A, u64>, ctx: Ctx<'_, '_>) -> u64 {
    let (mut value, _) = lock.lock(ctx);
    *value += 1;
    *value
}

#[inline(never)]
fn ordered_with(lock: &Mutex<A, u64>, ctx: Ctx<'_, '_>) -> u64 {
    lock.with(ctx, |value, _| {
        *value += 1;
        *value
    })
}

#[inline(never)]
fn ordered_hold(lock: &Mutex<A, u64>, ctx: Ctx<'_, '_>) -> u64 {
    let mut value = lock.hold(ctx.reborrow());
    *value += 1;
    let result = *value;
    HeldMutex::release(value);
    result
}

#[inline(never)]
fn lockdep_lock(lock: &lockdep::Mutex<A, u64>, _: Ctx<'_, '_>) -> u64 {
    let mut value = lock.lock();
    *value += 1;
    *value
}

#[inline(never)]
fn ordered_try_any_order(lock: &Mutex<A, u64>, ctx: Ctx<'_, '_>) -> Option<u64> {
    lock.try_lock_unordered(ctx).map(|(value, _)| *value)
}

#[inline(never)]
fn raw_try_lock(lock: &RawMutex<u64>, _: Ctx<'_, '_>) -> Option<u64> {
    lock.try_lock().map(|value| *value)
}

#[inline(never)]
fn ordered_try_lock(lock: &Mutex<A, u64>, ctx: Ctx<'_, '_>) -> Option<u64> {
    lock.try_lock(ctx).map(|(value, _)| *value)
}

#[inline(never)]
fn raw_read(lock: &RawRwLock<u64>, _: Ctx<'_, '_>) -> u64 {
    *lock.read()
}

#[inline(never)]
fn ordered_read(lock: &RwLock<A, u64>, ctx: Ctx<'_, '_>) -> u64 {
    lock.with_read(ctx, |value, _| *value)
}

#[inline(never)]
fn raw_nested(a: &RawMutex<u64>, b: &RawRwLock<u64>, c: &RawMutex<u64>, _: Ctx<'_, '_>) -> u64 {
    let a = a.lock();
    let mut b = b.write();
    let c = c.lock();
    *b += *a + *c;
    *b
}

#[inline(never)]
fn ordered_nested(
    a: &Mutex<A, u64>,
    b: &RwLock<B, u64>,
    c: &Mutex<C, u64>,
    ctx: Ctx<'_, '_>,
) -> u64 {
    let (a, mut ctx) = a.lock(ctx);
    let (mut b, mut ctx) = b.write(&mut ctx);
    let (c, _) = c.lock(&mut ctx);
    *b += *a + *c;
    *b
}

/// Returns the instructions of a function of this example, without what says only where it lies.
fn instructions(listing: &str, function: &str) -> Vec<String> {
    let begin = format!("<same_code::{function}>:");
    listing
        .lines()
        .skip_while(|line| !line.contains(&begin))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split('\t').nth(1))
        .filter(|text| !text.starts_with("int3") && !text.starts_with("nop"))
        .map(|text| {
            let relative = text.find("(%rip)").zip(text.find(" # "));
            if let Some((_, comment)) = relative {
                // Relative to the instruction: what counts is where that leads.
                let operation = text.split_whitespace().next().unwrap_or("");
                format!("{operation} {}", &text[comment + 3..])
            } else if let Some(inside) = text.find(&format!("<same_code::{function}+")) {
                // A jump inside the function: by its distance from the beginning.
                let operation = text.split_whitespace().next().unwrap_or("");
                let distance = text[inside..].trim_end_matches('>').rsplit('+').next();
                format!("{operation} +{}", distance.unwrap_or(""))
            } else {
                text.trim_end().to_owned()
            }
        })
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    // They run, too: what is compared is not dead code.
    let mut key = Key::<Stack>::take().ok_or("the key is out")?;
    let (a, b, c) = (Mutex::new(1), RwLock::new(2), Mutex::new(3));
    let (raw_a, raw_b, raw_c) = (RawMutex::new(1), RawRwLock::new(2), RawMutex::new(3));
    let read = RwLock::new(4);
    let ordered = [
        ordered_lock(&a, &mut key.ctx()),
        ordered_with(&a, &mut key.ctx()),
        ordered_hold(&a, &mut key.ctx()),
        lockdep_lock(&lockdep::Mutex::new(4), &mut key.ctx()),
        ordered_try_any_order(&a, &mut key.ctx()).unwrap_or(0),
        ordered_try_lock(&a, &mut key.ctx()).unwrap_or(0),
        ordered_read(&read, &mut key.ctx()),
        ordered_nested(&a, &b, &c, &mut key.ctx()),
    ];
    let raw = [
        raw_lock(&raw_a, &mut key.ctx()),
        raw_lock(&raw_a, &mut key.ctx()),
        raw_lock(&raw_a, &mut key.ctx()),
        raw_lock(&RawMutex::new(4), &mut key.ctx()),
        raw_try_lock(&raw_a, &mut key.ctx()).unwrap_or(0),
        raw_try_lock(&raw_a, &mut key.ctx()).unwrap_or(0),
        raw_read(&RawRwLock::new(4), &mut key.ctx()),
        raw_nested(&raw_a, &raw_b, &raw_c, &mut key.ctx()),
    ];
    assert_eq!(ordered, raw);

    let objdump = Command::new("objdump")
        .args(["-dC", "--no-show-raw-insn"])
        .arg(std::env::current_exe()?)
        .output()?;
    let listing = String::from_utf8_lossy(&objdump.stdout);
    let pairs: [(&str, *const (), &str, *const ()); 8] = [
        ("ordered_lock", ordered_lock as _, "raw_lock", raw_lock as _),
        ("ordered_with", ordered_with as _, "raw_lock", raw_lock as _),
        ("ordered_hold", ordered_hold as _, "raw_lock", raw_lock as _),
        ("lockdep_lock", lockdep_lock as _, "raw_lock", raw_lock as _),
        (
            "ordered_try_any_order",
            ordered_try_any_order as _,
            "raw_try_lock",
            raw_try_lock as _,
        ),
        (
            "ordered_try_lock",
            ordered_try_lock as _,
            "raw_try_lock",
            raw_try_lock as _,
        ),
        ("ordered_read", ordered_read as _, "raw_read", raw_read as _),
        (
            "ordered_nested",
            ordered_nested as _,
            "raw_nested",
            raw_nested as _,
        ),
    ];
    let mut differ = 0;
    for (ordered_name, ordered, raw_name, raw) in pairs {
        // Functions that the compiler has merged have one listing, under the name of one of them.
        let code = pairs
            .iter()
            .filter(|pair| pair.1 == ordered)
            .map(|pair| instructions(&listing, pair.0))
            .find(|code| !code.is_empty())
            .unwrap_or_default();
        let raw_code = instructions(&listing, raw_name);
        let verdict = if ordered == raw {
            "merged into one function by the compiler".to_owned()
        } else if !code.is_empty() && code == raw_code {
            format!("the same {} instructions", code.len())
        } else {
            differ += 1;
            format!("DIFFERENT: {code:#?} {raw_code:#?}")
        };
        println!("{ordered_name:21} {raw_name:13} {verdict}");
    }
    println!(
        "bytes: Key {}, LockCtx {}, Mutex<L, ()> {}",
        size_of::<Key<Stack>>(),
        size_of::<LockCtx<'_, A>>(),
        size_of::<Mutex<A, ()>>()
    );
    if differ > 0 {
        return Err(format!("{differ} pairs differ").into());
    }
    Ok(())
}
