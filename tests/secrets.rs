//! The key goes into one header, and nowhere else.

mod support;

use std::fmt::Debug;
use std::time::Duration;

use honeyhive::config::Protocol;
use support::*;
use tracing_subscriber::prelude::*;

/// Prints all there is to see, and what it looks like when it is looked at closely.
fn show(what: &impl Debug) {
    println!("{what:?} {what:#?}");
}

#[test]
fn the_key_is_never_shown() {
    let server = Recorder::start();
    // A server that repeats all it was told, whatever it answers.
    server.answer_by(|request| {
        let mut body = format!("no: {:?}", request.headers);
        let status = match (request.path.as_str(), request.header("x-source")) {
            (TRACES, Some("refused")) | ("/events", _) => 400,
            (TRACES, Some("unavailable")) => 503,
            (TRACES, Some("unauthorized")) => 403,
            (TRACES, Some("partial")) => {
                body = format!(
                    "{{\"partialSuccess\":{{\"rejectedSpans\":1,\"errorMessage\":{body:?}}}}}"
                );
                200
            }
            (SESSIONS, _) => 500,
            _ => 200,
        };
        Some(Reply::status(status).body(body))
    });
    let key = format!(
        "hh_{:x}",
        std::process::id().wrapping_mul(0x9E37_79B9) | 0x8000_0000
    );
    let ingestion = format!("hh_ingst_{}_{key:->64}", "Zz".repeat(12));
    let variables = [
        ("TEST_URL", server.url.as_str()),
        ("TEST_KEY", key.as_str()),
        ("TEST_INGESTION_KEY", ingestion.as_str()),
    ];
    if let Some(output) = in_process_of_its_own("the_key_is_never_shown", &variables) {
        let shown = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat();
        assert!(
            shown.contains("HoneyHive") && shown.contains("no: "),
            "{shown}"
        );
        assert!(!shown.contains(&key), "{shown}");
        let sent = server.requests();
        assert!(sent.iter().all(|request| {
            request
                .header("authorization")
                .is_some_and(|header| header.contains(&key))
        }));
        assert!(
            sent.iter()
                .all(|request| !String::from_utf8_lossy(&request.plain()).contains(&key))
        );
        return;
    }

    let variable = |name: &str| std::env::var(name).unwrap();
    let (key, url) = (variable("TEST_KEY"), variable("TEST_URL"));
    for ingestion in [None, Some(variable("TEST_INGESTION_KEY"))] {
        let mut builder = settings(&url)
            .api_key(&key)
            .protocol(Protocol::HttpJson)
            .verbose(true);
        if let Some(ingestion) = ingestion {
            builder = builder.ingestion_api_key(ingestion);
        }
        show(&builder);
        let honeyhive = builder.build().unwrap();
        let fmt = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stdout)
            .with_ansi(false);
        let layer = honeyhive.layer();
        show(&layer);
        let subscriber = tracing_subscriber::registry().with(fmt).with(layer);
        let dispatch = tracing::Dispatch::new(subscriber);
        for source in ["fine", "refused", "partial", "unavailable", "unauthorized"] {
            honeyhive
                .reconfigure(|settings| settings.source(source))
                .unwrap();
            honeyhive.own_session().enrich(|s| s.metadata("k", 1));
            tracing::dispatcher::with_default(&dispatch, || drop(tracing::info_span!("work")));
            if let Err(error) = honeyhive.flush_blocking(Duration::from_millis(400)) {
                println!("{error}");
                show(&error);
            }
            show(&honeyhive);
            show(&honeyhive.status());
            println!("{}", honeyhive.status());
            show(&honeyhive.stats());
            show(&honeyhive.config());
            println!("{}", honeyhive.config());
            assert_balanced(&honeyhive.stats());
        }
        if let Err(error) = honeyhive.shutdown_blocking(Duration::from_millis(300)) {
            println!("{error} {error:?}");
        }
        assert_balanced(&honeyhive.stats());
    }
    let bad = settings(&url)
        .api_key(format!("{key} with a space"))
        .build();
    println!("{} {bad:?}", bad.as_ref().unwrap_err());
    let bad = settings(&url).ingestion_api_key(&key).build();
    println!("{} {bad:?}", bad.as_ref().unwrap_err());
}
