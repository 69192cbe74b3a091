//! A whole stack under arbitrary packets, on virtual time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tools::fuzz::stack::fuzz_stack(data));
