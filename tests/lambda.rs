//! AWS Lambda: events are delivered at the end of an invocation, within its time. A small server takes the place of the
//! runtime API; the function is this test once more, in a process of its own, run by `lambda_runtime`.
#![cfg(all(unix, feature = "lambda"))]

mod support;

use std::process::{Child, Command};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use honeyhive::HoneyHive;
use honeyhive::lambda::{FlushLayer, MARGIN};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::tower::{Layer as _, Service as _, ServiceBuilder};
use lambda_runtime::{LambdaEvent, LambdaInvocation, Runtime, service_fn};
use serde_json::{Value, json};
use support::fault::{Act, Fault};
use support::*;
use tracing::{info_span, instrument};
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

/// Takes the place of Lambda: gives invocations, takes responses, and notes when.
struct Lambda {
    api: Recorder,
    give: mpsc::Sender<Duration>,
    log: Arc<Mutex<Vec<(Call, Instant)>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    /// The function asks for the next invocation: it is done with the one before.
    Next,
    Response,
    Error,
}

impl Lambda {
    fn start() -> Self {
        let api = Recorder::start();
        let (give, invocations) = mpsc::channel();
        let invocations = Mutex::new(invocations);
        let log = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&log);
        api.answer_by(move |request| {
            let call = match request.path.rsplit('/').next() {
                Some("next") => Call::Next,
                Some("response") => Call::Response,
                _ => Call::Error,
            };
            noted.lock().unwrap().push((call, Instant::now()));
            if call != Call::Next {
                return Some(Reply::status(202));
            }
            // As long as there is none, it waits.
            let time: Duration = invocations.lock().unwrap().recv().ok()?;
            let deadline = SystemTime::now() + time;
            let deadline = deadline.duration_since(UNIX_EPOCH).unwrap().as_millis();
            Some(
                Reply::status(200)
                    .header("lambda-runtime-aws-request-id", "8476a536-e9f4")
                    .header("lambda-runtime-deadline-ms", &deadline.to_string())
                    .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:f")
                    .header("content-type", "application/json")
                    .body(br#"{"question": "why"}"#),
            )
        });
        Self { api, give, log }
    }

    /// An invocation that has so much time.
    fn invoke(&self, time: Duration) {
        self.give.send(time).unwrap();
    }

    fn count(&self, call: Call) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(known, _)| *known == call).count()
    }

    /// Waits until the function has asked for so many invocations.
    fn wait_until_asked(&self, count: usize) {
        until("the function to ask", || self.count(Call::Next) >= count);
    }

    /// How long the function took from its last answer to its next question.
    fn afterwards(&self) -> Duration {
        let log = self.log.lock().unwrap();
        match log.as_slice() {
            [
                ..,
                (Call::Response | Call::Error, answered),
                (Call::Next, asked),
            ] => *asked - *answered,
            other => panic!("{other:?}"),
        }
    }

    /// Starts the function: this test in a process of its own.
    fn function(&self, test: &str, url: &str, variables: &[(&str, &str)]) -> Function {
        let mut command = process_of_its_own(test, variables).expect("the outer process");
        command
            .env("TEST_URL", url)
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                self.api.url.trim_start_matches("http://"),
            )
            .env("AWS_LAMBDA_FUNCTION_NAME", "f")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
        Function(command.spawn().unwrap())
    }
}

/// The process of a function, which ends with the test.
struct Function(Child);

impl Function {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.0.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_function() -> bool {
    std::env::var_os("TEST_IN_ITS_OWN_PROCESS").is_some()
}

/// The function; it runs until it is killed.
fn serve() {
    let honeyhive = settings(&std::env::var("TEST_URL").unwrap())
        .build()
        .unwrap();
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    let flush = FlushLayer::new(&honeyhive, |invocation: &LambdaInvocation| {
        invocation.context.deadline()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let function = Runtime::new(service_fn(handle))
        .layer(TracingLayer::new())
        .layer(flush);
    runtime.block_on(function.run()).unwrap();
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, lambda_runtime::Error> {
    // Of all invocations before, every event is somewhere, and only there: else this one is no answer.
    let instance = honeyhive::registry::default_instance().ok_or("no instance")?;
    until("the accounts to agree", || {
        let stats = instance.stats().unwrap_or_default();
        stats.submitted == known(&stats)
    });
    let answer = answer(event.payload["question"].as_str().unwrap()).await;
    if std::env::var_os("TEST_FAILS").is_some() {
        return Err("no answer".into());
    }
    Ok(json!({ "answer": answer }))
}

#[instrument(ret)]
async fn answer(question: &str) -> String {
    tokio::task::yield_now().await;
    format!("{question}? because")
}

#[test]
fn events_are_delivered_before_the_next_invocation() {
    let name = "events_are_delivered_before_the_next_invocation";
    if is_function() {
        return serve();
    }
    let variables = [
        [("HH_BATCH_SIZE", "100")],
        // Immediate mode: the end of the invocation is waited for all the same.
        [("HH_DISABLE_BATCH", "true")],
        [("TEST_FAILS", "yes")],
    ];
    for variables in variables {
        let (lambda, server) = (Lambda::start(), Recorder::start());
        let _function = lambda.function(name, &server.url, &variables);
        for n in 1..=5 {
            lambda.invoke(Duration::from_secs(30));
            lambda.wait_until_asked(n + 1);
            // The function's span and the one of the invocation, which the runtime opens round it.
            let spans = server.spans();
            assert_eq!(spans.len(), 2 * n, "{variables:?}");
            let outer = spans
                .iter()
                .rfind(|span| span.name == "Lambda runtime invoke");
            let inner = spans.iter().rfind(|span| span.name == "answer");
            assert_eq!(inner.unwrap().parent_span_id, outer.unwrap().span_id);
        }
        let failed = variables == [("TEST_FAILS", "yes")];
        let answers = (lambda.count(Call::Response), lambda.count(Call::Error));
        assert_eq!(answers, if failed { (0, 5) } else { (5, 0) });
    }
}

#[test]
fn an_outage_costs_an_invocation_no_more_than_its_time() {
    let name = "an_outage_costs_an_invocation_no_more_than_its_time";
    if is_function() {
        return serve();
    }
    let server = Fault::start([], Act::Silence);
    let lambda = Lambda::start();
    let _function = lambda.function(name, &server.url, &[]);
    let slack = Duration::from_secs(1);
    for (n, (has, waits)) in [
        (Duration::from_secs(30), Duration::from_secs(2)),
        (Duration::from_secs(1), Duration::from_secs(1) - MARGIN),
        (Duration::from_millis(100), Duration::ZERO),
    ]
    .into_iter()
    .enumerate()
    {
        lambda.invoke(has);
        lambda.wait_until_asked(n + 2);
        let took = lambda.afterwards();
        println!("{has:?} left: {took:?} after the answer");
        assert!(took < waits + slack, "{took:?} of {waits:?}");
        if n == 0 {
            assert!(took > waits - slack, "{took:?} of {waits:?}");
        }
    }
    // It is no failure of the function.
    assert_eq!(
        (lambda.count(Call::Response), lambda.count(Call::Error)),
        (3, 0)
    );
}

#[test]
fn a_frozen_function_reconnects_once() {
    let name = "a_frozen_function_reconnects_once";
    if is_function() {
        return serve();
    }
    let (lambda, server) = (Lambda::start(), Recorder::start());
    let function = lambda.function(name, &server.url, &[]);
    lambda.invoke(Duration::from_secs(30));
    lambda.wait_until_asked(2);
    assert_eq!(server.spans().len(), 2);
    for n in 2..=6 {
        let before = server.connections();
        // Between invocations; ten minutes of it leave the same behind as a moment: connections that the other end closed.
        function.signal("STOP");
        server.hang_up();
        if n % 2 == 0 {
            // The invocation is there when it thaws, so that nothing can be noticed before.
            lambda.invoke(Duration::from_secs(30));
            function.signal("CONT");
        } else {
            function.signal("CONT");
            lambda.invoke(Duration::from_secs(30));
        }
        lambda.wait_until_asked(n + 1);
        let took = lambda.afterwards();
        println!("thawed: {took:?} after the answer");
        assert_eq!(server.spans().len(), 2 * n, "a batch is lost");
        assert_eq!(server.connections() - before, 1);
    }
}

#[test]
fn a_cold_start_costs_little() {
    let name = "a_cold_start_costs_little";
    let variables = [("AWS_LAMBDA_FUNCTION_NAME", "f")];
    if let Some(output) = in_process_of_its_own(name, &variables) {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let started = Instant::now();
    let honeyhive = settings("http://127.0.0.1:9").build().unwrap();
    let first = started.elapsed();
    let registry = tracing_subscriber::registry().with(honeyhive.layer());
    let dispatch = tracing::Dispatch::new(registry);
    let flush = FlushLayer::new(&honeyhive, |_: &()| SystemTime::now());
    let mut service = flush.layer(service_fn(|()| async { Ok::<_, String>(()) }));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(service.call(())).unwrap();
    let whole = started.elapsed();
    println!("built in {first:?}, {whole:?} with an invocation without spans");
    assert_eq!(own_threads(), 0);
    let span = tracing::dispatcher::with_default(&dispatch, || info_span!("first"));
    assert_eq!(own_threads(), 0);
    drop(span);
    until("the thread", || own_threads() == 1);
    // The first reads the environment and files; a busy machine may need more than one try.
    let again = (0..20).map(|_| {
        let started = Instant::now();
        drop(settings("http://127.0.0.1:9").build().unwrap());
        started.elapsed()
    });
    let best = again.min().unwrap().min(first);
    assert!(best < Duration::from_millis(5), "{best:?}");
}

fn own_threads() -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("honeyhive"))
        .count()
}

/// Something that can be called without `lambda_runtime`: a request that says how much time there is.
#[derive(Clone, Copy)]
struct Request(Duration);

fn far(request: &Request) -> SystemTime {
    SystemTime::now() + request.0
}

#[test]
fn the_layer_works_round_a_handler_and_without_a_timer() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let registry = tracing_subscriber::registry().with(honeyhive.layer());
    let dispatch = tracing::Dispatch::new(registry);
    let traced = |_: Request| {
        use tracing::Instrument as _;
        use tracing::instrument::WithSubscriber as _;
        let span = tracing::dispatcher::with_default(&dispatch, || info_span!("work"));
        let work = async { Ok::<_, String>("done") };
        work.instrument(span).with_subscriber(dispatch.clone())
    };
    let mut service = ServiceBuilder::new()
        .layer(FlushLayer::new(&honeyhive, far))
        .service_fn(traced);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for n in 1..=3 {
        let call = service.call(Request(LONG));
        // Concurrent runtimes move it from thread to thread.
        fn assert_send<T: Send>(_: &T) {}
        assert_send(&call);
        assert_eq!(runtime.block_on(call), Ok("done"));
        assert_eq!(server.spans().len(), n);
    }
    // With no time left it is asked for, and not waited for.
    server.hold();
    let answer = runtime.block_on(service.call(Request(MARGIN / 2)));
    assert_eq!(answer, Ok("done"));
    assert_eq!(honeyhive.stats().in_flight, 1);
    server.release();
    until("the delivery", || honeyhive.stats().exported == 4);
    // A reader of deadlines that panics costs the flush timeout at most.
    let layer = FlushLayer::new(&honeyhive, |_: &Request| panic!("no deadline"));
    let mut careless = layer.layer(service_fn(traced));
    assert_eq!(runtime.block_on(careless.call(Request(LONG))), Ok("done"));
    assert_eq!(server.spans().len(), 5);
    // An own timeout, and an instance that is gone.
    server.hold();
    let short = Duration::from_millis(200);
    let layer = FlushLayer::new(&honeyhive, far).flush_timeout(short);
    let mut hurried = layer.layer(service_fn(traced));
    let started = Instant::now();
    assert_eq!(runtime.block_on(hurried.call(Request(LONG))), Ok("done"));
    assert!(started.elapsed() < short + Duration::from_secs(3));
    server.release();
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 6);
    drop(honeyhive);
    assert_eq!(runtime.block_on(service.call(Request(LONG))), Ok("done"));
}

#[test]
fn a_handler_that_flushes_itself_needs_no_layer() {
    let server = Recorder::start();
    let honeyhive: Arc<HoneyHive> = Arc::new(settings(&server.url).build().unwrap());
    let flushing = Arc::clone(&honeyhive);
    let mut service = service_fn(move |_: Request| {
        let honeyhive = Arc::clone(&flushing);
        async move {
            emit(&honeyhive, 2);
            honeyhive.flush(LONG).await.map(|report| report.sent)
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let sent = runtime.unwrap().block_on(service.call(Request(LONG)));
    assert_eq!(sent.unwrap(), 2);
    assert_eq!(server.spans().len(), 2);
}
