//! Whatever the headers are, reading them and passing them on is bounded, and what is passed on is read again as it was.
//!
//!     cargo +nightly fuzz run headers
#![no_main]

use honeyhive::propagation::{extract, inject};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // A line is a header: its first byte says which.
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((kind, value)) = line.split_first() else {
            continue;
        };
        let name = ["traceparent", "tracestate", "baggage"][usize::from(kind % 3)];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let remote = extract(&headers);
    assert!(remote.baggage().len() <= 182);

    let mut sent = HeaderMap::new();
    remote.in_scope(|| inject(&mut sent));
    let again = extract(&sent);
    assert_eq!(again.trace_id(), remote.trace_id());
    assert_eq!(again.span_id(), remote.span_id());
    assert_eq!(again.trace_state(), remote.trace_state());
    assert_eq!(
        again.session().map(|session| session.id()),
        remote.session().map(|session| session.id())
    );
    for (_, value) in &sent {
        assert!(value.as_bytes().len() <= 8192 && value.to_str().is_ok());
    }
});
