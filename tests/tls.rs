//! Servers whose TLS is not what it should be: the cause is said, nothing goes out, and nothing else breaks.
#![cfg(all(feature = "rustls", target_os = "linux"))]

mod support;

use std::time::Duration;

use support::fault::tls::{Authority, self_signed};
use support::fault::{Act, Fault};
use support::*;

const GOOD: i32 = 2200;

#[test]
fn the_cause_is_said_and_nothing_is_told_to_the_wrong_server() {
    let test = "the_cause_is_said_and_nothing_is_told_to_the_wrong_server";
    if let Ok(servers) = std::env::var("TEST_SERVERS") {
        return client(&servers);
    }
    let (trusted, unknown) = (Authority::new("trusted"), Authority::new("unknown"));
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, trusted.pem()).unwrap();
    let good = Recorder::start_tls(trusted.server("localhost", GOOD));
    let bad = [
        (trusted.server("localhost", 2020), "expired"),
        (trusted.server("other.example", GOOD), "not valid for name"),
        (self_signed("localhost"), "UnknownIssuer"),
        (unknown.server("localhost", GOOD), "UnknownIssuer"),
    ]
    .map(|(tls, cause)| (Recorder::start_tls(tls), cause));
    // A fatal alert: protocol_version, as from a server that knows TLS 1.1 only; and one that knows no TLS at all.
    let raw = [
        (&b"\x15\x03\x02\x00\x02\x02\x46"[..], "ProtocolVersion"),
        (
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            "corrupt message",
        ),
    ]
    .map(|(bytes, cause)| (Fault::start([], Act::Blurt(bytes)), cause));
    let mut servers: Vec<String> = Vec::new();
    servers.extend(
        bad.iter()
            .map(|(server, cause)| format!("{} {cause}", server.url)),
    );
    let raws = raw.iter();
    servers
        .extend(raws.map(|(server, cause)| format!("https://localhost:{} {cause}", server.port)));
    servers.push(format!("{} none", good.url));
    let variables = [
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
        ("TEST_SERVERS", &servers.join("\n")),
    ];
    let output = in_process_of_its_own(test, &variables).unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    for (server, cause) in &bad {
        assert!(server.connections() > 0, "{cause}");
        assert!(server.requests().is_empty(), "{cause}");
    }
    for (server, cause) in &raw {
        let heard = server.heard();
        // The first record of a handshake, and no key in it.
        assert_eq!(heard.first(), Some(&0x16), "{cause}");
        let has = |what: &str| {
            heard
                .windows(what.len())
                .any(|window| window == what.as_bytes())
        };
        assert!(!has(KEY) && !has("POST"), "{cause}");
        assert!(server.requests().is_empty());
    }
    assert_eq!(good.spans().len(), 10 * (servers.len()));
    assert!(
        good.requests_to(TRACES)
            .iter()
            .all(|request| { request.header("authorization") == Some(&format!("Bearer {KEY}")) })
    );
    assert!(!String::from_utf8_lossy(&output.stdout).contains(KEY));
}

/// Is sent from one server to the next, and delivers everything to the last one.
fn client(servers: &str) {
    let honeyhive = settings("https://localhost:1").build().unwrap();
    let mut submitted = 0;
    for line in servers.lines() {
        let (url, cause) = line.split_once(' ').unwrap();
        honeyhive
            .reconfigure(|settings| settings.server_url(url))
            .unwrap();
        emit(&honeyhive, 10);
        submitted += 10;
        if cause == "none" {
            break;
        }
        let error = honeyhive
            .flush_blocking(Duration::from_millis(1_500))
            .unwrap_err();
        let status = honeyhive.status().to_string();
        println!("{cause}: {error}");
        assert!(error.is_timeout(), "{error}");
        assert!(status.contains(cause), "{cause}: {status}");
        assert!(honeyhive.stats().last_error.unwrap().contains(cause));
        assert!(error.to_string().contains(cause), "{cause}: {error}");
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!(
            (stats.in_flight, stats.bytes_sent),
            (submitted, 0),
            "{cause}"
        );
    }
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert!(honeyhive.status().is_healthy(), "{}", honeyhive.status());
    assert_all_exported(&honeyhive.stats(), submitted);
}
