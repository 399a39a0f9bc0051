//! Headers that anybody may have written: reading them is bounded and never fails, whatever they are.

mod support;

use std::collections::HashMap;

use honeyhive::propagation::{Baggage, RemoteContext, extract, inject};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use support::traced::{Traced, touch};

/// What is in force inside is read, written and put on a span.
fn use_it(traced: &Traced, remote: &RemoteContext) {
    let mut sent = HashMap::new();
    traced.run(|| {
        remote.in_scope(|| {
            inject(&mut sent);
            touch("work");
        });
    });
    let baggage = remote.baggage();
    assert!(baggage.len() <= 182, "{}", baggage.len());
    let bytes: usize = baggage
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    // An escape that is no text becomes one of three bytes.
    assert!(bytes <= 3 * 8192, "{bytes}");
    assert!(sent["baggage"].len() <= 8192 && sent["baggage"].is_ascii());
    assert!(
        sent.get("tracestate")
            .is_none_or(|state| state.len() <= 512)
    );
    assert!(remote.trace_id().is_none_or(|id| id.len() == 32));
    // What is passed on is read again as it was.
    let again = extract(&sent);
    assert!(again.session().is_some());
    if let Some(session) = remote.session() {
        assert_eq!(again.session().map(|s| s.id()), Some(session.id()));
    }
    assert_eq!(again.trace_state(), remote.trace_state());
}

fn entry() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z_.]{0,12}=[ -~]{0,20}",
        2 => "(session_id|honeyhive_session_id|honeyhive\\.session_id|project|source|run_id)=[0-9a-f%+-]{0,40}",
        2 => "\\PC{0,8}[=;,%+]\\PC{0,8}",
        1 => "k=(%[0-9a-fA-F]{0,2}|%[g-z]){0,30}",
        1 => ".{0,30}",
        1 => Just(format!("long={}", "x".repeat(9000))),
        1 => Just("session_id=7f3a5c10-0000-4000-8000-000000000001".to_owned()),
    ]
}

fn parent() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
        1 => "00-[0-9a-fA-F]{30,34}-[0-9a-f]{15,17}-.{0,4}",
        1 => ".{0,60}",
        1 => Just("-".repeat(8192)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_headers_are_read(
        parents in prop::collection::vec(parent(), 0..3),
        states in prop::collection::vec("([a-z0-9_@*/-]{0,9}=[ -~]{0,300},?){0,40}", 0..3),
        baggage in prop::collection::vec(prop::collection::vec(entry(), 0..60), 0..4),
    ) {
        let traced = Traced::with(|builder| builder.test_mode(true));
        let mut map = HashMap::new();
        let mut headers = HeaderMap::new();
        let mut pairs = Vec::new();
        for (name, values) in [
            ("traceparent", parents),
            ("tracestate", states),
            ("baggage", baggage.iter().map(|entries| entries.join(",")).collect()),
        ] {
            for value in values {
                if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                    headers.append(name, value);
                }
                map.insert(name.to_uppercase(), value.clone());
                pairs.push((name.to_owned(), value));
            }
        }
        for remote in [extract(&map), extract(&headers), extract(&pairs)] {
            use_it(&traced, &remote);
        }
    }

    #[test]
    fn any_bytes_are_read(name in 0..3_usize, bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let traced = Traced::with(|builder| builder.test_mode(true));
        let name = ["traceparent", "tracestate", "baggage"][name];
        let bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte >= 32 && *byte != 127).collect();
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(&bytes).expect("bytes that are allowed");
        headers.insert(HeaderName::from_static(name), value);
        use_it(&traced, &extract(&headers));
    }

    #[test]
    fn any_baggage_arrives_as_it_was_set(entries in prop::collection::vec((".{1,20}", ".{0,30}"), 0..20)) {
        let traced = Traced::with(|builder| builder.test_mode(true));
        let mut baggage = Baggage::new();
        for (key, value) in &entries {
            baggage.set(key, value);
        }
        let mut sent = HashMap::new();
        traced.run(|| baggage.in_scope(|| inject(&mut sent)));
        let received = extract(&sent);
        for (key, value) in baggage.iter().filter(|(key, _)| key.trim() == *key) {
            prop_assert_eq!(received.baggage().get(key), Some(value), "{:?}", key);
        }
    }
}

#[test]
fn a_thousand_of_everything() {
    let traced = Traced::new();
    let mut headers = HeaderMap::new();
    for n in 0..1000 {
        let baggage = format!("k{n}=v{n},session_id=nonsense,%zz%,=,;;,k{n}");
        headers.append("baggage", HeaderValue::try_from(baggage).expect("a value"));
        headers.append(
            "tracestate",
            HeaderValue::try_from(format!("k{n}=v")).expect("a value"),
        );
        headers.append("traceparent", HeaderValue::from_static("00-00-00-00"));
    }
    let remote = extract(&headers);
    assert!(remote.trace_id().is_none() && remote.session().is_none());
    use_it(&traced, &remote);
    let span = traced.span("work");
    let carried = support::traced::under(&span, "baggage.");
    assert!((1..=180).contains(&carried.len()), "{}", carried.len());
    assert_eq!(support::traced::session_of(&span), traced.session());
}

#[test]
fn a_megabyte_of_a_header_is_read_as_far_as_it_goes() {
    let traced = Traced::with(|builder| builder.test_mode(true));
    let session = "session_id=7f3a5c10-0000-4000-8000-000000000001";
    let member = format!("k=ü{}", "x".repeat(1000));
    let long = format!("{session},{}", vec![member; 1000].join(","));
    let pairs = vec![
        ("baggage".to_owned(), long.clone()),
        ("traceparent".to_owned(), long.clone()),
        ("tracestate".to_owned(), long),
    ];
    let remote = extract(&pairs);
    assert!(remote.session().is_some() && remote.trace_id().is_none());
    assert_eq!(remote.baggage().get("k").map(str::len), Some(1002));
    use_it(&traced, &remote);
}
