//! Events beside the spans: those that are made without one, those that are changed when they are over, and handles of
//! the one that is running.
//!
//! All of it is queued and sent by the export thread; nobody waits for an answer. What was sent and what was lost is
//! counted in [`Stats::updates_sent`](crate::report::Stats::updates_sent) and
//! [`updates_lost`](crate::report::Stats::updates_lost).
//!
//! ```
//! use honeyhive::{EventType, HoneyHive, events::NewEvent};
//! use std::time::Duration;
//!
//! let honeyhive = HoneyHive::builder().test_mode(true).build()?;
//! // What was measured elsewhere becomes an event of the current session.
//! let id = honeyhive.create_event(
//!     NewEvent::new("rerank")
//!         .event_type(EventType::Tool)
//!         .input("query", "Where is my parcel?")
//!         .output(["a", "b"])
//!         .duration(Duration::from_millis(120)),
//! );
//! // Feedback comes later, and knows the id.
//! honeyhive.enrich_event(id, |e| e.feedback("rating", 5));
//! # Ok::<(), honeyhive::Error>(())
//! ```

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::dispatcher;
use tracing::span::Id;

use crate::context;
use crate::enrich::Enrichment;
use crate::event::EventType;
use crate::id::{EventId, SessionId};
use crate::layer::{bridge, visit};
use crate::lifecycle::HoneyHive;
use crate::registry::{self, Instance};
use crate::session::Session;
use crate::sync::contained;

/// Values of events that are no spans are cut at this.
const LIMIT: usize = 10 << 20;

/// An event that is made without a span: something that was measured elsewhere, or is known only when it is over.
///
/// It belongs to the session that is current when it is created, below the event that is current then, unless it says
/// otherwise. [`HoneyHive::create_event`] and [`Instance::create_event`] send it.
#[must_use = "an event is sent by `create_event`"]
pub struct NewEvent {
    name: String,
    data: Enrichment,
    session: Option<SessionId>,
    parent: Option<EventId>,
    start: Option<SystemTime>,
    end: Option<SystemTime>,
    duration: Option<Duration>,
}

macro_rules! delegated {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, $($argument: $type),*) -> Self {
                self.data.$name($($argument),*);
                self
            }
        )*
    };
}

impl NewEvent {
    /// An event of this name, of the type [`Builder::default_event_type`](crate::Builder::default_event_type).
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            data: Enrichment::new(Vec::new(), LIMIT),
            session: None,
            parent: None,
            start: None,
            end: None,
            duration: None,
        }
    }

    delegated! {
        /// What the event is.
        event_type(event_type: EventType);
        /// An input, by name.
        input(key: &str, value: impl Serialize);
        /// All inputs: the fields of a struct or the entries of a map.
        inputs(value: impl Serialize);
        /// The result, as `outputs.result`.
        output(value: impl Serialize);
        /// All outputs: the fields of a struct or the entries of a map.
        outputs(value: impl Serialize);
        /// A setting the work was done with.
        config(key: &str, value: impl Serialize);
        /// Settings: the fields of a struct or the entries of a map.
        config_all(value: impl Serialize);
        /// Anything worth knowing.
        metadata(key: &str, value: impl Serialize);
        /// Metadata: the fields of a struct or the entries of a map.
        metadata_all(value: impl Serialize);
        /// A measurement or a score.
        metric(key: &str, value: impl Serialize);
        /// Metrics: the fields of a struct or the entries of a map.
        metrics(value: impl Serialize);
        /// What a person said of it.
        feedback(key: &str, value: impl Serialize);
        /// Feedback: the fields of a struct or the entries of a map.
        feedback_all(value: impl Serialize);
        /// A property of the user it was done for.
        user_property(key: &str, value: impl Serialize);
        /// Properties of the user: the fields of a struct or the entries of a map.
        user_properties(value: impl Serialize);
        /// An error of which there is only a message.
        error_message(message: impl fmt::Display);
    }

    /// The error the work ended with: its message, and its type where that can be told.
    pub fn error<E: std::error::Error + ?Sized>(mut self, error: &E) -> Self {
        self.data.error(error);
        self
    }

    /// How long it took; otherwise the time from start to end, or none.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// When it began; otherwise `duration` before the end.
    pub fn start(mut self, at: SystemTime) -> Self {
        self.start = Some(at);
        self
    }

    /// When it ended; otherwise `duration` after the start, or now.
    pub fn end(mut self, at: SystemTime) -> Self {
        self.end = Some(at);
        self
    }

    /// The event it is a part of; otherwise the current one.
    pub fn parent(mut self, parent: EventId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// The session it belongs to; otherwise the current one.
    pub fn session(mut self, session: &Session) -> Self {
        self.session = Some(session.id());
        self
    }

    /// When it began and ended, in milliseconds since 1970, and what it took.
    fn times(&self) -> (u64, u64, f64) {
        let now = SystemTime::now();
        let duration = self.duration.unwrap_or_default();
        let end = self.end.unwrap_or_else(|| match self.start {
            Some(start) if self.duration.is_some() => start.checked_add(duration).unwrap_or(now),
            _ => now,
        });
        let start = self
            .start
            .unwrap_or_else(|| end.checked_sub(duration).unwrap_or(end));
        let took = self
            .duration
            .unwrap_or_else(|| end.duration_since(start).unwrap_or_default());
        (
            unix_millis(start),
            unix_millis(end),
            took.as_secs_f64() * 1e3,
        )
    }
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("name", &self.name)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

pub(crate) fn unix_millis(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The event that code is part of: that of the current span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentEvent {
    id: EventId,
    session: Session,
    trace_id: u128,
    span_id: u64,
}

impl CurrentEvent {
    /// Its id, which is sent along with it from now on, so that feedback can name it later: see
    /// [`HoneyHive::enrich_event`].
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The session it belongs to.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The id of its trace, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The id of its span, 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }
}

/// The event that code running now is part of; `None` outside every recorded span. Where several instances record, that
/// of [`Instance::current`] is meant.
///
/// ```
/// #[tracing::instrument]
/// fn answer(question: &str) -> (String, Option<String>) {
///     // Goes to the browser with the answer, and comes back with the user's verdict.
///     let id = honeyhive::current_event().map(|event| event.id().to_string());
///     ("It depends.".to_owned(), id)
/// }
/// # answer("why");
/// ```
#[must_use]
pub fn current_event() -> Option<CurrentEvent> {
    let preferred = Instance::current().map(|instance| instance.id());
    current_in(preferred).or_else(|| current_in(None))
}

/// The current event of an instance, or of any.
fn current_in(instance: Option<u64>) -> Option<CurrentEvent> {
    let targets = dispatcher::get_default(|dispatch| {
        let id = dispatch.current_span().id().map(Id::into_u64);
        id.map(|id| bridge::targets(dispatch, id))
    });
    let target = targets?.into_iter().find(|target| {
        let id = target.recorder.shared.id;
        instance.is_none_or(|instance| instance == id)
    })?;
    let lineage = target.recorder.table.lineage(target.id)?;
    let (trace_id, span_id) = target.recorder.event_ids(target.id)?;
    Some(CurrentEvent {
        id: EventId::of_span(trace_id, span_id),
        session: Session::known(lineage.session, &target.recorder.shared),
        trace_id,
        span_id,
    })
}

/// The session that code running now belongs to in an instance.
fn session_in(instance: u64, own: SessionId) -> SessionId {
    let found = dispatcher::get_default(|dispatch| {
        let reached = bridge::reach(dispatch);
        let of_instance = reached
            .iter()
            .find(|reached| reached.recorder.shared.id == instance);
        of_instance.map(|reached| reached.current_session(dispatch))
    });
    found
        .or_else(|| Some(context::applied(instance)?.session?.0))
        .unwrap_or(own)
}

impl Instance {
    /// The instance that code running now belongs to: that of the session's scope, else one of the current subscriber
    /// (the default one, if it is there), else the default.
    #[must_use]
    pub fn current() -> Option<Self> {
        if let Some(instance) = context::instance().and_then(registry::find) {
            return Some(instance);
        }
        let reached: Vec<u64> = dispatcher::get_default(|dispatch| {
            let reached = bridge::reach(dispatch);
            reached.iter().map(|it| it.recorder.shared.id).collect()
        });
        let default = registry::default_instance();
        if let Some(default) = &default
            && (reached.is_empty() || reached.contains(&default.id()))
        {
            return Some(default.clone());
        }
        reached.into_iter().find_map(registry::find).or(default)
    }

    /// As [`HoneyHive::create_event`]; `None` once the instance is gone.
    pub fn create_event(&self, event: NewEvent) -> Option<EventId> {
        self.exporter()?;
        let id = EventId::random();
        let Some(exporter) = self.enabled_exporter() else {
            return Some(id);
        };
        let own = exporter.session();
        let session = event.session.unwrap_or_else(|| session_in(self.id(), own));
        let parent = event
            .parent
            .or_else(|| Some(current_in(Some(self.id()))?.id));
        let (start, end, duration) = event.times();
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
        put("event_id", id.to_string().into());
        put("session_id", session.to_string().into());
        if let Some(parent) = parent {
            put("parent_id", parent.to_string().into());
        }
        put("event_name", event.name.as_str().into());
        put("start_time", start.into());
        put("end_time", end.into());
        put("duration", duration.into());
        let (entries, cut) = event.data.into_parts();
        exporter.count_cut(u64::from(cut));
        exporter.create_event(session, body, &entries);
        Some(id)
    }

    /// As [`HoneyHive::enrich_event`]; does nothing once the instance is gone.
    pub fn enrich_event<F>(&self, id: EventId, f: F)
    where
        F: FnOnce(&mut Enrichment) -> &mut Enrichment,
    {
        // Formatting a value must not lead to formatting it again.
        let Some(exporter) = self.enabled_exporter().filter(|_| !visit::is_formatting()) else {
            return;
        };
        let mut enrichment = Enrichment::new(Vec::new(), LIMIT);
        let filled = contained(|| {
            f(&mut enrichment);
        });
        let (entries, cut) = enrichment.into_parts();
        if filled.is_err() {
            exporter.count_cut(1);
            return;
        }
        exporter.count_cut(u64::from(cut));
        exporter.update_event(id, &entries);
    }

    /// As [`HoneyHive::current_event`].
    #[must_use]
    pub fn current_event(&self) -> Option<CurrentEvent> {
        current_in(Some(self.id()))
    }
}

impl HoneyHive {
    /// A span whose name is known at run time only: the event, and the exported span, are called `name`.
    ///
    /// It is an ordinary span of level INFO and target `honeyhive::span` in the current subscriber, where every layer
    /// sees it, with `name` in its field `otel.name` (the callsites of `tracing` have fixed names). Give it its type and
    /// its data with [`SpanExt`](crate::SpanExt).
    ///
    /// ```
    /// use honeyhive::{EventType, HoneyHive, SpanExt as _};
    ///
    /// # let honeyhive = HoneyHive::builder().test_mode(true).build()?;
    /// for step in ["plan", "search", "answer"] {
    ///     let span = honeyhive.span(step);
    ///     span.enrich(|e| e.event_type(EventType::Chain));
    ///     span.in_scope(|| { /* the step */ });
    /// }
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    pub fn span(&self, name: &str) -> tracing::Span {
        tracing::info_span!(target: "honeyhive::span", "span", otel.name = name)
    }

    /// Sends an event that is no span, after the announcement of its session, and returns its id at once.
    ///
    /// It belongs to the current session and is a part of the current event, unless it says otherwise. Where tracing is
    /// disabled or shut down nothing is sent.
    pub fn create_event(&self, event: NewEvent) -> EventId {
        let created = self.instance().create_event(event);
        created.unwrap_or_else(EventId::random)
    }

    /// Adds data to an event that is over, or lies elsewhere: feedback that came later, a score from another process.
    ///
    /// The update is sent after the spans that have closed by now; for a span that is still open use
    /// [`SpanExt::enrich`](crate::SpanExt::enrich). The platform takes no inputs and no error in updates: they go into
    /// the metadata, as `metadata.inputs` and `metadata.error`, and so do name and type.
    ///
    /// ```
    /// # fn feedback(honeyhive: &honeyhive::HoneyHive, text: &str) -> Result<(), honeyhive::Error> {
    /// let id = honeyhive::EventId::parse(text)?;
    /// honeyhive.enrich_event(id, |e| e.feedback("helpful", true));
    /// # Ok(())
    /// # }
    /// ```
    pub fn enrich_event<F>(&self, id: EventId, f: F)
    where
        F: FnOnce(&mut Enrichment) -> &mut Enrichment,
    {
        self.instance().enrich_event(id, f);
    }

    /// Like [`current_event`](crate::current_event), of this instance.
    #[must_use]
    pub fn current_event(&self) -> Option<CurrentEvent> {
        current_in(Some(self.id()))
    }
}
