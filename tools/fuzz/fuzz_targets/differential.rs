//! See `tools::fuzz::parsers::fuzz_differential`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tools::fuzz::parsers::fuzz_differential(data));
