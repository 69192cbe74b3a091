//! See `tools::fuzz::parsers::fuzz_reference`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tools::fuzz::parsers::fuzz_reference(data));
