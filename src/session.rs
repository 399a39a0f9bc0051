//! Sessions: which events belong together. Scopes carry them through code that runs; the spans made there carry them
//! on.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::dispatcher;
use tracing::span::Id;

use crate::clock;
use crate::context::{self, Frame};
use crate::enrich::Enrichment;
use crate::event::directory::{self, SessionStart};
use crate::layer::{Shared, bridge, visit};
use crate::lifecycle::HoneyHive;
use crate::registry::{self, Instance, Live};
use crate::sync::contained;

pub use crate::id::SessionId;

/// A session: events of one conversation, request or run.
///
/// It is plain data, an id and a name: make one, and run code in its scope. Every span made there belongs to it, and so
/// do the children of these spans, on whatever thread or task. The worker announces the session to the platform before
/// its first events; nobody waits for that.
///
/// ```
/// use honeyhive::Session;
///
/// # #[tracing::instrument] async fn answer(question: &str) -> String { String::new() }
/// # async fn example() {
/// Session::start("support-chat").scope(answer("hi")).await;
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Session {
    id: SessionId,
    name: Option<Arc<str>>,
    /// The instance it is limited to; zero: every instance.
    instance: u64,
}

impl Session {
    /// A new session.
    pub fn start(name: impl Into<String>) -> Self {
        Self::builder(name).start()
    }

    /// Starts the description of a session that has more than a name.
    ///
    /// ```
    /// use honeyhive::Session;
    ///
    /// let session = Session::builder("support-chat")
    ///     .input("question", "Where is my parcel?")
    ///     .user_property("plan", "pro")
    ///     .start();
    /// ```
    pub fn builder(name: impl Into<String>) -> SessionBuilder {
        SessionBuilder {
            id: None,
            instance: 0,
            start: SessionStart {
                name: Some(name.into()),
                ..SessionStart::default()
            },
        }
    }

    /// The session that was started elsewhere under this id, by another service for instance.
    #[must_use]
    pub fn from_id(id: SessionId) -> Self {
        Self {
            id,
            name: None,
            instance: 0,
        }
    }

    /// The session that code running now belongs to; `None` outside every scope when no instance's layer is in the
    /// current subscriber.
    #[must_use]
    pub fn current() -> Option<Self> {
        let found = dispatcher::get_default(|dispatch| {
            let reached = bridge::reach(dispatch).into_iter().next()?;
            let id = reached.current_session(dispatch);
            Some((id, reached.recorder))
        });
        let frame = context::innermost_session();
        let (id, instance) = match (found, frame) {
            // The own session of an instance is none of the others'.
            (Some((id, recorder)), _) if id == recorder.shared.session => (id, recorder.shared.id),
            (Some((id, _)), Some((session, instance))) if id == session => (id, instance),
            (Some((id, _)), _) => (id, 0),
            (None, frame) => frame?,
        };
        let name = directory::get(id).and_then(|start| start.name.as_deref().map(Arc::from));
        Some(Self { id, name, instance })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Its name, where it is known.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Runs a future in this session: whatever it does while it is polled, and while it is dropped.
    ///
    /// ```
    /// # use honeyhive::Session;
    /// # async fn work() {}
    /// # async fn example() {
    /// let task = tokio::spawn(Session::start("nightly-batch").scope(work()));
    /// # }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> Scope<F> {
        Scope {
            future: Some(future),
            session: self.id,
            instance: self.instance,
        }
    }

    /// Runs a function in this session.
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        f()
    }

    /// Enters the session on this thread until the guard is dropped. For synchronous code: across an `.await` the guard
    /// would name the wrong code, use [`scope`](Self::scope) there.
    #[must_use = "the session is left when the guard is dropped"]
    pub fn enter(&self) -> SessionGuard {
        SessionGuard {
            _entered: enter(self.id, self.instance),
            _not_send: PhantomData,
        }
    }

    /// Adds data to the session itself: metadata, metrics, feedback, outputs, config, user properties. Inputs go into
    /// its metadata, as the platform takes no other.
    ///
    /// The update is sent after the session's announcement; nobody waits for it.
    ///
    /// ```
    /// # let session = honeyhive::Session::start("support-chat");
    /// session.enrich(|s| s.feedback("rating", 5).user_property("plan", "pro"));
    /// ```
    pub fn enrich<F>(&self, f: F)
    where
        F: FnOnce(&mut Enrichment) -> &mut Enrichment,
    {
        let exporters = self.listeners();
        // Formatting a value must not lead to formatting it again.
        if exporters.is_empty() || visit::is_formatting() {
            return;
        }
        let mut enrichment = Enrichment::new(Vec::new(), 1024 * 1024);
        let filled = contained(|| {
            f(&mut enrichment);
        });
        let (bytes, cut) = enrichment.into_parts();
        for exporter in &exporters {
            if filled.is_err() {
                exporter.count_cut(1);
                continue;
            }
            exporter.count_cut(u64::from(cut));
            exporter.update(self.id, &bytes);
        }
    }
}

impl Session {
    /// Ends the session: the platform is told when it ended, and how long it took where it was started in this process.
    ///
    /// This is optional, and ends nothing here: spans may still be made in it. The update is sent after the session's
    /// announcement; nobody waits for it.
    ///
    /// ```
    /// # async fn chat() {}
    /// # async fn example() {
    /// let session = honeyhive::Session::start("support-chat");
    /// session.scope(chat()).await;
    /// session.end();
    /// # }
    /// ```
    pub fn end(&self) {
        let end = clock::unix_nanos() / 1_000_000;
        let started = directory::get(self.id).map_or(0, |start| start.started);
        for exporter in self.listeners() {
            exporter.end_session(self.id, end, started);
        }
    }

    /// What is known of the session of a span.
    pub(crate) fn known(id: SessionId, shared: &Shared) -> Self {
        // The own session of an instance is none of the others'.
        let own = id == shared.session;
        let name = directory::get(id).and_then(|start| start.name.as_deref().map(Arc::from));
        Self {
            id,
            name,
            instance: if own { shared.id } else { 0 },
        }
    }

    /// The instances that hear of it: its own, else those of the current subscriber, else all.
    fn listeners(&self) -> Vec<Live> {
        let mut exporters = registry::all();
        if self.instance != 0 {
            exporters.retain(|exporter| exporter.id() == self.instance);
            return exporters;
        }
        let reached = dispatcher::get_default(bridge::reach);
        let near = reached.iter().map(|reached| &reached.recorder.shared);
        let near: Vec<u64> = near
            .filter(|shared| shared.is_enabled())
            .map(|shared| shared.id)
            .collect();
        if !near.is_empty() {
            exporters.retain(|exporter| near.contains(&exporter.id()));
        }
        exporters
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Describes a session before it starts.
#[derive(Debug)]
#[must_use = "call `start`"]
pub struct SessionBuilder {
    id: Option<SessionId>,
    instance: u64,
    start: SessionStart,
}

impl SessionBuilder {
    /// Its id, where one is given: a random one otherwise.
    pub fn id(mut self, id: SessionId) -> Self {
        self.id = Some(id);
        self
    }

    /// An input of the session. A value that cannot be serialized is left out.
    pub fn input(mut self, key: impl Into<String>, value: impl Serialize) -> Self {
        put(&mut self.start.inputs, key.into(), &value);
        self
    }

    /// Anything worth knowing of the session.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Serialize) -> Self {
        put(&mut self.start.metadata, key.into(), &value);
        self
    }

    /// A property of the user the session is with.
    pub fn user_property(mut self, key: impl Into<String>, value: impl Serialize) -> Self {
        put(&mut self.start.user_properties, key.into(), &value);
        self
    }

    /// The evaluation run the session belongs to: `run_id` in its metadata, and in that of all its events. It goes before
    /// [`Builder::run_id`](crate::Builder::run_id).
    ///
    /// ```
    /// use honeyhive::Session;
    ///
    /// let session = Session::builder("datapoint 7")
    ///     .run_id("run-1")
    ///     .dataset_id("EXT-questions")
    ///     .datapoint_id("EXT-7")
    ///     .start();
    /// ```
    pub fn run_id(self, id: impl Into<String>) -> Self {
        self.evaluates("run_id", id.into())
    }

    /// The dataset of that run: `dataset_id`, likewise.
    pub fn dataset_id(self, id: impl Into<String>) -> Self {
        self.evaluates("dataset_id", id.into())
    }

    /// The datapoint of that run: `datapoint_id`, likewise.
    pub fn datapoint_id(self, id: impl Into<String>) -> Self {
        self.evaluates("datapoint_id", id.into())
    }

    fn evaluates(mut self, name: &'static str, id: String) -> Self {
        self.start
            .metadata
            .insert(name.to_owned(), id.as_str().into());
        self.start.evaluation.retain(|(known, _)| *known != name);
        self.start.evaluation.push((name, id));
        self
    }

    /// Says that the session was started elsewhere, or is made by the platform from its events: it is not announced.
    pub fn skip_start(mut self) -> Self {
        self.start.skip = true;
        self
    }

    /// Starts the session.
    pub fn start(mut self) -> Session {
        self.start.started = clock::unix_nanos() / 1_000_000;
        let id = self.id.unwrap_or_else(SessionId::random);
        let name = self.start.name.as_deref().map(Arc::from);
        directory::insert(id, self.start);
        Session {
            id,
            name,
            instance: self.instance,
        }
    }
}

fn put<T: Serialize>(map: &mut Map<String, Value>, key: String, value: &T) {
    let value = contained(|| serde_json::to_value(value));
    if let Ok(Ok(value)) = value
        && !value.is_null()
    {
        map.insert(key, value);
    }
}

impl Instance {
    /// As [`HoneyHive::session`].
    pub fn session(&self, name: impl Into<String>) -> Session {
        self.session_builder(name).start()
    }

    /// As [`HoneyHive::session_builder`].
    pub fn session_builder(&self, name: impl Into<String>) -> SessionBuilder {
        SessionBuilder {
            instance: self.id(),
            ..Session::builder(name)
        }
    }
}

impl HoneyHive {
    /// A new session of this instance only, as [`Session::start`]: spans in its scope keep their own session in other
    /// instances.
    pub fn session(&self, name: impl Into<String>) -> Session {
        self.session_builder(name).start()
    }

    /// Like [`Session::builder`], for this instance only.
    pub fn session_builder(&self, name: impl Into<String>) -> SessionBuilder {
        SessionBuilder {
            instance: self.shared().id,
            ..Session::builder(name)
        }
    }

    /// The instance's own session.
    #[must_use]
    pub fn own_session(&self) -> Session {
        let name = self.config().session_name().map(Arc::from);
        Session {
            id: self.session_id(),
            name,
            instance: self.shared().id,
        }
    }
}

fn enter(session: SessionId, instance: u64) -> context::Entered {
    let base =
        dispatcher::get_default(|dispatch| dispatch.current_span().id().map_or(0, Id::into_u64));
    context::push(Frame {
        session: Some(session),
        instance,
        base,
        ..Frame::default()
    })
}

/// A session entered on this thread; dropping it leaves the session.
#[derive(Debug)]
pub struct SessionGuard {
    _entered: context::Entered,
    _not_send: PhantomData<*const ()>,
}

pin_project! {
    /// A future that runs in a session; made by [`Session::scope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scope<F> {
        #[pin]
        future: Option<F>,
        session: SessionId,
        instance: u64,
    }

    impl<F> PinnedDrop for Scope<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                let _entered = enter(*this.session, *this.instance);
                this.future.set(None);
            }
        }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _entered = enter(*this.session, *this.instance);
        match this.future.as_mut().as_pin_mut() {
            Some(future) => future.poll(cx),
            // Not reachable: the future is taken out only when the scope is dropped.
            None => Poll::Pending,
        }
    }
}

/// What HoneyHive adds to futures.
pub trait FutureExt: Future + Sized {
    /// Carries the current session into a future that will run elsewhere, such as a spawned task.
    ///
    /// ```
    /// use honeyhive::session::FutureExt as _;
    ///
    /// # async fn work() {}
    /// # async fn example() {
    /// tokio::spawn(work().in_current_session());
    /// # }
    /// ```
    fn in_current_session(self) -> InSession<Self> {
        let scope = match Session::current() {
            Some(session) => Either::Scope {
                scope: session.scope(self),
            },
            None => Either::Plain { future: self },
        };
        InSession { scope }
    }
}

impl<F: Future> FutureExt for F {}

pin_project! {
    /// Made by [`FutureExt::in_current_session`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct InSession<F> {
        #[pin]
        scope: Either<F>,
    }
}

pin_project! {
    #[project = EitherProjected]
    #[derive(Debug)]
    enum Either<F> {
        Scope { #[pin] scope: Scope<F> },
        Plain { #[pin] future: F },
    }
}

impl<F: Future> Future for InSession<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().scope.project() {
            EitherProjected::Scope { scope } => scope.poll(cx),
            EitherProjected::Plain { future } => future.poll(cx),
        }
    }
}
