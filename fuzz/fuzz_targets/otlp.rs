//! Whatever a request of spans holds, it is read or refused: protobuf or JSON, packed or not.
//!
//!     cargo +nightly fuzz run otlp
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte says which of the four.
    if let Some((how, content)) = data.split_first() {
        honeyhive::server::fuzzing::otlp(content, how & 1 == 1, how & 2 == 2);
    }
});
