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

/// Runs a test with a proxy, and tells what it showed.
fn behind(test: &str, proxy: &str, more: &[(&str, &str)]) -> Option<String> {
    let mut variables = vec![("HTTP_PROXY", proxy), ("http_proxy", proxy)];
    variables.extend(more);
    let output = in_process_of_its_own(test, &variables)?;
    let shown =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Some(shown.concat())
}

fn deliver(url: &str) -> honeyhive::report::Stats {
    let honeyhive = settings(url)
        .allow_insecure(true)
        .verbose(true)
        .build()
        .unwrap();
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stdout);
    let subscriber = tracing_subscriber::registry()
        .with(fmt)
        .with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        drop(tracing::info_span!("work"));
        if let Err(error) = honeyhive.flush_blocking(Duration::from_secs(2)) {
            println!("{error}");
            show(&error);
        }
        println!("{}", honeyhive.status());
        show(&(
            &honeyhive,
            honeyhive.status(),
            honeyhive.stats(),
            honeyhive.config(),
        ));
    });
    assert_balanced(&honeyhive.stats());
    honeyhive.stats()
}

#[test]
fn a_proxy_is_given_its_password_and_nobody_else() {
    let test = "a_proxy_is_given_its_password_and_nobody_else";
    let server = Recorder::start();
    let proxy = server.url.replace("http://", "http://me:pass-1234@");
    if let Some(shown) = behind(test, &proxy, &[("NO_PROXY", ""), ("no_proxy", "")]) {
        assert!(!shown.contains("pass-1234"), "{shown}");
        let requests = server.requests();
        assert_eq!(requests.len(), 2, "{requests:#?}");
        for request in requests {
            assert!(
                request.path.starts_with("http://honeyhive.example/"),
                "{}",
                request.path
            );
            let encoded = "Basic bWU6cGFzcy0xMjM0";
            assert_eq!(request.header("proxy-authorization"), Some(encoded));
            assert_eq!(
                request.header("authorization"),
                Some(format!("Bearer {KEY}").as_str())
            );
        }
        return;
    }
    assert_eq!(deliver("http://honeyhive.example").exported, 1);
}

#[test]
fn a_proxy_that_is_down_is_named_without_its_password() {
    let test = "a_proxy_that_is_down_is_named_without_its_password";
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://me:pass-1234@{}", nobody.local_addr().unwrap());
    drop(nobody);
    if let Some(shown) = behind(test, &proxy, &[("NO_PROXY", ""), ("no_proxy", "")]) {
        assert!(shown.contains("cannot connect"), "{shown}");
        assert!(
            !shown.contains("pass-1234") && !shown.contains("bWU6cGFzcy0xMjM0"),
            "{shown}"
        );
        return;
    }
    let stats = deliver("http://honeyhive.example");
    assert_eq!((stats.exported, stats.in_flight), (0, 1));
}

#[test]
fn hosts_that_need_no_proxy_are_reached_without() {
    let test = "hosts_that_need_no_proxy_are_reached_without";
    let (server, proxy) = (Recorder::start(), Recorder::start());
    let variables = [
        ("NO_PROXY", "localhost,127.0.0.1"),
        ("no_proxy", "localhost,127.0.0.1"),
        ("TEST_URL", &server.url),
    ];
    if behind(test, &proxy.url, &variables).is_some() {
        assert_eq!((server.requests().len(), proxy.connections()), (2, 0));
        return;
    }
    assert_eq!(deliver(&std::env::var("TEST_URL").unwrap()).exported, 1);
}
