//! Sessions are announced before the first events and updates that mention them; delivery goes on without.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

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
/// A batch is held back for its announcements while one is answered within this, or half of what a flush may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// And for no longer than this, however many there are.
const LONGEST: Duration = Duration::from_secs(10);

type Running = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// Announcements on their way, several at once; one at first, and none after one that fails, where there was no way to
/// the server before.
pub(super) struct Announcing {
    transport: Arc<dyn Transport>,
    config: Arc<Config>,
    waiting: std::vec::IntoIter<(SessionId, Request)>,
    running: Vec<(SessionId, Running)>,
    results: Vec<(SessionId, Result<Reply, Failure>)>,
    width: usize,
    uncertain: bool,
    /// There is no way to the server: no more are begun.
    no_way: Option<Failure>,
}

impl Announcing {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        config: Arc<Config>,
        calls: Vec<(SessionId, Request)>,
        uncertain: bool,
    ) -> Self {
        Self {
            transport,
            config,
            results: Vec::with_capacity(calls.len()),
            waiting: calls.into_iter(),
            running: Vec::new(),
            width: if uncertain { 1 } else { ANNOUNCEMENTS },
            uncertain,
            no_way: None,
        }
    }

    /// Announces while a parcel waits for it: as long as answers come, each within the time given, and all of them within
    /// [`LONGEST`]. What is not answered by then goes on beside.
    pub(super) async fn ahead(mut self, patience: Duration) -> Done {
        let begun = Instant::now();
        let mut sleep = pin!(tokio::time::sleep(patience));
        let done = poll_fn(|cx| {
            while let Poll::Ready(next) = self.poll_next(cx) {
                match next {
                    None => return Poll::Ready(true),
                    Some(false) => return Poll::Ready(self.is_empty()),
                    Some(true) => {
                        let until = (Instant::now() + patience).min(begun + LONGEST);
                        sleep.as_mut().reset(until.into());
                    }
                }
            }
            sleep.as_mut().poll(cx).map(|()| false)
        })
        .await;
        Done::Announced {
            config: Arc::clone(&self.config),
            results: std::mem::take(&mut self.results),
            ahead: true,
            rest: (!done).then(|| Box::new(self)),
        }
    }

    /// Announces while nobody waits for it. Once one call is given up without an answer, no more are begun.
    pub(super) async fn beside(mut self) -> Done {
        poll_fn(|cx| {
            loop {
                match ready!(self.poll_next(cx)) {
                    None => return Poll::Ready(()),
                    Some(true) => {}
                    Some(false) => {
                        let given_up = |(session, _)| (session, Err(Failure::silent()));
                        self.results.extend(self.waiting.by_ref().map(given_up));
                    }
                }
            }
        })
        .await;
        Done::Announced {
            config: self.config,
            results: self.results,
            ahead: false,
            rest: None,
        }
    }

    /// Waits for the next result, and tells whether there was one in time; `None` when there are no more.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<bool>> {
        while self.running.len() < self.width
            && let Some((session, request)) = self.waiting.next()
        {
            let sending = transport::attempt(Arc::clone(&self.transport), request);
            self.running.push((session, Box::pin(sending)));
        }
        if self.running.is_empty() {
            // What was not begun would have fared as what found out.
            if let Some(failure) = &self.no_way {
                let given_up = |(session, _)| (session, Err(failure.clone()));
                self.results.extend(self.waiting.by_ref().map(given_up));
            }
            return Poll::Ready(None);
        }
        for (index, (_, sending)) in self.running.iter_mut().enumerate() {
            if let Poll::Ready(result) = sending.as_mut().poll(cx) {
                let (session, _) = self.running.swap_remove(index);
                let answered = !result.as_ref().is_err_and(|failure| failure.silent);
                self.width = match &result {
                    Err(failure) if self.uncertain && failure.connect => {
                        self.no_way = Some(failure.clone());
                        0
                    }
                    Ok(_) if self.width > 0 => ANNOUNCEMENTS,
                    _ => self.width,
                };
                self.results.push((session, result));
                return Poll::Ready(Some(answered));
            }
        }
        Poll::Pending
    }

    fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.len() == 0
    }

    fn sessions(&self) -> impl Iterator<Item = SessionId> {
        let running = self.running.iter().map(|(session, _)| *session);
        running.chain(self.waiting.as_slice().iter().map(|(session, _)| *session))
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

    /// How long a parcel waits for the next of its sessions to be announced.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE.min(self.shared.config.load().flush_timeout() / 2)
    }

    /// Announces sessions while what mentions them goes out: the server left earlier announcements unanswered.
    pub(super) fn announce_beside(
        &mut self,
        transport: &Arc<dyn Transport>,
        config: &Arc<Config>,
        sessions: Vec<SessionId>,
    ) {
        let mut calls = Vec::new();
        for session in sessions {
            if self.announcing.len() < ANNOUNCEMENTS {
                self.announcing.insert(session);
                calls.push((session, self.announcement(config, session)));
            } else {
                self.announcement_failed(session, &Failure::silent().reason);
            }
        }
        if !calls.is_empty() {
            self.beside += 1;
            let announcing = Announcing::new(
                Arc::clone(transport),
                Arc::clone(config),
                calls,
                self.is_cut_off(),
            );
            self.tasks.spawn(announcing.beside());
        }
    }

    /// What has not been answered goes on while nobody waits for it.
    pub(super) fn go_on_beside(&mut self, rest: Announcing) {
        self.beside += 1;
        self.announcing.extend(rest.sessions());
        self.tasks.spawn(rest.beside());
    }

    pub(super) fn announced(
        &mut self,
        config: &Config,
        results: Vec<(SessionId, Result<Reply, Failure>)>,
        ahead: bool,
        rest: Option<Box<Announcing>>,
    ) {
        if !ahead {
            self.beside -= 1;
            for (session, _) in &results {
                self.announcing.remove(session);
            }
        }
        if self.is_stale(config) {
            match self.staged.take_if(|_| ahead) {
                Some(Parcel::Shipment(shipment)) => self.returned.push_front(shipment),
                Some(Parcel::Letter(letter)) => self.letters.push_front(letter),
                None => {}
            }
            return;
        }
        let answered = results.iter().any(|(_, result)| result.is_ok());
        let silent = |result: &Result<_, Failure>| result.as_ref().is_err_and(|f| f.silent);
        if answered {
            self.unanswered = false;
        } else if rest.is_some() || results.iter().any(|(_, result)| silent(result)) {
            self.unanswered = true;
        }
        if let Some(rest) = rest {
            self.go_on_beside(*rest);
        }
        let mut unreachable = None;
        // Without a connection to the same server the parcel stays too.
        let stays = match &self.staged {
            Some(Parcel::Shipment(_)) => self.shared.config.load().otlp_endpoint.is_none(),
            Some(Parcel::Letter(_)) => true,
            None => false,
        };
        for (session, result) in results {
            if transport::is_repeated(&result) {
                self.count_retry();
            }
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
                    let comes_again = if ahead {
                        stays
                    } else {
                        !self.announced.contains(&session)
                    };
                    let reason = failure.reason.clone();
                    if failure.connect {
                        unreachable = Some(failure);
                        // Announced again with what mentions it.
                        if comes_again {
                            continue;
                        }
                    }
                    reason
                }
            };
            self.announcement_failed(session, &problem);
        }
        let Some(parcel) = self.staged.take_if(|_| ahead) else {
            return;
        };
        let config = self.current();
        match (parcel, unreachable) {
            // The events would fare no better on the same server.
            (Parcel::Shipment(shipment), Some(failure)) if stays => {
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

    fn announcement_failed(&self, session: SessionId, problem: &str) {
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
            health.local_session = Some(problem.to_owned());
        }
        drop(health);
        if first {
            self.shared.log.warn(&format!(
                "the session could not be announced ({problem}); its events are delivered under a local id"
            ));
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
            && self.shared.complaints.open()
        {
            self.shared.log.warn(&format!(
                "the server answered the announcement of session {session} with another id; events keep the first"
            ));
        }
    }
}
