//! Placeholder front page.
#![cfg_attr(docsrs, feature(doc_cfg))]
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

pub mod config;
mod environment;
mod error;
mod event;
mod export;
mod sync;

#[cfg(feature = "server")]
pub mod server;

pub use config::Builder;
pub use error::Error;
