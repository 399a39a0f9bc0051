//! What the REST client makes of answers that are none: statuses, faults of the connection, malformed bodies, refused
//! requests. And that no key is seen in any of it.
#![cfg(feature = "api")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use honeyhive::Error;
use honeyhive::api::{
    Client, DatapointUpdate, EventKind, EventQuery, EventUpdate, MetricUpdate, NewChart,
    NewConfiguration, NewDataset, NewEvent, NewMetric, NewParameters, NewQueue, NewRun, NewSession,
    ResultQuery, RunQuery, blocking,
};
use proptest::prelude::*;
use serde_json::json;
use support::fault::{Act, Fault};
use support::{Recorder, Reply};

const KEY: &str = "hh_0123456789abcdefSECRET";

fn client(url: &str) -> Client {
    Client::builder()
        .server_url(url)
        .api_key(KEY)
        .max_retries(2)
        .build()
        .unwrap()
}

/// Two calls of two kinds: one that may be repeated, one that may not.
async fn both(client: &Client) -> [Error; 2] {
    let [one, other] = [client.clone(), client.clone()];
    let read = tokio::spawn(async move { one.runs().get("r").await.unwrap_err() });
    let make = tokio::spawn(async move {
        other
            .datasets()
            .create(NewDataset::new())
            .await
            .unwrap_err()
    });
    [read.await.unwrap(), make.await.unwrap()]
}

type Is = fn(&Error) -> bool;

#[tokio::test]
async fn each_status_is_a_typed_error_after_the_right_number_of_attempts() {
    const ZERO: Option<&str> = Some("0");
    // Status, Retry-After, attempts of a call that may be repeated and of one that may not, and what the error is.
    let cases: [(u16, Option<&str>, [u32; 2], Is); 20] = [
        (302, None, [1, 1], Error::is_status),
        (400, None, [1, 1], Error::is_status),
        (401, None, [1, 1], Error::is_unauthorized),
        (403, None, [1, 1], Error::is_unauthorized),
        (404, None, [1, 1], Error::is_not_found),
        (405, None, [1, 1], Error::is_unsupported),
        (408, None, [3, 1], Error::is_status),
        (409, None, [1, 1], Error::is_conflict),
        (413, None, [1, 1], Error::is_status),
        (418, None, [1, 1], Error::is_status),
        (429, None, [3, 3], Error::is_rate_limited),
        (429, ZERO, [3, 3], Error::is_rate_limited),
        (429, Some("3600"), [1, 1], Error::is_rate_limited),
        (500, ZERO, [3, 1], Error::is_server_error),
        (501, None, [1, 1], Error::is_unsupported),
        (502, None, [3, 1], Error::is_server_error),
        (503, None, [3, 1], Error::is_server_error),
        (503, ZERO, [3, 1], Error::is_server_error),
        (
            503,
            Some("Wed, 21 Oct 2099 07:28:00 GMT"),
            [1, 1],
            Error::is_server_error,
        ),
        (504, None, [3, 1], Error::is_server_error),
    ];
    let mut running = Vec::new();
    for (status, retry_after, attempts, is) in cases {
        running.push(tokio::spawn(async move {
            let recorder = Recorder::start();
            recorder.answer_by(move |_| {
                let reply =
                    Reply::status(status).body(r#"{"message": "it is so", "errorCode": "E7"}"#);
                Some(match retry_after {
                    Some(after) => reply.header("retry-after", after),
                    None => reply,
                })
            });
            let errors = both(&client(&recorder.url)).await;
            for (error, expected) in errors.iter().zip(attempts) {
                assert!(is(error) && error.is_status(), "{status}: {error}");
                assert!(!error.is_timeout() && !error.is_connection() && !error.is_decode());
                assert_eq!(error.status(), Some(status));
                assert_eq!(error.message(), Some("it is so"));
                assert_eq!(error.code(), Some("E7"));
                assert_eq!(
                    error.attempts(),
                    Some(expected),
                    "{status} {retry_after:?}: {error}"
                );
                assert!(error.to_string().contains(": it is so"), "{error}");
                assert_eq!(error.retry_after().is_some(), retry_after.is_some());
            }
            assert_eq!(errors[0].operation(), Some("runs.get"));
            assert_eq!(errors[1].operation(), Some("datasets.create"));
            let sent = |path| recorder.requests_to(path).len();
            let sent = [sent("/v1/runs/r"), sent("/v1/datasets")];
            assert_eq!(sent, attempts.map(|count| count as usize), "{status}");
        }));
    }
    for case in running {
        case.await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_succeeds_in_the_end_is_a_success() {
    let recorder = Recorder::start();
    recorder.answer_others([
        Reply::status(503).header("retry-after", "0"),
        Reply::status(429).header("retry-after", "0"),
        Reply::status(200).body(r#"{"datasets": []}"#),
    ]);
    let found = client(&recorder.url)
        .datasets()
        .list(Default::default())
        .await;
    assert!(found.unwrap().is_empty());
    let requests = recorder.requests();
    assert_eq!(requests.len(), 3);
    // One call, one time, however often it was sent.
    let stamp = |index: usize| {
        requests[index]
            .header("hh-client-timestamp")
            .unwrap()
            .to_owned()
    };
    assert_eq!([stamp(1), stamp(2)], [stamp(0), stamp(0)]);
    assert!(stamp(0).parse::<u64>().unwrap() > 1_600_000_000_000_000_000);
}

#[tokio::test]
async fn each_fault_of_the_connection_is_a_typed_error() {
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"evaluation\": {";
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let cases: [(Option<Act>, [u32; 2], Is); 7] = [
        (None, [3, 3], Error::is_connection),
        (Some(Act::Silence), [3, 1], Error::is_timeout),
        (Some(Act::Reset), [3, 1], Error::is_connection),
        (Some(Act::Raw(b"")), [3, 1], Error::is_connection),
        (
            Some(Act::Raw(b"SSH-2.0-nonsense\r\n\r\n")),
            [3, 1],
            Error::is_connection,
        ),
        (Some(Act::Raw(CUT)), [3, 1], Error::is_connection),
        (Some(Act::RawThenSilence(CUT)), [3, 1], Error::is_timeout),
    ];
    let mut running = Vec::new();
    for (act, attempts, is) in cases {
        running.push(tokio::spawn(async move {
            let silent = matches!(act, Some(Act::Silence | Act::RawThenSilence(_)));
            let fault = act.clone().map(|act| Fault::start([], act));
            let url = match &fault {
                Some(fault) => fault.url.clone(),
                None => format!("http://127.0.0.1:{nobody}"),
            };
            let mut client = client(&url);
            if silent {
                client = client.with_timeout(Duration::from_millis(300));
            }
            for (error, expected) in both(&client).await.iter().zip(attempts) {
                assert!(is(error), "{act:?}: {error}");
                assert!(error.is_timeout() != error.is_connection() && !error.is_decode());
                assert_eq!(error.status(), None);
                assert_eq!(error.attempts(), Some(expected), "{act:?}: {error}");
                assert!(!error.to_string().contains("http://"), "{error}");
            }
            if let Some(fault) = fault {
                let made = usize::try_from(attempts.iter().sum::<u32>()).unwrap();
                // The library below may try a connection of its own that it finds closed.
                assert!(
                    fault.connections() >= made,
                    "{act:?}: {}",
                    fault.connections()
                );
            }
        }));
    }
    for case in running {
        case.await.unwrap();
    }
}

#[tokio::test]
async fn each_malformed_answer_is_a_typed_error_after_one_attempt() {
    let deep = "[".repeat(100_000);
    let cases: [(&str, &[u8], Option<&str>, &str); 12] = [
        ("empty", b"", None, "it is empty"),
        ("blank", b" \r\n", None, "it is empty"),
        (
            "cut",
            b"{\"evaluation\": {\"id\": \"r\"",
            None,
            "it is no JSON",
        ),
        (
            "page",
            b"<!doctype html><title>Login</title>",
            None,
            "it is a page of HTML, not JSON",
        ),
        ("text", b"All is well", None, "it is no JSON"),
        (
            "bytes",
            b"{\"evaluation\": \"\xff\xfe\"}",
            None,
            "it is no JSON",
        ),
        (
            "deep",
            deep.as_bytes(),
            None,
            "it is no JSON: recursion limit exceeded",
        ),
        ("null", b"null", None, "expected an object, found null"),
        ("list", b"[]", None, "expected an object, found a list"),
        (
            "missing",
            b"{}",
            Some("evaluation"),
            "evaluation: it is missing",
        ),
        (
            "no",
            b"{\"evaluation\": null}",
            Some("evaluation"),
            "expected an object, found null",
        ),
        (
            "inner",
            b"{\"evaluation\": {\"id\": \"r\", \"run_id\": 7}}",
            Some("evaluation.run_id"),
            "expected text, found a number",
        ),
    ];
    for (name, body, field, said) in cases {
        let recorder = Recorder::start();
        let body = body.to_vec();
        recorder.answer_by(move |_| Some(Reply::status(200).body(body.clone())));
        for error in both(&client(&recorder.url)).await {
            assert!(error.is_decode() && !error.is_status(), "{name}: {error}");
            assert_eq!(error.attempts(), Some(1), "{name}");
            assert_eq!(error.status(), Some(200), "{name}");
            if error.operation() == Some("runs.get") {
                assert!(error.to_string().contains(said), "{name}: {error}");
                assert_eq!(error.field(), field, "{name}");
            }
        }
        assert_eq!(recorder.requests().len(), 2, "{name}");
    }
}

/// Answers with 200 MB, and counts what could be sent.
fn endless(status: &'static str) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = pour(stream, status, &counter);
        }
    });
    (url, sent)
}

fn pour(mut stream: TcpStream, status: &str, counter: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: 200000000\r\n\r\n["
    )?;
    let spaces = vec![b' '; 1_000_000];
    for _ in 0..200 {
        stream.write_all(&spaces)?;
        counter.fetch_add(1_000_000, Ordering::SeqCst);
    }
    Ok(())
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (url, sent) = endless("200 OK");
    let client = client(&url).with_timeout(Duration::from_secs(60));
    let error = client.runs().get("r").await.unwrap_err();
    assert!(error.is_decode(), "{error}");
    assert_eq!(
        error.to_string(),
        "runs.get: the answer is longer than 64 MiB"
    );
    assert_eq!(error.attempts(), Some(1));
    assert!(sent.load(Ordering::SeqCst) < 150_000_000);

    let (url, sent) = endless("400 Bad Request");
    let error = self::client(&url).runs().get("r").await.unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (Some(400), None),
        "{error}"
    );
    assert!(sent.load(Ordering::SeqCst) < 50_000_000);
}

#[tokio::test]
async fn what_a_server_says_is_cut() {
    let recorder = Recorder::start();
    let replies = [
        (
            json!({"message": "é".repeat(100_000), "errorCode": "x".repeat(10_000)}).to_string(),
            true,
        ),
        ("plain words ".repeat(10_000), true),
        (
            json!({"error": {"message": "deep inside"}}).to_string(),
            true,
        ),
        (json!({"detail": "in detail"}).to_string(), true),
        ("<html><body>Gateway</body></html>".to_owned(), false),
        ("\u{1}\u{2}".to_owned() + "words", true),
        (String::new(), false),
    ];
    for (body, said) in replies {
        recorder.answer_others([Reply::status(400).body(body)]);
        let error = client(&recorder.url).runs().get("r").await.unwrap_err();
        let (message, code) = (
            error.message().unwrap_or_default(),
            error.code().unwrap_or_default(),
        );
        assert_eq!(!message.is_empty(), said, "{error}");
        assert!(
            message.len() + code.len() <= 512,
            "{}",
            message.len() + code.len()
        );
        assert!(error.to_string().len() < 600, "{error}");
        assert!(!message.chars().any(char::is_control));
        assert!(!error.to_string().contains('<'));
    }
}

#[tokio::test]
async fn what_is_known_to_be_refused_is_not_sent() {
    let recorder = Recorder::start();
    let c = client(&recorder.url);
    let long = "n".repeat(201);
    let metric = || NewMetric::new("n", "LLM", "c");
    let prompt = |parameters| NewConfiguration::new("n", "p", parameters);
    let parameters = || NewParameters::new("chat", "m");
    let bad = EventKind::Other("llm".to_owned());
    let event = |kind: EventKind| NewEvent::new(kind, json!({}));
    macro_rules! refused {
        ($($field:literal, $said:literal: $call:expr;)*) => {$(
            let error = $call.await.unwrap_err();
            assert!(error.is_invalid(), "{error}");
            assert_eq!(error.field(), Some($field), "{error}");
            assert!(error.to_string().contains($said), "{error}");
            assert_eq!((error.attempts(), error.status()), (Some(0), None));
        )*};
    }
    refused! {
        "name", "has 201 characters; expected at most 200": c.datasets().create(NewDataset::new().name(&long));
        "name", "201 characters": c.metrics().create(NewMetric::new(&long, "LLM", "c"));
        "name", "201 characters": c.charts().create(NewChart::new(&long, "m"));
        "name", "201 characters": c.queues().create(NewQueue::new(&long));
        "name", "is empty": c.runs().create(NewRun::new().name(""));
        "description", "1001 characters": c.queues().create(NewQueue::new("n").description("d".repeat(1001)));
        "type", "expected one of PYTHON, LLM": c.metrics().create(NewMetric::new("n", "llm", "c"));
        "criteria", "is empty": c.metrics().create(NewMetric::new("n", "LLM", ""));
        "sampling_percentage", "is 101; expected 0 to 100": c.metrics().create(metric().sampling_percentage(101));
        "sampling_percentage", "is no finite number": c.metrics().create(metric().sampling_percentage(f64::NAN));
        "scale", "is 0; expected more than 0": c.metrics().update("m", MetricUpdate::new().scale(0));
        "categories", "is empty": c.metrics().create(metric().categories(Vec::<serde_json::Value>::new()));
        "content.type", "expected one of": c.metrics().create_version("m", "why", NewMetric::new("n", "x", "c"), true);
        "env[1]", "expected one of dev, staging, prod":
            c.configurations().create(prompt(parameters()).env(["dev".into(), "test".into()]));
        "parameters.call_type", "expected one of chat, completion":
            c.configurations().create(prompt(NewParameters::new("talk", "m")));
        "parameters.functionCallParams", "expected one of none, auto, force":
            c.configurations().create(prompt(parameters().function_call_params("maybe")));
        "event_type", "expected one of model, tool, chain, session": c.events().create(event(bad.clone()));
        "events[1].event_type", "is \"llm\"":
            c.events().create_batch(vec![event(EventKind::Tool), event(bad.clone())]);
        "inputs", "is no object": c.events().create(NewEvent::new("model", json!("text")));
        "start_time", "is no finite number": c.events().create(event(EventKind::Tool).start_time(f64::INFINITY));
        "metrics", "is no object": c.events().update("e", EventUpdate::new().metrics(json!([1])));
        "metadata", "is no object": c.sessions().start(NewSession::new().metadata(json!(7)));
        "session.metadata", "is no object": c.legacy().start_session(NewSession::new().metadata(json!(7)));
        "linked_datasets[0]", "is empty": c.datapoints().update("d", DatapointUpdate::new().linked_datasets([""]));
        "aggregate_function", "expected one of average": c.runs().summary("r", ResultQuery::new().aggregate("mean"));
        "limit", "is 101; expected 1 to 100": c.runs().list(RunQuery::new().limit(101)).next_page();
        "limit", "is 1001; expected 1 to 1000": c.events().search(EventQuery::new().limit(1001)).next_page();
        "limit", "is 7501; expected 1 to 7500": c.events().export(EventQuery::new().limit(7501)).next_page();
        "page", "is 0; expected 1": c.events().search(EventQuery::new().page(0)).next_page();
        "projections", "events().export": c.events().search(EventQuery::new().projections(["a"])).next_page();
        "run_id", "must not be empty": c.runs().get("");
        "dataset_id", "is empty": c.legacy().delete_dataset("");
        "dataset_id", "is empty": c.legacy().update_dataset("", Default::default());
        "metric_id", "is empty": c.legacy().delete_metric("");
        "id", "is empty": c.legacy().update_metric("", MetricUpdate::new());
        "event_id", "is empty": c.legacy().update_event("", EventUpdate::new());
        "metric.type", "expected one of PYTHON": c.metrics().run(NewMetric::new("n", "x", "c"), Default::default());
        "dataset_id", "must not be empty or dots": c.datasets().delete("..");
    }
    assert_eq!(recorder.requests().len(), 0);
}

#[tokio::test]
async fn a_missing_key_is_refused_before_sending() {
    let client = Client::builder()
        .server_url("https://honeyhive.invalid")
        .build()
        .unwrap();
    let project = client.runs().get("r").await.unwrap_err();
    let ingestion = client
        .sessions()
        .start(NewSession::new())
        .await
        .unwrap_err();
    let plane = client.charts().in_project("p").list().await.unwrap_err();
    for (error, variable) in [
        (project, "HH_API_KEY"),
        (ingestion, "HH_INGESTION_API_KEY"),
        (plane, "HH_DATA_PLANE_API_KEY"),
    ] {
        assert!(error.is_config() && !error.is_connection(), "{error}");
        assert!(error.to_string().contains(variable), "{error}");
        assert_eq!(error.attempts(), Some(0));
    }
    let insecure = Client::builder()
        .server_url("http://honeyhive.invalid")
        .build()
        .unwrap_err();
    assert!(insecure.is_config());
}

#[tokio::test]
async fn a_redirect_stays_on_the_server() {
    let (first, second) = (Recorder::start(), Recorder::start());
    second.answer_by(|_| Some(Reply::status(200).body(r#"{"datasets": []}"#)));
    let away = format!("{}/v1/datasets", second.url);
    first.answer_by(move |request| {
        Some(match request.path.as_str() {
            "/v1/datasets" => Reply::status(307).header("location", "/moved"),
            "/moved" => Reply::status(200).body(r#"{"datasets": []}"#),
            "/v1/runs/round" => Reply::status(307).header("location", "/v1/runs/round"),
            _ => Reply::status(308).header("location", &away),
        })
    });
    let client = client(&first.url);
    let found = client.datasets().list(Default::default()).await;
    assert!(found.unwrap().is_empty());
    let here = first.requests();
    assert_eq!(here.len(), 2);
    assert!(
        here.iter()
            .all(|request| request.header("authorization").is_some())
    );
    // Neither the key nor the data goes to another server, and no circle is run for ever.
    let error = client.runs().get("r").await.unwrap_err();
    assert_eq!((error.status(), error.attempts()), (Some(308), Some(1)));
    let error = client
        .datasets()
        .update("d", Default::default())
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(308));
    assert_eq!(second.requests().len(), 0);
    let error = client.runs().get("round").await.unwrap_err();
    assert_eq!(error.status(), Some(307), "{error}");
}

#[test]
fn outside_a_runtime_a_call_is_an_error_and_no_panic() {
    let client = client("http://127.0.0.1:1");
    let mut call = std::pin::pin!(async move { client.runs().get("r").await });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = call.as_mut().poll(&mut context) else {
        panic!("it waits");
    };
    assert!(
        error.is_config() && error.to_string().contains("Tokio runtime"),
        "{error}"
    );
}

#[test]
fn a_runtime_that_lacks_something_is_an_error_and_no_panic() {
    let recorder = Recorder::start();
    let client = client(&recorder.url);
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let error = bare.block_on(client.runs().get("r")).unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("I/O and time"),
        "{error}"
    );
    assert_eq!(recorder.requests().len(), 0);
}

/// A server that says whatever it was told last, with the key in it.
struct Parrot {
    words: Arc<Mutex<(u16, String)>>,
    recorder: Recorder,
}

impl Parrot {
    fn start() -> Self {
        let recorder = Recorder::start();
        let words = Arc::new(Mutex::new((200, String::new())));
        let said = Arc::clone(&words);
        recorder.answer_by(move |_| {
            let (status, body) = said.lock().unwrap().clone();
            Some(Reply::status(status).header("retry-after", "99").body(body))
        });
        Self { words, recorder }
    }
}

#[test]
fn no_error_shows_a_key() {
    let parrot = Parrot::start();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let strategy = ("[!-~]{8,60}", 0..9_usize, 0..700_usize);
    runner
        .run(&strategy, |(key, shape, before)| {
            let pad = "x".repeat(before);
            let spelled: String = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
            let body = match shape {
                0 => (
                    400,
                    json!({"message": format!("{pad}{key} is no key"), "errorCode": key})
                        .to_string(),
                ),
                1 => (401, format!("{pad} {key}")),
                2 => (
                    500,
                    json!({"error": {"message": format!("Bearer {key}")}}).to_string(),
                ),
                3 => (200, json!({"evaluation": {"run_id": key}}).to_string()),
                4 => (
                    200,
                    json!({"evaluation": {"metrics": {&key: key}}}).to_string(),
                ),
                5 => (200, format!("{pad}{key}")),
                6 => (404, json!(format!("{key}{key}")).to_string()),
                7 => (400, format!("{spelled} {}", key.repeat(200))),
                _ => (
                    429,
                    json!({"detail": key, "code": format!("{pad}{key}")}).to_string(),
                ),
            };
            *parrot.words.lock().unwrap() = body;
            let client = Client::builder()
                .server_url(&parrot.recorder.url)
                .api_key(&key);
            let shown = format!("{client:?}");
            prop_assert!(!shown.contains(&key), "{}", shown);
            let client = client.build().unwrap();
            let client = blocking::Client::new(&client).unwrap();
            let error = client.with_max_retries(0).runs().get(&key).unwrap_err();
            let field = error.field().unwrap_or_default();
            let shown = format!(
                "{error} {error:?} {error:#?} {:?} {:?} {field} {client:?} {:?}",
                error.message(),
                error.code(),
                client.runs()
            );
            prop_assert!(!shown.contains(&key), "{}", shown);
            prop_assert!(!shown.contains(&spelled), "{}", shown);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_new_key_is_shown_to_those_who_ask_for_it_only() {
    let parrot = Parrot::start();
    let answer = json!({"success": true, "data": {
        "key_value": KEY, "key_id": "k1", "name": "ci", "permissions": ["read"],
        "root_scope_type": "project", "root_scope_id": "p1", "expires_at": "2027-01-01T00:00:00Z",
    }});
    *parrot.words.lock().unwrap() = (200, answer.to_string());
    let client = Client::builder()
        .server_url(&parrot.recorder.url)
        .build()
        .unwrap();
    let client = blocking::Client::new(&client).unwrap();
    let new = honeyhive::api::NewIngestionKey::new("ci");
    let key = client.api_keys().create_ingestion("p1", new).unwrap();
    assert_eq!((key.expose(), key.key_id.as_str()), (KEY, "k1"));
    assert!(!format!("{key:?} {key:#?}").contains(KEY));
}
