//! Placeholder front page.
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
mod environment;
mod error;
mod event;
mod export;
mod id;
mod layer;
mod lifecycle;
mod log;
mod registry;
mod resource;
pub mod session;
mod sync;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "server")]
pub mod server;

pub mod report {
    //! What an instance says of itself: statistics, the outcome of a flush, what is amiss.

    pub use crate::export::report::{Degradation, DropReason, Dropped, FlushReport, Stats, Status};
}

pub use config::Builder;
pub use enrich::{Enrichment, SpanExt, enrich};
pub use error::Error;
pub use event::EventType;
pub use id::EventId;
pub use layer::HoneyHiveLayer;
pub use lifecycle::{HoneyHive, flush};
pub use session::Session;
