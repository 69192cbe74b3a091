//! Two stacks with an adversary between them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = tools::fuzz::between::fuzz_between(data);
});
