//! Two stacks whose sockets are called in any order.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = tools::fuzz::sockets::fuzz_sockets(data);
});
