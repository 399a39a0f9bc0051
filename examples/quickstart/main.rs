//! Asks questions over text files and shows every step as a HoneyHive session.
//!
//!     cargo run --example quickstart --features server              # this crate's documentation, a local server
//!     cargo run --example quickstart --features server -- --serve   # ... and keep the page open
//!     cargo run --example quickstart --features server -- notes/ -q "What did we decide?"
//!
//! With `HH_API_URL` or `HH_API_KEY` set the session goes there instead. With `OPENAI_API_KEY` or `OPENAI_BASE_URL` a
//! model composes the answers; without, they are put together from sentences that were found.

mod files;
mod model;
mod search;
mod tree;

use std::env;
use std::time::Duration;

use honeyhive::server::Server;
use honeyhive::{HoneyHive, Session};
use tracing::instrument;
use tracing_subscriber::prelude::*;

use model::Model;
use search::{Index, Passage};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const QUESTIONS: [&str; 3] = [
    "What happens without a key?",
    "How is a session carried into a spawned task?",
    "Which values are redacted?",
];

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = files::Arguments::parse()?;
    let passages = files::read(&arguments.paths)?;
    let index = Index::new(passages);
    let model = Model::from_env();

    // A server of our own, unless the environment names one.
    let local = env::var_os("HH_API_URL").is_none() && env::var_os("HH_API_KEY").is_none();
    let server = local
        .then(|| Server::builder().port(arguments.port).start())
        .transpose()?;

    // These lines are all that an application needs.
    let mut builder = HoneyHive::builder();
    if let Some(server) = &server {
        builder = builder.server_url(server.url());
    }
    let honeyhive = builder.build()?;
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();

    println!(
        "honeyhive quickstart: asking {} questions over {} files ({} passages)\n",
        arguments.questions.len(),
        index.files(),
        index.len(),
    );
    let session = Session::start("support-docs");
    session
        .scope(async {
            for question in &arguments.questions {
                if let Err(error) = answer(question, &index, &model).await {
                    eprintln!("{question}: {error}");
                }
            }
        })
        .await;
    let report = honeyhive.flush(Duration::from_secs(10)).await?;

    let Some(server) = server else {
        println!(
            "session {}: {} events sent to {}",
            session.id(),
            report.sent,
            honeyhive.config().server_url()
        );
        return Ok(());
    };
    let id = session.id().to_string();
    tree::print(&server.events(&id)?, "support-docs");
    println!("\nopen  {}", server.session_url(&id));
    if arguments.serve {
        println!("      (serving until Ctrl-C)");
        tokio::signal::ctrl_c().await?;
    } else {
        println!("      (add `-- --serve` to keep the page open)");
    }
    Ok(())
}

/// The pipeline: `#[instrument]` is all it takes; the arguments are its inputs, `ret` its output.
#[instrument(skip(index, model), ret, err, fields(honeyhive.event_type = "chain"))]
async fn answer(question: &str, index: &Index, model: &Model) -> Result<String> {
    let found = search(question, index);
    compose(question, &found, model).await
}

#[instrument(skip(index), fields(honeyhive.event_type = "tool"))]
fn search<'a>(query: &str, index: &'a Index) -> Vec<&'a Passage> {
    let found = index.search(query, 3);
    honeyhive::enrich(|e| {
        e.output(&found)
            .config("ranking", "BM25")
            .metadata("candidates", index.len())
            .metric("top_score", found.first().map(|passage| passage.score))
    });
    found.into_iter().map(|found| found.passage).collect()
}

#[instrument(skip_all, err, fields(honeyhive.event_type = "model"))]
async fn compose(question: &str, found: &[&Passage], model: &Model) -> Result<String> {
    let messages = model::messages(question, found);
    honeyhive::enrich(|e| {
        e.input("chat_history", &messages)
            .config("model", model.name())
            .config("provider", model.provider())
    });
    let reply = model.complete(&messages, question, found).await?;
    honeyhive::enrich(|e| {
        e.outputs(serde_json::json!({ "role": "assistant", "content": reply.text }))
            .metadata("finish_reason", "stop")
            .metadata("prompt_tokens", reply.prompt_tokens)
            .metadata("completion_tokens", reply.completion_tokens)
            .metadata(
                "total_tokens",
                reply.prompt_tokens + reply.completion_tokens,
            )
    });
    Ok(reply.text)
}
