//! Whatever filters say, they become SQL with as many values as places for them, or are asked of values; the quick look at
//! JSON text never misses what holds.
//!
//!     cargo +nightly fuzz run filters
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| honeyhive::server::fuzzing::filters(data));
