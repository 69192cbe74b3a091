//! See `tools::fuzz::parsers::fuzz_tcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tools::fuzz::parsers::fuzz_tcp(data));
