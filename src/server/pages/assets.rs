//! The stylesheet, the script and the icon: part of the program, and kept by browsers for as long as they are the same.

use crate::server::http::Problem;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(super) struct Asset {
    name: &'static str,
    media: &'static str,
    content: &'static str,
}

pub(super) const STYLE: Asset = Asset {
    name: "style.css",
    media: "text/css; charset=utf-8",
    content: include_str!("style.css"),
};

pub(super) const SCRIPT: Asset = Asset {
    name: "script.js",
    media: "text/javascript; charset=utf-8",
    content: include_str!("script.js"),
};

pub(super) const ICON: Asset = Asset {
    name: "icon.svg",
    media: "image/svg+xml",
    content: include_str!("icon.svg"),
};

impl Asset {
    /// Another content has another address.
    pub(super) fn address(&self) -> String {
        format!("/assets/{:08x}-{}", self.mark(), self.name)
    }

    const fn mark(&self) -> u32 {
        let mut hash: u32 = 0x811c_9dc5;
        let mut rest = self.content.as_bytes();
        while let [first, others @ ..] = rest {
            hash = (hash ^ *first as u32).wrapping_mul(0x0100_0193);
            rest = others;
        }
        hash
    }
}

pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let plain = name
        .split_once('-')
        .map_or(name.as_str(), |(_, plain)| plain);
    let known = [&STYLE, &SCRIPT, &ICON]
        .into_iter()
        .find(|asset| asset.name == plain);
    match known {
        Some(asset) => Ok((
            [
                (header::CONTENT_TYPE, asset.media),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ],
            asset.content,
        )
            .into_response()),
        None => Err(Problem::new(StatusCode::NOT_FOUND, "no such file")),
    }
}
