//! Changes as server-sent events. Knows ids only: what changed, the page asks for itself.

use crate::server::App;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often an idle connection is written to, so that a listener who went away is noticed.
const BEAT: Duration = Duration::from_secs(20);

pub(crate) async fn live(State(app): State<Arc<App>>) -> Response {
    stream(&app, None)
}

pub(crate) async fn session_live(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    stream(&app, Some(id))
}

fn stream(app: &App, session: Option<String>) -> Response {
    let changes = Changes {
        changed: app.live.listen(session),
        stopping: Box::pin(stopped(app.stopping.clone())),
        beat: tokio::time::interval(BEAT),
    };
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(changes),
    )
        .into_response()
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the server is gone: the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

struct Changes {
    changed: mpsc::Receiver<String>,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    beat: tokio::time::Interval,
}

impl futures_core::Stream for Changes {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.stopping.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        match self.changed.poll_recv(cx) {
            Poll::Ready(Some(id)) => {
                // An id is some program's text: a line break in it would begin another field.
                let id = super::encoded(&id);
                let content = format!("event: session\ndata: {id}\n\n");
                return Poll::Ready(Some(Ok(content.into())));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        // The first beat comes at once, and tells the page that it is heard.
        match self.beat.poll_tick(cx) {
            Poll::Ready(_) => Poll::Ready(Some(Ok(Bytes::from_static(b": here\n\n")))),
            Poll::Pending => Poll::Pending,
        }
    }
}
