//! Tracing for LLM applications: `#[instrument]` spans become [HoneyHive](https://honeyhive.ai) sessions and events.
//!
//! Add one layer to your `tracing` registry and keep writing `#[instrument]`:
//!
//! ```no_run
//! use honeyhive::{HoneyHive, Session};
//! use tracing::instrument;
//! use tracing_subscriber::prelude::*;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let honeyhive = HoneyHive::from_env()?; // HH_API_KEY, or HH_API_URL of a local server
//!     tracing_subscriber::registry()
//!         .with(tracing_subscriber::fmt::layer())
//!         .with(honeyhive.layer())
//!         .init();
//!
//!     Session::start("support-chat").scope(ask("What does flush return?")).await?;
//!     Ok(()) // dropping `honeyhive` sends what is queued
//! }
//!
//! #[instrument(ret, err, fields(honeyhive.event_type = "model", gen_ai.request.model = "gpt-4o"))]
//! async fn ask(question: &str) -> Result<String, std::io::Error> {
//!     let answer = format!("It depends on {question}");
//!     honeyhive::enrich(|e| e.metric("words", answer.split(' ').count()));
//!     Ok(answer)
//! }
//! ```
//!
//! * Arguments become inputs, `ret` the output, `err` the error; `gen_ai.*` and other conventions are understood: see
//!   [`docs::fields`].
//! * [`enrich`] and [`SpanExt`] add anything that is `Serialize` to a span: outputs, config, metadata, metrics, feedback.
//! * [`Session`] says which events belong together, across tasks and threads: see [`docs::sessions`].
//! * [`propagation`] carries all that to other services, tasks and threads: see [`docs::propagation`].
//! * [`events`] has what is no span: events made at once, changes of events that are over, the id of the current one.
//! * [`registry`] has a default instance and handles to all of them, for several in one process.
//! * [`HoneyHive`] owns it all: [`flush`](HoneyHive::flush), [`shutdown`](HoneyHive::shutdown),
//!   [`stats`](HoneyHive::stats), [`status`](HoneyHive::status), [`strategy`](HoneyHive::strategy),
//!   [`reconfigure`](HoneyHive::reconfigure).
//! * How it ends, with signals, panics and forks: [`docs::lifecycle`], [`docs::kubernetes`], [`docs::lambda`].
//! * The REST API has a typed client, in the feature `api`: `honeyhive::api`, [`HoneyHive`]'s method `api`.
//! * What is sent, and how much of it: [`docs::sampling`], [`docs::redaction`], [`docs::limits`].
//! * What a span costs, and how that grows: [`docs::performance`].
//! * [`Builder`] sets what the environment does not: see [`config`].
//! * Numbers that suit the place it runs in, and how to change them: see [`docs::environments`].
//!
//! # What it promises
//!
//! An instrumented thread never waits for the network, never panics for our sake, and never allocates without bound.
//! Export runs on one thread of its own, which is started by the first closed span. Every event that is lost is counted
//! with a reason in [`HoneyHive::stats`]. Without a key and a server address the layer is inert: one warning, no thread,
//! nothing sent. API keys appear in no `Debug`, message or log.
//!
//! # Without an account
//!
//! The feature `server` has a local server that takes the platform's place: in-process as `server::Server`, or as the
//! command `hh dev` (feature `cli`). Set `HH_API_URL` to its address, and no key is needed.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `rustls` | ✔ | `https://` endpoints, by rustls with the platform's certificates |
//! | `server` | | the local server: SQLite, REST API, web pages |
//! | `spool` | | what cannot be delivered is kept in files, and sent later: [`docs::spool`] |
//! | `cli` | | the command `hh`, and the server with it |
//! | `signal` | | waiting for SIGTERM and SIGINT: `honeyhive::signal` |
//! | `lambda` | | a tower layer for `lambda_runtime` that flushes after each invocation: `honeyhive::lambda` |
//! | `api` | | a typed client of the REST API: `honeyhive::api` |
//! | `testing` | | the events of a closure, for your own tests: `honeyhive::testing` |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::disallowed_methods
    )
)]

mod clock;
pub mod config;
mod context;
mod enrich;
pub mod environment;
mod error;
mod event;
pub mod events;
mod export;
mod fork;
mod id;
mod layer;
mod lifecycle;
mod log;
mod panic;
pub mod propagation;
mod redact;
pub mod registry;
mod resource;
mod sample;
pub mod session;
mod sync;

#[cfg(feature = "api")]
pub mod api;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "lambda")]
pub mod lambda;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "signal")]
pub mod signal;
#[cfg(feature = "testing")]
pub mod testing;

pub mod report {
    //! What an instance says of itself: statistics, the outcome of a flush, what is amiss.

    pub use crate::export::report::{Degradation, DropReason, Dropped, FlushReport, Stats, Status};
}

pub mod docs {
    //! Longer explanations.

    #[doc = include_str!("docs/fields.md")]
    pub mod fields {}

    #[doc = include_str!("docs/sessions.md")]
    pub mod sessions {}

    #[doc = include_str!("docs/propagation.md")]
    pub mod propagation {}
    #[doc = include_str!("docs/sampling.md")]
    pub mod sampling {}

    #[doc = include_str!("docs/redaction.md")]
    pub mod redaction {}
    #[doc = include_str!("docs/limits.md")]
    pub mod limits {}
    #[doc = include_str!("docs/reliability.md")]
    pub mod reliability {}

    #[doc = include_str!("docs/environments.md")]
    pub mod environments {}

    #[doc = include_str!("docs/spool.md")]
    pub mod spool {}

    #[doc = include_str!("docs/lifecycle.md")]
    pub mod lifecycle {}

    #[doc = include_str!("docs/kubernetes.md")]
    pub mod kubernetes {}

    #[doc = include_str!("docs/lambda.md")]
    pub mod lambda {}

    #[doc = include_str!("docs/performance/plots.md")]
    #[doc = include_str!("docs/performance.md")]
    pub mod performance {}

    #[cfg(feature = "server")]
    #[doc = include_str!("docs/server.md")]
    pub mod server {}

    #[doc = include_str!("docs/design.md")]
    pub mod design {}
}

/// What only fuzz targets reach.
#[cfg(all(fuzzing, feature = "spool"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::export::read_spool_file;
}

pub use config::Builder;
pub use enrich::{Enrichment, SpanExt, enrich};
pub use error::Error;
pub use event::EventType;
pub use events::current_event;
pub use id::EventId;
pub use layer::HoneyHiveLayer;
pub use lifecycle::{HoneyHive, flush, flush_blocking};
pub use panic::install_panic_hook;
pub use session::Session;
