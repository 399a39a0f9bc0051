//! Data that is added to open spans: the [`Enrichment`] a closure fills, and the ways to say which span is meant.

use std::fmt;

use serde::Serialize;
use tracing::Dispatch;
use tracing::dispatcher;
use tracing::span::Id;

use crate::event::EventType;
use crate::event::fields::{self, Entry, Formatted, Key, Value};
use crate::event::semconv::name;
use crate::event::value::{self, Outcome};
use crate::id::EventId;
use crate::layer::bridge::{self, Target};
use crate::layer::visit;
use crate::lifecycle::HoneyHive;
use crate::propagation::{Context, RemoteContext};
use crate::sync::contained;

/// Data for the event of a span, or for a session.
///
/// Keys are joined to the bucket's name with a dot; a value may be anything that is `Serialize`. A container is taken
/// apart into one attribute per leaf, `None` is left out, and of two writes of a key the later counts. A value whose
/// `Serialize` fails or panics leaves a marker, and is counted in [`HoneyHive::stats`].
///
/// ```
/// # struct Usage { total: u64 }
/// # let (answer, usage) = ("42", Usage { total: 97 });
/// honeyhive::enrich(|e| {
///     e.output(answer)
///         .metric("tokens", usage.total)
///         .metadata("cache", serde_json::json!({ "hit": true, "age_s": 3 }))
/// });
/// ```
pub struct Enrichment {
    bytes: Vec<u8>,
    limit: usize,
    cut: u32,
}

/// Entries of a bucket beyond this many stay together.
const TOGETHER: usize = 64;

impl Enrichment {
    pub(crate) fn new(bytes: Vec<u8>, limit: usize) -> Self {
        Self {
            bytes,
            limit,
            cut: 0,
        }
    }

    /// The entries, and how many values were cut or failed.
    pub(crate) fn into_parts(self) -> (Vec<u8>, u32) {
        (self.bytes, self.cut)
    }

    fn put<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> &mut Self {
        match visit::formatting(|| value::put(&mut self.bytes, key, value, self.limit)) {
            Outcome::Whole | Outcome::Absent => {}
            Outcome::Cut | Outcome::Failed => self.cut += 1,
        }
        self
    }

    fn put_in<T: Serialize + ?Sized>(
        &mut self,
        namespace: &str,
        key: &str,
        value: &T,
    ) -> &mut Self {
        self.put(&format!("{namespace}.{key}"), value)
    }

    /// A whole bucket. Its entries are written one by one, so that each takes the place of the one before; very many stay
    /// together, to be sent as one if they are too many for a span.
    fn put_all<T: Serialize + ?Sized>(&mut self, namespace: &str, value: &T) -> &mut Self {
        let start = self.bytes.len();
        self.put(namespace, value);
        let whole = self.bytes.get(start..).unwrap_or_default();
        let entries = match fields::Reader::new(whole).next() {
            Some(Entry::Field(_, Value::Json(text))) => serde_json::from_str(text).ok(),
            _ => None,
        };
        match entries {
            Some(serde_json::Value::Object(entries)) if entries.len() <= TOGETHER => {
                self.bytes.truncate(start);
                for (key, value) in entries {
                    self.put_in(namespace, &key, &value);
                }
            }
            _ => {}
        }
        self
    }

    /// An input, by name.
    pub fn input(&mut self, key: &str, value: impl Serialize) -> &mut Self {
        self.put_in(name::INPUTS, key, &value)
    }

    /// All inputs: the fields of a struct or the entries of a map.
    pub fn inputs(&mut self, value: impl Serialize) -> &mut Self {
        self.put_all(name::INPUTS, &value)
    }

    /// The result, as `outputs.result`.
    pub fn output(&mut self, value: impl Serialize) -> &mut Self {
        self.put_in(name::OUTPUTS, "result", &value)
    }

    /// All outputs: the fields of a struct or the entries of a map, such as `role` and `content` of a message.
    pub fn outputs(&mut self, value: impl Serialize) -> &mut Self {
        self.put_all(name::OUTPUTS, &value)
    }

    /// A setting the work was done with, such as `model` or `temperature`.
    pub fn config(&mut self, key: &str, value: impl Serialize) -> &mut Self {
        self.put_in(name::CONFIG, key, &value)
    }

    /// Settings: the fields of a struct or the entries of a map.
    pub fn config_all(&mut self, value: impl Serialize) -> &mut Self {
        self.put_all(name::CONFIG, &value)
    }

    /// Anything worth knowing.
    pub fn metadata(&mut self, key: &str, value: impl Serialize) -> &mut Self {
        self.put_in(name::METADATA, key, &value)
    }

    /// Metadata: the fields of a struct or the entries of a map.
    pub fn metadata_all(&mut self, value: impl Serialize) -> &mut Self {
        self.put_all(name::METADATA, &value)
    }

    /// A measurement or a score.
    pub fn metric(&mut self, key: &str, value: impl Serialize) -> &mut Self {
        self.put_in(name::METRICS, key, &value)
    }

    /// Metrics: the fields of a struct or the entries of a map.
    pub fn metrics(&mut self, value: impl Serialize) -> &mut Self {
        self.put_all(name::METRICS, &value)
    }

    /// What a person said of it, such as `rating` or `ground_truth`.
    pub fn feedback(&mut self, key: &str, value: impl Serialize) -> &mut Self {
        self.put_in(name::FEEDBACK, key, &value)
    }

    /// Feedback: the fields of a struct or the entries of a map.
    pub fn feedback_all(&mut self, value: impl Serialize) -> &mut Self {
        self.put_all(name::FEEDBACK, &value)
    }

    /// A property of the user it was done for.
    pub fn user_property(&mut self, key: &str, value: impl Serialize) -> &mut Self {
        self.put_in(name::USER_PROPERTIES, key, &value)
    }

    /// Properties of the user: the fields of a struct or the entries of a map.
    pub fn user_properties(&mut self, value: impl Serialize) -> &mut Self {
        self.put_all(name::USER_PROPERTIES, &value)
    }

    /// The error the work ended with: its message, and its type where that can be told.
    ///
    /// For an `anyhow::Error` or a boxed error pass a reference to what is inside: `e.error(&*error)`.
    pub fn error<E: std::error::Error + ?Sized>(&mut self, error: &E) -> &mut Self {
        let kind = bare_name(std::any::type_name::<E>());
        visit::formatting(|| {
            if fields::put_error(
                &mut self.bytes,
                Key::Name(name::ERROR),
                "",
                &error,
                self.limit,
            ) != Formatted::Whole
            {
                self.cut += 1;
            }
        });
        if let Some(kind) = kind {
            fields::put(
                &mut self.bytes,
                Key::Name(name::ERROR_TYPE),
                Value::Str(kind),
                self.limit,
            );
        }
        self
    }

    /// An error of which there is only a message.
    pub fn error_message(&mut self, message: impl fmt::Display) -> &mut Self {
        visit::formatting(|| {
            if fields::put_error(
                &mut self.bytes,
                Key::Name(name::ERROR),
                "",
                &message,
                self.limit,
            ) != Formatted::Whole
            {
                self.cut += 1;
            }
        });
        self
    }

    /// How long the work took, where that is not how long the span was open; kept in milliseconds.
    pub fn duration(&mut self, duration: std::time::Duration) -> &mut Self {
        let milliseconds = Value::F64(duration.as_secs_f64() * 1e3);
        let key = Key::Name(name::DURATION_MS);
        fields::put(&mut self.bytes, key, milliseconds, self.limit);
        self
    }

    /// What the event is called; the name of its span if never set.
    pub fn event_name(&mut self, name: &str) -> &mut Self {
        fields::put(
            &mut self.bytes,
            Key::Name(name::EVENT_NAME),
            Value::Str(name),
            self.limit,
        );
        self
    }

    /// What the event is.
    pub fn event_type(&mut self, event_type: EventType) -> &mut Self {
        let value = Value::Str(event_type.as_str());
        fields::put(
            &mut self.bytes,
            Key::Name(name::EVENT_TYPE),
            value,
            self.limit,
        );
        self
    }
}

impl fmt::Debug for Enrichment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrichment")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// The last segment of a type's path; nothing for a trait object.
fn bare_name(path: &'static str) -> Option<&'static str> {
    if path.starts_with("dyn ") {
        return None;
    }
    let path = path.split('<').next().unwrap_or(path);
    Some(path.rsplit("::").next().unwrap_or(path))
}

/// Adds data to the event of the current span, in every instance whose layer is in the current subscriber.
///
/// If the current span is not recorded (a filter left it out, say), its nearest recorded ancestor is meant. Where there
/// is none, or tracing is disabled or shut down, nothing happens and the closure is not called.
///
/// ```
/// #[tracing::instrument(fields(honeyhive.event_type = "model"))]
/// fn ask(question: &str) -> String {
///     let answer = format!("{question} is a good question");
///     honeyhive::enrich(|e| e.output(&answer).metric("words", answer.split(' ').count()));
///     answer
/// }
/// # ask("why");
/// ```
pub fn enrich<F>(f: F)
where
    F: FnOnce(&mut Enrichment) -> &mut Enrichment,
{
    apply(&current_targets(), f);
}

fn current_targets() -> Vec<Target> {
    let (targets, hidden) = dispatcher::get_default(|dispatch| {
        let current = dispatch.current_span();
        current.id().map_or_else(
            || (Vec::new(), false),
            |id| targets_in(dispatch, id.into_u64()),
        )
    });
    if hidden {
        bridge::notice_hidden();
    }
    targets
}

/// The spans meant by `id`; where there are none, whether that is because our layer is hidden.
fn targets_in(dispatch: &Dispatch, id: u64) -> (Vec<Target>, bool) {
    // Formatting a value must not lead to formatting it again.
    if visit::is_formatting() {
        return (Vec::new(), false);
    }
    let targets = bridge::targets(dispatch, id);
    let hidden = targets.is_empty() && bridge::is_hidden(dispatch);
    (targets, hidden)
}

fn apply<F>(targets: &[Target], f: F)
where
    F: FnOnce(&mut Enrichment) -> &mut Enrichment,
{
    let Some(first) = targets.first() else { return };
    let limit = targets
        .iter()
        .map(|target| target.recorder.attribute_limit())
        .max()
        .unwrap_or(0);
    visit::with_scratch(|scratch| {
        let mut enrichment = Enrichment::new(std::mem::take(scratch), limit);
        // The closure is the user's: what it panics with is not worth the work it was to describe.
        let filled = contained(|| {
            f(&mut enrichment);
        });
        let (bytes, cut) = enrichment.into_parts();
        if filled.is_ok() {
            for target in targets {
                target.recorder.append(target.id, &bytes, cut);
            }
        } else {
            first.recorder.shared.exporter.count_cut(1);
        }
        *scratch = bytes;
    });
}

impl HoneyHive {
    /// Like [`enrich`](crate::enrich), in this instance only.
    pub fn enrich<F>(&self, f: F)
    where
        F: FnOnce(&mut Enrichment) -> &mut Enrichment,
    {
        let mut targets = current_targets();
        targets.retain(|target| target.recorder.shared.id == self.id());
        apply(&targets, f);
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for tracing::Span {}
}

/// What HoneyHive adds to [`tracing::Span`].
pub trait SpanExt: sealed::Sealed {
    /// Adds data to the event of this span, wherever the span was made and whether or not it is entered.
    ///
    /// ```
    /// use honeyhive::SpanExt as _;
    ///
    /// let span = tracing::info_span!("search");
    /// span.enrich(|e| e.input("query", "flush").metadata("index", "docs"));
    /// ```
    fn enrich<F>(&self, f: F) -> &Self
    where
        F: FnOnce(&mut Enrichment) -> &mut Enrichment;

    /// The id of the event this span becomes, which is sent along from now on, so that feedback can name it later.
    /// `None` when the span is not recorded.
    fn event_id(&self) -> Option<EventId>;

    /// Makes this span a child of a span of another service, in its session and with its baggage, as far as the context
    /// says so.
    ///
    /// For a span that exists before the headers can be read; where it can be made in
    /// [`RemoteContext::scope`](crate::propagation::RemoteContext::scope), that is better. What is made below the span
    /// afterwards follows it. What was made before keeps the trace and session it has, and an
    /// [`event_id`](Self::event_id) that was asked for before names another event: this is warned about once.
    ///
    /// ```
    /// use honeyhive::{SpanExt as _, propagation};
    ///
    /// # fn read_headers() -> http::HeaderMap { http::HeaderMap::new() }
    /// let span = tracing::info_span!("request");
    /// span.set_remote_parent(&propagation::extract(&read_headers()));
    /// ```
    fn set_remote_parent(&self, remote: &RemoteContext) -> &Self;
}

fn targets_of(span: &tracing::Span) -> Vec<Target> {
    let (targets, hidden) = span
        .with_subscriber(|(id, dispatch): (&Id, _)| targets_in(dispatch, id.into_u64()))
        .unwrap_or_default();
    if hidden {
        bridge::notice_hidden();
    }
    targets
}

impl SpanExt for tracing::Span {
    fn enrich<F>(&self, f: F) -> &Self
    where
        F: FnOnce(&mut Enrichment) -> &mut Enrichment,
    {
        apply(&targets_of(self), f);
        self
    }

    fn event_id(&self) -> Option<EventId> {
        let (trace_id, span_id) = targets_of(self)
            .into_iter()
            .find_map(|target| target.recorder.event_ids(target.id))?;
        Some(EventId::of_span(trace_id, span_id))
    }

    fn set_remote_parent(&self, remote: &RemoteContext) -> &Self {
        let Some(id) = self.id().map(|id| id.into_u64()) else {
            return self;
        };
        for target in targets_of(self) {
            let instance = target.recorder.shared.id;
            let meant = remote.instance() == 0 || remote.instance() == instance;
            // Not an ancestor: that one is not what was asked for.
            if meant && target.id == id {
                let carried = remote.carried();
                target
                    .recorder
                    .adopt(id, remote.parent(), remote.session_id(), carried.as_ref());
            }
        }
        self
    }
}

impl Context {
    /// Adds data to the event of the span this context holds, from wherever the context is.
    ///
    /// ```
    /// use honeyhive::propagation::Context;
    ///
    /// let event = Context::current();
    /// std::thread::spawn(move || {
    ///     event.enrich(|e| e.feedback("rating", 5));
    /// });
    /// ```
    pub fn enrich<F>(&self, f: F) -> &Self
    where
        F: FnOnce(&mut Enrichment) -> &mut Enrichment,
    {
        if let Some(span) = self.span() {
            SpanExt::enrich(span, f);
        }
        self
    }

    /// The id of the event of the span this context holds, as [`SpanExt::event_id`].
    #[must_use]
    pub fn event_id(&self) -> Option<EventId> {
        self.span().and_then(SpanExt::event_id)
    }
}
