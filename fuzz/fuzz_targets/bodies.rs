//! Whatever the body of a request holds, it is read or refused, as each of the requests that have one.
//!
//!     cargo +nightly fuzz run bodies
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| honeyhive::server::fuzzing::bodies(data));
