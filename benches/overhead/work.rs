//! The workloads as a program with `tracing` has them. Shared with `benches/compare`.

use tracing::field::Empty;
use tracing::{info, info_span};

use crate::paced::{TRACE, Work};

/// Spans of `tracing`, whoever listens.
pub(crate) struct Tracing;

impl Work for Tracing {
    fn empty(traces: usize) {
        for _ in 0..traces {
            info_span!("root").in_scope(|| {
                for _ in 1..TRACE {
                    info_span!("work").in_scope(|| {});
                }
            });
        }
    }

    fn fields(traces: usize) {
        for round in 0..traces {
            info_span!("root").in_scope(|| {
                for item in 1..TRACE {
                    let span = info_span!(
                        "work",
                        model = "gpt-4o-mini",
                        provider = "openai",
                        question = "What does flush return?",
                        user = "user-1234",
                        item = item as u64,
                        round = round as i64,
                        temperature = 0.7,
                        stream = true,
                    );
                    span.in_scope(|| {});
                }
            });
        }
    }

    fn nested(traces: usize) {
        for _ in 0..traces {
            session(1);
        }
    }

    async fn awaited() {
        later_session(1).await;
    }
}

pub(crate) const TEXT: &str = match std::str::from_utf8(&[b'x'; 4096]) {
    Ok(text) => text,
    Err(_) => "",
};

#[tracing::instrument]
fn session(user: u64) {
    info!("session");
    agent("summarise");
}

#[tracing::instrument]
fn agent(task: &str) {
    info!("agent");
    retrieve(3);
    model("gpt-4o-mini");
}

#[tracing::instrument]
fn retrieve(top: u64) {
    info!("retrieve");
    embed("query");
}

#[tracing::instrument]
fn embed(text: &str) {
    info!("embed");
}

#[tracing::instrument(fields(prompt = Empty, completion = Empty))]
fn model(model: &str) {
    info!("model");
    texts();
    parse();
}

#[tracing::instrument(fields(prompt = Empty, completion = Empty))]
fn parse() {
    info!("parse");
    texts();
}

fn texts() {
    let span = tracing::Span::current();
    span.record("prompt", TEXT);
    span.record("completion", &TEXT[..2048]);
}

/// The same, and each function yields at its begin and its end, two of them once more: 14 in all.
#[tracing::instrument]
async fn later_session(user: u64) {
    info!("session");
    tokio::task::yield_now().await;
    later_agent("summarise").await;
    tokio::task::yield_now().await;
}

#[tracing::instrument]
async fn later_agent(task: &str) {
    info!("agent");
    tokio::task::yield_now().await;
    later_retrieve(3).await;
    later_model("gpt-4o-mini").await;
    tokio::task::yield_now().await;
}

#[tracing::instrument]
async fn later_retrieve(top: u64) {
    info!("retrieve");
    tokio::task::yield_now().await;
    later_embed("query").await;
    tokio::task::yield_now().await;
}

#[tracing::instrument]
async fn later_embed(text: &str) {
    info!("embed");
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

#[tracing::instrument(fields(prompt = Empty, completion = Empty))]
async fn later_model(model: &str) {
    info!("model");
    tokio::task::yield_now().await;
    texts();
    tokio::task::yield_now().await;
    later_parse().await;
    tokio::task::yield_now().await;
}

#[tracing::instrument(fields(prompt = Empty, completion = Empty))]
async fn later_parse() {
    info!("parse");
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    texts();
    tokio::task::yield_now().await;
}
