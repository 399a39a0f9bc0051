//! What instrumentation costs: this layer against the bare registry and against `tracing-opentelemetry`.
//!
//!     cargo bench --bench overhead                  # the table
//!     cargo bench --bench overhead -- --rounds 9    # more repetitions
//!
//! Every measurement is a process of its own, since the subscriber is global; contenders take turns, and the table
//! shows the median of the repetitions. The export goes over loopback to a sink in another process. *on thread* is the
//! CPU time of the thread that makes spans; *total* is that of the whole process, export included. Read the ratios:
//! nanoseconds vary with the machine.
//!
//! * W1: an empty span. W2: a span with eight typed fields (four texts, two integers, a float, a boolean). Both as
//!   children of a root, 127 each.
//! * W3: six nested `#[instrument]` spans, two of which record 4 KiB and 2 KiB late, and an `info!` in each.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tracing::field::Empty;
use tracing::{Subscriber, info, info_span};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

const WORKLOADS: [&str; 3] = ["W1", "W2", "W3"];
const CONTENDERS: [&str; 3] = ["registry", "honeyhive", "tracing-opentelemetry"];
const BASE: &str = "registry";
/// Spans between two flushes, so that the default queue of OpenTelemetry (2,048) does not overflow.
const ROUND: usize = 1536;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["sink"] => sink(),
        ["run", contender, workload, url, rounds @ ..] => {
            let rounds = rounds.first().and_then(|rounds| rounds.parse().ok());
            run(contender, workload, url, rounds);
        }
        _ => table(option(&words, "--rounds").unwrap_or(5)),
    }
}

fn option(words: &[&str], name: &str) -> Option<usize> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1)?.parse().ok()
}

/// Runs everything, and prints the table.
fn table(rounds: usize) {
    let (mut sink, url) = start_sink();
    let mut measured: BTreeMap<(&str, &str), Vec<Measured>> = BTreeMap::new();
    for _ in 0..rounds {
        for workload in WORKLOADS {
            for contender in CONTENDERS {
                let output = Command::new(std::env::current_exe().expect("this program"))
                    .args(["run", contender, workload, &url])
                    .env_remove("HH_API_KEY")
                    .output()
                    .expect("a child");
                let said = String::from_utf8_lossy(&output.stdout);
                let numbers: Vec<f64> = said
                    .split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .collect();
                let [thread, total, sent] = numbers[..] else {
                    panic!("{contender} {workload}: {output:?}");
                };
                let sent = Some(sent).filter(|sent| *sent >= 0.0);
                let list = measured.entry((workload, contender)).or_default();
                list.push(Measured {
                    thread,
                    total,
                    sent,
                });
            }
        }
    }
    let _ = sink.kill();
    println!(
        "CPU time a span, median of {rounds} runs; in brackets the multiple of the bare registry"
    );
    println!(
        "{:<24}{}",
        "",
        WORKLOADS.map(|workload| format!("{workload:^44}")).join("")
    );
    println!(
        "{:<24}{}",
        "",
        WORKLOADS
            .map(|_| format!("{:>17}{:>19}{:>8}", "on thread", "total", "sent"))
            .join("")
    );
    for contender in CONTENDERS {
        print!("{contender:<24}");
        for workload in WORKLOADS {
            let of = |contender: &str, value: fn(&Measured) -> f64| {
                median(measured[&(workload, contender)].iter().map(value))
            };
            for value in [|m: &Measured| m.thread, |m: &Measured| m.total] {
                let (own, base) = (of(contender, value), of(BASE, value));
                print!("{:>9.0} ns ({:>4.1})", own, own / base);
            }
            match measured[&(workload, contender)][0].sent {
                Some(sent) => print!("{:>7.0}%", sent * 100.0),
                None => print!("{:>8}", "-"),
            }
        }
        println!();
    }
    for workload in WORKLOADS {
        let of = |contender: &str, value: fn(&Measured) -> f64| {
            median(measured[&(workload, contender)].iter().map(value))
        };
        println!(
            "{workload}: {:.1} times less than tracing-opentelemetry on the thread, {:.1} times less in total",
            of("tracing-opentelemetry", |m| m.thread) / of("honeyhive", |m| m.thread),
            of("tracing-opentelemetry", |m| m.total) / of("honeyhive", |m| m.total),
        );
    }
}

struct Measured {
    thread: f64,
    total: f64,
    /// The share of spans that arrived.
    sent: Option<f64>,
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One contender, one workload: prints nanoseconds a span on the thread and in total, and the share delivered.
fn run(contender: &str, workload: &str, url: &str, rounds: Option<usize>) {
    let flush: Box<dyn Fn()> = match contender {
        "registry" => {
            tracing_subscriber::registry().with(Nothing).init();
            Box::new(|| {})
        }
        "honeyhive" => {
            let honeyhive = honeyhive::HoneyHive::builder()
                .server_url(url)
                .build()
                .expect("an instance");
            tracing_subscriber::registry()
                .with(honeyhive.layer())
                .init();
            Box::new(move || {
                honeyhive
                    .flush_blocking(Duration::from_secs(20))
                    .expect("a flush");
            })
        }
        _ => opentelemetry(url),
    };
    let emit: fn() = match workload {
        "W1" => w1,
        "W2" => w2,
        _ => w3,
    };
    let rounds = rounds.unwrap_or(if workload == "W3" { 60 } else { 200 });
    // Buffers grow and caches fill outside the measurement.
    for _ in 0..5 {
        emit();
        flush();
    }
    let before = arrived(url);
    let total_start = process_cpu();
    let mut thread = 0;
    for _ in 0..rounds {
        let start = thread_cpu();
        emit();
        thread += thread_cpu() - start;
        flush();
    }
    let total = process_cpu() - total_start;
    let spans = (rounds * ROUND) as f64;
    let delivered = if contender == BASE {
        -1.0
    } else {
        (arrived(url) - before) as f64 / spans
    };
    println!(
        "{} {} {}",
        thread as f64 / spans,
        total as f64 / spans,
        delivered
    );
}

fn opentelemetry(url: &str) -> Box<dyn Fn()> {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};

    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(reqwest::blocking::Client::new())
        .with_endpoint(format!("{url}/opentelemetry/v1/traces"))
        .build()
        .expect("an exporter");
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer("bench");
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .init();
    Box::new(move || provider.force_flush().expect("a flush"))
}

struct Nothing;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Nothing {}

fn w1() {
    for _ in 0..ROUND / 128 {
        info_span!("root").in_scope(|| {
            for _ in 0..127 {
                info_span!("work").in_scope(|| {});
            }
        });
    }
}

fn w2() {
    for round in 0..ROUND / 128 {
        info_span!("root").in_scope(|| {
            for item in 0..127_u64 {
                let span = info_span!(
                    "work",
                    model = "gpt-4o-mini",
                    provider = "openai",
                    question = "What does flush return?",
                    user = "user-1234",
                    item,
                    round = round as i64,
                    temperature = 0.7,
                    stream = true,
                );
                span.in_scope(|| {});
            }
        });
    }
}

fn w3() {
    for _ in 0..ROUND / 6 {
        w3_session(1);
    }
}

#[tracing::instrument]
fn w3_session(user: u64) {
    info!("session");
    w3_agent("summarise");
}

#[tracing::instrument]
fn w3_agent(task: &str) {
    info!("agent");
    w3_retrieve(3);
    w3_model("gpt-4o-mini");
}

#[tracing::instrument]
fn w3_retrieve(top: u64) {
    info!("retrieve");
    w3_embed("query");
}

#[tracing::instrument]
fn w3_embed(text: &str) {
    info!("embed");
}

#[tracing::instrument(fields(prompt = Empty, completion = Empty))]
fn w3_model(model: &str) {
    info!("model");
    let span = tracing::Span::current();
    span.record("prompt", TEXT);
    span.record("completion", &TEXT[..2048]);
    w3_parse();
}

#[tracing::instrument(fields(prompt = Empty, completion = Empty))]
fn w3_parse() {
    info!("parse");
    let span = tracing::Span::current();
    span.record("prompt", TEXT);
    span.record("completion", &TEXT[..2048]);
}

const TEXT: &str = match std::str::from_utf8(&[b'x'; 4096]) {
    Ok(text) => text,
    Err(_) => "",
};

/// The CPU time of this thread, in nanoseconds.
fn thread_cpu() -> u64 {
    nanoseconds(rustix::time::ClockId::ThreadCPUTime)
}

/// The CPU time of the process, in nanoseconds.
fn process_cpu() -> u64 {
    nanoseconds(rustix::time::ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn start_sink() -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg("sink")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a sink");
    let mut url = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output)
        .read_line(&mut url)
        .expect("an address");
    (child, url.trim().to_owned())
}

/// How many spans the sink has seen.
fn arrived(url: &str) -> u64 {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("the sink");
    stream
        .write_all(b"GET /count HTTP/1.1\r\nconnection: close\r\n\r\n")
        .expect("a question");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let count = answer.rsplit("\r\n").next().unwrap_or_default();
    count.trim().parse().expect("a number")
}

/// Takes what it is sent, decodes it with the reference types and counts the spans.
fn sink() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("http://{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicU64::new(0));
    for stream in listener.incoming().flatten() {
        let count = Arc::clone(&count);
        std::thread::spawn(move || {
            let mut writer = stream.try_clone().expect("a stream");
            let mut reader = BufReader::new(stream);
            loop {
                let (mut path, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                    if path.is_empty() {
                        path.clone_from(&line);
                    }
                    let lower = line.to_ascii_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length");
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                if path.contains("/traces") {
                    let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP");
                    let spans: usize = request
                        .resource_spans
                        .iter()
                        .flat_map(|resource| &resource.scope_spans)
                        .map(|scope| scope.spans.len())
                        .sum();
                    count.fetch_add(spans as u64, Ordering::Relaxed);
                }
                let text = if path.contains("/count") {
                    count.load(Ordering::Relaxed).to_string()
                } else {
                    String::new()
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
                    text.len()
                );
                // A question about the count ends with its answer.
                if writer.write_all(answer.as_bytes()).is_err() || !text.is_empty() {
                    return;
                }
            }
        });
    }
}
