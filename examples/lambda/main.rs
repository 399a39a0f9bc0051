//! A function for AWS Lambda: its events are delivered at the end of each invocation, before the process is frozen.
//!
//! On Lambda it runs as it is (`bootstrap` of the runtime `provided.al2023`). Here, a small server takes Lambda's place:
//!
//! ```sh
//! HH_API_URL=http://127.0.0.1:4318 cargo run --example lambda --features lambda -- --local why how   # with `hh dev` beside it
//! ```

mod local;

use honeyhive::lambda::FlushLayer;
use honeyhive::{HoneyHive, Session};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use serde_json::{Value, json};
use tracing::instrument;
use tracing_subscriber::prelude::*;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--local") {
        return local::run(&arguments.collect::<Vec<_>>());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Error> {
    let honeyhive = HoneyHive::from_env()?;
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    // The last layer is the outermost: it flushes when the span of the invocation has closed.
    let flush = FlushLayer::new(&honeyhive, |invocation: &LambdaInvocation| {
        invocation.context.deadline()
    });
    Runtime::new(service_fn(handle))
        .layer(TracingLayer::new())
        .layer(flush)
        .run()
        .await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let question = event.payload["question"].as_str().unwrap_or_default();
    // One invocation is one session.
    let answer = Session::start("question").scope(answer(question)).await;
    Ok(json!({ "answer": answer }))
}

#[instrument(ret, fields(honeyhive.event_type = "model", gen_ai.request.model = "none"))]
async fn answer(question: &str) -> String {
    honeyhive::enrich(|e| e.metric("length", question.len()));
    format!("{question}? It depends.")
}
