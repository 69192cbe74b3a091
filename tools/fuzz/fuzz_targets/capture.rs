//! Captures of arbitrary bytes, inspected and replayed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tools::fuzz::captures::fuzz_capture(data));
