//! A whole stack on a device with offload, under arbitrary packets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = tools::fuzz::stack::fuzz_offload(data);
});
