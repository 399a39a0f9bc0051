//! Context from and for elsewhere: other services, tasks and threads. See [`docs::propagation`](crate::docs::propagation).
//!
//! Between services it travels in the W3C headers `traceparent`, `tracestate` and `baggage`: [`inject`] writes them,
//! [`extract`] reads them, and a [`RemoteContext`] makes what is done for a request part of the caller's trace and
//! session. Within a process [`Context`] carries it into tasks and threads.

mod baggage;
mod carrier;
mod scope;
mod w3c;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::{Span, dispatcher};

use crate::context::{self, Frame, Remote};
use crate::event::carried::{Carried, PROJECT, SESSION_ID, SOURCE};
use crate::event::directory;
use crate::event::fields::cut;
use crate::id::SessionId;
use crate::layer::bridge;
use crate::lifecycle::HoneyHive;
use crate::sample;
use crate::session::Session;
use crate::sync::Gate;

pub use baggage::Baggage;
pub use carrier::{Extractor, Injector};
use scope::Surroundings;
pub use scope::{ContextExt, ContextGuard, InContext};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const BAGGAGE: &str = "baggage";

/// What headers say of the work they ask for: the span it is done for, its session, and its baggage.
///
/// ```
/// use honeyhive::propagation;
///
/// # async fn answer() {}
/// async fn handle(headers: &http::HeaderMap) {
///     propagation::extract(headers).scope(answer()).await;
/// }
/// ```
///
/// A span made directly in its scope is a child of the remote span, and belongs to the remote session. Where the headers
/// do not say something, it stays as it is.
#[derive(Clone, Default)]
pub struct RemoteContext {
    parent: Option<Arc<Remote>>,
    session: Option<SessionId>,
    baggage: Baggage,
    /// The instance it is limited to; zero: every instance.
    instance: u64,
}

/// Reads the context of a request from its headers. Whatever they are, it is bounded and does not fail: at most 8 KiB
/// and 180 entries of baggage are read, and a header that breaks the rules is left out.
///
/// Whoever sends the headers decides the session, project and source of the events below. Extract them only from callers
/// who may.
pub fn extract<E: Extractor + ?Sized>(carrier: &E) -> RemoteContext {
    read(
        &collect(carrier, TRACEPARENT),
        &collect(carrier, TRACESTATE),
        &collect(carrier, BAGGAGE),
    )
}

/// [`extract`] by a function that answers with the header of a name, for carriers of other types.
///
/// ```
/// # let metadata: std::collections::HashMap<&str, String> = Default::default();
/// let remote = honeyhive::propagation::extract_with(|name| metadata.get(name));
/// ```
pub fn extract_with<T: AsRef<str>>(mut get: impl FnMut(&str) -> Option<T>) -> RemoteContext {
    let mut found = |name| {
        let value = catch_unwind(AssertUnwindSafe(|| {
            get(name).map(|value| bounded(value.as_ref()).to_owned())
        }));
        value.ok().flatten().into_iter().collect::<Vec<String>>()
    };
    read(&found(TRACEPARENT), &found(TRACESTATE), &found(BAGGAGE))
}

/// Of headers of one name so many are read, and of each so many bytes: several times what is made use of.
const MAX_HEADERS: usize = 64;
const MAX_HEADER: usize = 32 * 1024;

fn collect<E: Extractor + ?Sized>(carrier: &E, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    carrier.each(name, &mut |value| {
        if found.len() < MAX_HEADERS {
            found.push(bounded(value).to_owned());
        }
    });
    found
}

/// The start of a header that is too long, as far as its members are whole.
fn bounded(value: &str) -> &str {
    if value.len() <= MAX_HEADER {
        return value;
    }
    let (whole, _) = cut(value, MAX_HEADER).rsplit_once(',').unwrap_or_default();
    whole
}

fn read(parents: &[String], states: &[String], baggage: &[String]) -> RemoteContext {
    let read = w3c::parse_baggage(baggage.iter().map(String::as_str));
    if let Some(session) = read.session {
        directory::note_elsewhere(session);
    }
    RemoteContext {
        parent: w3c::parent(parents, states.iter().map(String::as_str)).map(Arc::new),
        session: read.session,
        baggage: Baggage::from_entries(read.entries),
        instance: 0,
    }
}

impl RemoteContext {
    /// Whether the headers said nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parent.is_none() && self.session.is_none() && self.baggage.is_empty()
    }

    /// The id of the trace, as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        let parent = self.parent.as_ref()?;
        Some(format!("{:032x}", parent.trace_id))
    }

    /// The id of the remote span, as 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> Option<String> {
        let parent = self.parent.as_ref()?;
        Some(format!("{:016x}", parent.span_id))
    }

    /// Whether the caller records its part of the trace. It makes no difference here: whether a trace is sampled is
    /// decided the same way in every service.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.parent.as_ref().is_some_and(|parent| parent.sampled)
    }

    /// What other vendors say of the trace; it is passed on.
    #[must_use]
    pub fn trace_state(&self) -> Option<&str> {
        self.parent.as_ref()?.trace_state.as_deref()
    }

    /// The session of the caller.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.session.map(Session::from_id)
    }

    /// What else the caller sent along.
    #[must_use]
    pub fn baggage(&self) -> &Baggage {
        &self.baggage
    }

    /// Puts a session in place of the caller's.
    #[must_use]
    pub fn with_session(mut self, session: &Session) -> Self {
        self.session = Some(session.id());
        self
    }

    /// Runs a future or a stream in this context.
    pub fn scope<T>(&self, inner: T) -> InContext<T> {
        self.surroundings().scope(inner)
    }

    /// Runs a function in this context.
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.surroundings().in_scope(f)
    }

    /// Enters the context on this thread until the guard is dropped.
    pub fn enter(&self) -> ContextGuard {
        self.surroundings().enter()
    }

    fn surroundings(&self) -> Surroundings {
        let frame = Frame {
            instance: self.instance,
            session: self.session,
            carried: self.carried(),
            remote: self.parent.clone(),
            ..Frame::default()
        };
        Surroundings {
            frames: Arc::from([frame]),
            span: None,
        }
    }

    fn limited_to(mut self, instance: u64) -> Self {
        self.instance = instance;
        self.baggage = self.baggage.limited_to(instance);
        self
    }

    pub(crate) fn instance(&self) -> u64 {
        self.instance
    }

    pub(crate) fn parent(&self) -> Option<&Remote> {
        self.parent.as_deref()
    }

    pub(crate) fn session_id(&self) -> Option<SessionId> {
        self.session
    }

    pub(crate) fn carried(&self) -> Option<Arc<Carried>> {
        (!self.baggage.is_empty()).then(|| self.baggage.parts().1)
    }
}

impl fmt::Debug for RemoteContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteContext")
            .field("trace_id", &self.trace_id())
            .field("span_id", &self.span_id())
            .field("session", &self.session)
            .field("baggage", &self.baggage)
            .finish_non_exhaustive()
    }
}

/// Writes the current context into the headers of a request: the current span as the parent, the session, project and
/// source, and all [`Baggage`].
///
/// Baggage that others put into the headers stays there; their `traceparent` is replaced, where there is a span of ours
/// to name. With several instances in the subscriber the first one's ids are written, see [`HoneyHive::inject`].
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// honeyhive::propagation::inject(&mut headers);
/// ```
pub fn inject<I: Injector + ?Sized>(carrier: &mut I) {
    write(&here(None), carrier);
}

/// [`inject`] by a function that sets a header, for carriers of other types.
///
/// ```
/// # let mut metadata = std::collections::HashMap::new();
/// honeyhive::propagation::inject_with(|name, value| {
///     metadata.insert(name, value);
/// });
/// ```
pub fn inject_with(mut set: impl FnMut(&'static str, String)) {
    for (name, value) in here(None).headers(&[]) {
        // The user's closure; what it fails to set is not set.
        let _ = catch_unwind(AssertUnwindSafe(|| set(name, value)));
    }
}

fn write<I: Injector + ?Sized>(here: &Here, carrier: &mut I) {
    for (name, value) in here.headers(&collect(carrier, BAGGAGE)) {
        carrier.put(name, value);
    }
}

/// What code that runs now belongs to, as an instance sees it.
#[derive(Debug, Default)]
struct Here {
    /// Trace and span id.
    parent: Option<(u128, u64)>,
    trace_state: Option<Arc<str>>,
    session: Option<SessionId>,
    carried: Option<Arc<Carried>>,
    /// The instance's own, where the baggage does not name others.
    project: Option<String>,
    source: Option<String>,
}

/// For the first instance in the current subscriber, or the one that is named.
fn here(instance: Option<u64>) -> Here {
    let found = dispatcher::get_default(|dispatch| {
        let mut reached = bridge::reach(dispatch).into_iter();
        let reached = reached.find(|reached| {
            let shared = &reached.recorder.shared;
            shared.is_enabled() && instance.is_none_or(|id| id == shared.id)
        })?;
        Some((reached.origin(dispatch), reached.recorder))
    });
    if let Some((origin, recorder)) = found {
        let config = recorder.shared.exporter.config();
        let told = recorder
            .shared
            .tells_sampling(origin.session)
            .then(|| sample::by_trace(origin.trace_state.as_deref()))
            .flatten();
        return Here {
            parent: origin.parent,
            trace_state: told.map(Arc::from).or(origin.trace_state),
            session: Some(origin.session),
            carried: origin.carried,
            project: config.project.clone(),
            source: Some(config.source.clone()),
        };
    }
    let applied = context::applied(instance.unwrap_or(0)).unwrap_or_default();
    let parent = applied.remote.map(|(parent, _)| parent);
    Here {
        parent: parent
            .as_ref()
            .map(|parent| (parent.trace_id, parent.span_id)),
        trace_state: parent.and_then(|parent| parent.trace_state.clone()),
        session: applied.session.map(|(session, _)| session),
        carried: applied.carried.map(|(carried, _)| carried),
        project: None,
        source: None,
    }
}

impl Here {
    /// The headers that say so; `others` is the baggage that is there already.
    fn headers(&self, others: &[String]) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(3);
        if let Some((trace_id, span_id)) = self.parent {
            headers.push((TRACEPARENT, w3c::traceparent(trace_id, span_id)));
            if let Some(state) = &self.trace_state {
                headers.push((TRACESTATE, state.as_ref().to_owned()));
            }
        }
        let session = self.session.map(|session| session.to_string());
        let list = self
            .carried
            .as_ref()
            .map_or(&[] as &[_], |carried| carried.list());
        let carried = |name| self.carried.as_ref().and_then(|carried| carried.get(name));
        let own = [
            (SESSION_ID, session.as_deref()),
            (PROJECT, carried(PROJECT).or(self.project.as_deref())),
            (SOURCE, carried(SOURCE).or(self.source.as_deref())),
        ];
        let mut entries: Vec<(&str, &str)> = Vec::with_capacity(own.len() + list.len());
        entries.extend(
            own.iter()
                .filter_map(|(key, value)| Some((*key, (*value)?))),
        );
        let rest = list
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        entries.extend(rest.filter(|(key, _)| own.iter().all(|(own, _)| own != key)));
        let (text, left_out) = w3c::baggage(&entries, others);
        if left_out > 0 {
            notice_left_out(left_out);
        }
        if !text.is_empty() {
            headers.push((BAGGAGE, text));
        }
        headers
    }
}

#[cold]
fn notice_left_out(count: usize) {
    static SAID: Gate = Gate::new(Duration::from_secs(60));
    if SAID.open() {
        tracing::warn!(
            target: "honeyhive",
            "{count} entries of baggage were not sent: a header holds 180, and 8192 bytes"
        );
    }
}

/// What code that runs now belongs to: the current span, session, baggage and remote parent. It carries all of them to
/// where they do not follow by themselves: spawned tasks, threads, callbacks.
///
/// The span stays open as long as a context holds it, as with tracing's own `in_current_span`. So it is also a handle of
/// the current event, which can be enriched from elsewhere.
///
/// ```
/// use honeyhive::propagation::Context;
///
/// # fn compress() {}
/// # async fn example() {
/// let context = Context::current();
/// tokio::task::spawn_blocking(move || context.in_scope(compress));
///
/// std::thread::spawn(Context::current().wrap(compress));
/// # }
/// ```
///
/// Futures and streams have [`in_current_context`](ContextExt::in_current_context).
#[derive(Clone, Debug)]
pub struct Context {
    surroundings: Surroundings,
}

impl Context {
    /// The context of the code that runs now.
    #[must_use]
    pub fn current() -> Self {
        let floor = Frame {
            floor: true,
            ..Frame::default()
        };
        let frames = std::iter::once(floor).chain(context::snapshot());
        Self {
            surroundings: Surroundings {
                frames: frames.collect(),
                span: current_span(),
            },
        }
    }

    /// Runs a future or a stream in this context.
    pub fn scope<T>(&self, inner: T) -> InContext<T> {
        self.surroundings.scope(inner)
    }

    /// Runs a function in this context.
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.surroundings.in_scope(f)
    }

    /// Enters the context on this thread until the guard is dropped.
    pub fn enter(&self) -> ContextGuard {
        self.surroundings.enter()
    }

    pub(crate) fn span(&self) -> Option<&Span> {
        self.surroundings.span.as_ref()
    }

    /// A function that runs `f` in this context.
    pub fn wrap<R>(self, f: impl FnOnce() -> R) -> impl FnOnce() -> R {
        move || self.surroundings.in_scope(f)
    }
}

/// The current span, unless it is closed already: a program that holds a span entered across an await may have that.
fn current_span() -> Option<Span> {
    let is_gone = dispatcher::get_default(|dispatch| match dispatch.current_span().id() {
        Some(id) => bridge::is_gone(dispatch, id),
        None => true,
    });
    if is_gone {
        return None;
    }
    let current = catch_unwind(Span::current).ok()?;
    (!current.is_none()).then_some(current)
}

impl HoneyHive {
    /// Like [`propagation::extract`](extract), for this instance only: in its scope, other instances go on as they are.
    pub fn extract<E: Extractor + ?Sized>(&self, carrier: &E) -> RemoteContext {
        extract(carrier).limited_to(self.shared().id)
    }

    /// Like [`propagation::inject`](inject), with the ids, session and baggage of this instance.
    pub fn inject<I: Injector + ?Sized>(&self, carrier: &mut I) {
        write(&here(Some(self.shared().id)), carrier);
    }
}
