//! Lambda's runtime API for a moment: it runs this program as the function, invokes it once for each question, and prints
//! what it answers.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use lambda_runtime::Error;
use serde_json::json;

/// What an invocation may take.
const TIME: Duration = Duration::from_secs(10);

pub fn run(questions: &[String]) -> Result<(), Error> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let (done, wait) = tokio::sync::oneshot::channel();
        let done = Arc::new(Mutex::new(Some(done)));
        let questions: VecDeque<String> = questions.iter().cloned().collect();
        let questions = Arc::new(Mutex::new(questions));
        let next = move || next(Arc::clone(&questions), Arc::clone(&done));
        let answered = |answer: String| async move {
            println!("{answer}");
            StatusCode::ACCEPTED
        };
        let api = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(answered),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(answered));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, api).await });
        let mut function = Command::new(std::env::current_exe()?)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "question")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .spawn()?;
        wait.await?;
        // It asks for more, so it has delivered; Lambda would freeze it now, and end it some day.
        function.kill()?;
        function.wait()?;
        Ok(())
    })
}

type Done = Arc<Mutex<Option<tokio::sync::oneshot::Sender<()>>>>;

async fn next(questions: Arc<Mutex<VecDeque<String>>>, done: Done) -> Response {
    let question = questions.lock().ok().and_then(|mut all| all.pop_front());
    let Some(question) = question else {
        let done = done.lock().ok().and_then(|mut done| done.take());
        done.map(|done| done.send(()));
        return std::future::pending().await;
    };
    let deadline = SystemTime::now() + TIME;
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default();
    let headers = [
        ("lambda-runtime-aws-request-id", "local".to_owned()),
        (
            "lambda-runtime-deadline-ms",
            deadline.as_millis().to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:local".to_owned(),
        ),
    ];
    (headers, json!({ "question": question }).to_string()).into_response()
}
