//! See `tools::fuzz::parsers::fuzz_udp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tools::fuzz::parsers::fuzz_udp(data));
