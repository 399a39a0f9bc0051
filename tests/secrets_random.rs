//! Whatever a key looks like, and whatever a server makes of it: it is seen nowhere.

mod support;

use std::fmt::{Debug, Write as _};
use std::time::Duration;

use honeyhive::config::{Compression, Protocol};
use proptest::prelude::*;
use support::fault::Heard;
use support::*;

/// All that can be seen, in the forms in which it can be written.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn show(&mut self, what: &impl Debug) {
        let _ = write!(self.0, "{what:?}\n{what:#?}\n");
    }

    fn say(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }
}

/// How a text may come back: as it is, escaped as `Debug` and JSON do it, and as part of a URL or a page.
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap();
    let debug = format!("{secret:?}");
    let url: String = secret
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let html = secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    vec![
        secret.to_owned(),
        secret.to_ascii_uppercase(),
        secret.to_ascii_lowercase(),
        json[1..json.len() - 1].to_owned(),
        debug[1..debug.len() - 1].to_owned(),
        url.to_ascii_lowercase(),
        url,
        html,
    ]
}

fn check(
    [key, ingestion, header]: [&str; 3],
    of_its_own: bool,
    protocol: Protocol,
    compression: Compression,
) {
    let server = Recorder::start();
    let mut secrets = vec![key.to_owned(), header.to_owned()];
    secrets.extend(of_its_own.then(|| ingestion.to_owned()));
    // A server that repeats what it was told in every form, more often than anybody reads.
    let echo: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    let repeated = echo.join(" | ");
    // The last occurrence is cut off wherever a reader may stop.
    let long = format!("{}{repeated}", "y".repeat(4096 - 3 - key.len() / 2)) + &repeated.repeat(20);
    let place = format!("http://{ingestion}.example/{}", forms(key)[5]);
    server.answer_by(move |request| {
        let reply = match (request.path.as_str(), request.header("x-source")) {
            (TRACES, Some("long")) => Reply::status(400).body(long.clone()),
            (TRACES, Some("refused")) | ("/events", _) => Reply::status(400).body(repeated.clone()),
            (TRACES, Some("moved")) => Reply::status(308).header("location", &place),
            (TRACES, Some("unavailable")) => Reply::status(503).body(repeated.clone()),
            (TRACES, Some("unauthorized")) => Reply::status(401).body(repeated.clone()),
            (TRACES, Some("partial")) => {
                let message = serde_json::json!({ "partialSuccess":
                    { "rejectedSpans": 1, "errorMessage": repeated } });
                Reply::status(200).body(message.to_string())
            }
            (SESSIONS, _) => Reply::status(500).body(repeated.clone()),
            _ => return None,
        };
        Some(reply)
    });

    let mut shown = Shown::default();
    let builder = settings(&server.url)
        .api_key(key)
        .header("x-team-secret", header)
        .protocol(protocol)
        .compression(compression)
        .verbose(true);
    let builder = if of_its_own {
        builder.ingestion_api_key(ingestion)
    } else {
        builder
    };
    shown.show(&builder);
    let honeyhive = builder.build().unwrap();
    let heard = Heard::default();
    let dispatch = heard.dispatch(&honeyhive);
    let sources = [
        "fine",
        "long",
        "refused",
        "moved",
        "partial",
        "unavailable",
        "unauthorized",
    ];
    for source in sources {
        honeyhive
            .reconfigure(|settings| settings.source(source))
            .unwrap();
        honeyhive.own_session().enrich(|s| s.metadata("k", 1));
        tracing::dispatcher::with_default(&dispatch, || drop(tracing::info_span!("work")));
        if let Err(error) = honeyhive.flush_blocking(Duration::from_millis(150)) {
            shown.say(&error.to_string());
            shown.show(&error);
        }
        shown.show(&honeyhive);
        shown.show(&honeyhive.layer::<tracing_subscriber::Registry>());
        shown.show(&honeyhive.status());
        shown.say(&honeyhive.status().to_string());
        shown.show(&honeyhive.stats());
        shown.show(&honeyhive.config());
        shown.say(&honeyhive.config().to_string());
        shown.show(&honeyhive.own_session());
        assert_balanced(&honeyhive.stats());
    }
    if let Err(error) = honeyhive.shutdown_blocking(Duration::from_millis(100)) {
        shown.say(&format!("{error} {error:?}"));
    }
    let stats = honeyhive.stats();
    shown.show(&stats);
    assert_balanced(&stats);
    assert_eq!(stats.in_flight, 0);
    assert!(stats.exported > 0 && stats.rejected >= 3, "{stats:#?}");
    // A bad key is complained of without it.
    for bad in [
        settings(&server.url)
            .api_key(format!("{key} {key}"))
            .build(),
        settings(&server.url)
            .ingestion_api_key(format!("{ingestion}\n"))
            .build(),
    ] {
        shown.show(&bad);
        shown.say(&bad.err().map(|error| error.to_string()).unwrap_or_default());
    }
    shown.say(&heard.text());
    for part in [
        "status 400",
        "not followed",
        "status 503",
        "refused the API key",
        "POST",
    ] {
        assert!(heard.text().contains(part), "{part}: {}", heard.text());
    }

    let text = shown.0;
    for secret in &secrets {
        for form in forms(secret) {
            let found = text.find(&form);
            let around =
                found.map(|at| text.get(at.saturating_sub(200)..(at + 200).min(text.len())));
            assert!(found.is_none(), "{secret:?} as {form:?} in {around:?}");
        }
        // Nor the greater part of one.
        let part = &secret[..secret.len() - 2];
        assert!(!text.contains(part), "the beginning of {secret:?}");
    }
    let sent = server.requests();
    let used = if of_its_own { ingestion } else { key };
    assert!(
        sent.iter()
            .all(|request| { request.header("authorization") == Some(&format!("Bearer {used}")) })
    );
    for request in &sent {
        let body = String::from_utf8_lossy(&request.plain()).into_owned();
        for secret in &secrets {
            assert!(!body.contains(secret.as_str()), "{body}");
        }
    }
}

proptest! {
    // Each case takes a second.
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_key_is_seen_nowhere(
        key in "[!-~]{24,60}",
        hex in ("[0-9a-zA-Z]{24}", "[A-Za-z0-9_-]{64}"),
        header in "[!-~]{16,40}",
        of_its_own: bool,
        json: bool,
        gzip: bool,
    ) {
        let ingestion = format!("hh_ingst_{}_{}", hex.0, hex.1);
        let protocol = if json { Protocol::HttpJson } else { Protocol::HttpProtobuf };
        let compression = if gzip { Compression::Gzip } else { Compression::None };
        check([&key, &ingestion, &header], of_its_own, protocol, compression);
    }
}
