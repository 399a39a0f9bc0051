//! A service as it runs on Kubernetes: it answers questions until it is sent SIGTERM, finishes what it has begun, delivers
//! its events, and ends with its own exit code.
//!
//! ```sh
//! HH_API_URL=http://127.0.0.1:4318 cargo run --example kubernetes --features signal   # with `hh dev` beside it
//! curl 'localhost:8080/ask?question=why'
//! ```

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use honeyhive::{HoneyHive, Session};
use tracing::instrument;
use tracing_subscriber::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let honeyhive = HoneyHive::from_env()?;
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer())
        .with(honeyhive.layer())
        .init();
    // Before anything is served: from now on a SIGTERM is heard.
    let termination = honeyhive::signal::termination()?;

    let service = Router::new()
        .route("/ask", get(ask))
        .route("/healthz", get(|| async { "ok" }));
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("0.0.0.0:{port}")).await?;
    println!("listening on {}", listener.local_addr()?);
    let until = async {
        let signal = termination.await;
        tracing::info!("{signal}: no new requests");
    };
    axum::serve(listener, service)
        .with_graceful_shutdown(until)
        .await?;

    // Dropping it would do as well; this tells what came of it.
    if let Err(error) = honeyhive.shutdown(Duration::from_secs(5)).await {
        eprintln!("{error}");
    }
    println!("{} events delivered", honeyhive.stats().exported);
    Ok(())
}

/// One request is one session.
async fn ask(request: axum::http::Uri) -> String {
    let query = request.query().unwrap_or_default();
    let question = query.strip_prefix("question=").unwrap_or(query).to_owned();
    Session::start("question").scope(answer(&question)).await
}

#[instrument(ret, fields(honeyhive.event_type = "chain"))]
async fn answer(question: &str) -> String {
    let facts = search(question).await;
    format!("{facts} It depends.")
}

#[instrument(ret, fields(honeyhive.event_type = "tool"))]
async fn search(question: &str) -> String {
    tokio::time::sleep(Duration::from_millis(50)).await;
    format!("{} letters were asked.", question.len())
}
