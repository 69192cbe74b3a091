//! The parser of scripts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tools::fuzz::scripts::fuzz_script(data));
