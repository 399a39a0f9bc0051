//! Sessions are announced before the first events and updates that mention them; delivery goes on without.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use super::pace::Place;
use super::{Done, Parcel, Worker};
use crate::config::Config;
use crate::event::directory::{self, SessionStart};
use crate::export::otlp::{AutoCreate, redacted};
use crate::export::requests;
use crate::export::transport::{self, Failure, Reply, Request, Transport};
use crate::id::SessionId;
use crate::sync::lock;

/// Announcements under way at once.
const ANNOUNCEMENTS: usize = 32;
/// Announced sessions that are remembered; announcing one again does no harm.
const REMEMBERED: usize = 16_384;

type Running = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// Makes the calls, several at once; one at first, and none after one that fails, where there was
/// no way to the server before.
pub(super) async fn announce(
    transport: Arc<dyn Transport>,
    config: Arc<Config>,
    calls: Vec<(SessionId, Request)>,
    uncertain: bool,
) -> Done {
    let mut width = if uncertain { 1 } else { ANNOUNCEMENTS };
    let mut results = Vec::with_capacity(calls.len());
    let mut calls = calls.into_iter();
    let mut running: Vec<(SessionId, Running)> = Vec::new();
    loop {
        while running.len() < width
            && let Some((session, request)) = calls.next()
        {
            let sending = transport::attempt(Arc::clone(&transport), request);
            running.push((session, Box::pin(sending)));
        }
        if running.is_empty() {
            return Done::Announced { config, results };
        }
        let (index, result) = poll_fn(|cx| {
            for (index, (_, sending)) in running.iter_mut().enumerate() {
                if let Poll::Ready(result) = sending.as_mut().poll(cx) {
                    return Poll::Ready((index, result));
                }
            }
            Poll::Pending
        })
        .await;
        let (session, _) = running.swap_remove(index);
        width = match &result {
            Err(failure) if uncertain && failure.connect => 0,
            Ok(_) if width > 0 => ANNOUNCEMENTS,
            _ => width,
        };
        results.push((session, result));
    }
}

impl Worker {
    /// Whether the spans that the next update is about have arrived.
    pub(super) fn may_post_letter(&self) -> bool {
        let settled = self.settled_up_to();
        let next = self.letters.front();
        next.is_none_or(|letter| letter.after <= settled)
    }

    /// What events say of their sessions when these are not announced.
    pub(super) fn auto_create(&self, config: &Config) -> Option<AutoCreate> {
        let own = self.shared.session;
        config.session_auto_create().then(|| AutoCreate {
            default_name: self.default_name.clone(),
            announced: self.needs_announcement(config, own).then_some(own),
        })
    }

    /// Whether the platform has to be told of a session before its events.
    pub(super) fn needs_announcement(&self, config: &Config, session: SessionId) -> bool {
        let own = session == self.shared.session;
        if !own && directory::is_elsewhere(session) {
            return false;
        }
        let start = directory::get(session);
        if start.as_ref().is_some_and(|start| start.skip) {
            return false;
        }
        if own && config.skip_session_start && config.session_id.is_some() {
            return false;
        }
        // Events can say no more of a session than its name.
        let own_content = config.session_inputs.is_some() || config.user_properties.is_some();
        !config.session_auto_create()
            || start.is_some_and(|start| start.has_content())
            || (own && own_content)
    }

    pub(super) fn announcement(&self, config: &Config, session: SessionId) -> Request {
        let start = directory::get(session);
        let mut start = start.map_or_else(SessionStart::default, |start| (*start).clone());
        if session == self.shared.session {
            let own = [
                (&mut start.inputs, config.session_inputs()),
                (&mut start.user_properties, config.user_properties()),
            ];
            for (map, set) in own {
                for (key, value) in set.unwrap_or_default() {
                    map.entry(key).or_insert(value);
                }
            }
        }
        for (name, id) in config.evaluation_ids() {
            let entry = start.metadata.entry(name);
            entry.or_insert_with(|| id.into());
        }
        let start = redacted::start(&start, config, &self.redactor);
        self.count_redact_failures();
        requests::session_start(config, session, &start, &self.default_name)
    }

    pub(super) fn announced(
        &mut self,
        config: &Config,
        results: Vec<(SessionId, Result<Reply, Failure>)>,
    ) {
        if self.is_stale(config) {
            match self.staged.take() {
                Some(Parcel::Shipment(shipment)) => self.returned.push_front(shipment),
                Some(Parcel::Letter(letter)) => self.letters.push_front(letter),
                None => {}
            }
            return;
        }
        let mut unreachable = None;
        for (session, result) in results {
            let problem = match result {
                Ok(reply) if (200..300).contains(&reply.status) => {
                    self.remember(session);
                    self.shared
                        .counters
                        .sessions_started
                        .fetch_add(1, Ordering::Relaxed);
                    self.check_reply(session, &reply);
                    continue;
                }
                Ok(reply) => {
                    // An answer is an answer: delivery goes on without the announcement. Another key may fare better.
                    if !matches!(reply.status, 401 | 403) {
                        self.remember(session);
                    }
                    format!("status {}", reply.status)
                }
                Err(failure) => {
                    let reason = failure.reason.clone();
                    if failure.connect {
                        unreachable = Some(failure);
                    }
                    reason
                }
            };
            self.shared
                .counters
                .sessions_failed
                .fetch_add(1, Ordering::Relaxed);
            self.shared
                .log
                .debug(|| format!("POST /session/start for {session}: {problem}"));
            let mut health = lock(&self.shared.health);
            let first = session == self.shared.session && health.local_session.is_none();
            if session == self.shared.session {
                health.local_session = Some(problem.clone());
            }
            drop(health);
            if first {
                self.shared.log.warn(&format!(
                    "the session could not be announced ({problem}); its events are delivered under a local id"
                ));
            }
        }
        let Some(parcel) = self.staged.take() else {
            return;
        };
        let config = self.shared.config.load_full();
        match (parcel, unreachable) {
            // The events would fare no better on the same server.
            (Parcel::Shipment(shipment), Some(failure)) if config.otlp_endpoint.is_none() => {
                self.put_back(shipment, None, &failure.reason);
                self.nobody_answered(&config, Place::Traces, &failure);
            }
            (Parcel::Letter(letter), Some(failure)) => {
                self.put_back_letter(letter, None, &failure.reason);
                self.nobody_answered(&config, Place::Rest, &failure);
            }
            (parcel, _) => self.dispatch(&config, parcel),
        }
    }

    /// The session needs no further announcement.
    pub(super) fn remember(&mut self, session: SessionId) {
        if self.announced.insert(session) {
            self.announced_order.push_back(session);
        }
        if self.announced_order.len() > REMEMBERED
            && let Some(oldest) = self.announced_order.pop_front()
        {
            self.announced.remove(&oldest);
        }
    }

    pub(super) fn check_reply(&self, session: SessionId, reply: &Reply) {
        if session == self.shared.session {
            lock(&self.shared.health).local_session = None;
        }
        let answered = serde_json::from_slice::<serde_json::Value>(&reply.body).ok();
        let answered = answered
            .as_ref()
            .and_then(|body| body.get("session_id")?.as_str());
        if let Some(other) = answered
            && !other.eq_ignore_ascii_case(&session.to_string())
            && self.shared.losses.open()
        {
            self.shared.log.warn(&format!(
                "the server answered the announcement of session {session} with another id; events keep the first"
            ));
        }
    }
}
