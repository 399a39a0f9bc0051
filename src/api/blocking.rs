//! The client for code that is not async: the same calls, waited for where they are made.
//!
//! ```no_run
//! use honeyhive::api::{EventQuery, blocking::Client};
//!
//! let client = Client::from_env()?;
//! for event in client.events().search(EventQuery::new()) {
//!     println!("{:?}", event?.event_name);
//! }
//! # Ok::<(), honeyhive::Error>(())
//! ```
//!
//! A thread of its own drives the connections. Calls block the thread that makes them; made inside async code they hold
//! up its runtime, and nothing worse.

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::subscriber::NoSubscriber;

use super::{
    BatchReport, Chart, ChartUpdate, CompareQuery, ComparedEvents, Configuration,
    ConfigurationQuery, ConfigurationUpdate, CreatedKey, Datapoint, DatapointQuery,
    DatapointUpdate, DatapointsFromEvents, Dataset, DatasetQuery, DatasetUpdate, DateRange, Event,
    EventQuery, EventUpdate, Filter, ImportReport, Mapping, Metric, MetricEvent, MetricOutcome,
    MetricQuery, MetricUpdate, MetricVersion, NewApiKey, NewChart, NewConfiguration, NewDatapoint,
    NewDataset, NewEvent, NewIngestionKey, NewMetric, NewQueue, NewRun, NewSession, Page, Queue,
    QueueUpdate, ResultQuery, Rows, Run, RunComparison, RunMetrics, RunPage, RunQuery, RunSummary,
    RunUpdate, Schema, SessionProperties, StartedSession, UpdatedRun,
};
use crate::error::Error;
use crate::lifecycle::HoneyHive;

/// The thread that drives the connections. It ends with the last client.
struct Driver {
    handle: Handle,
    /// Dropped at the end; never sent.
    _stop: oneshot::Sender<()>,
}

impl Driver {
    fn start() -> Result<Arc<Self>, Error> {
        let failed = |error: std::io::Error| {
            Error::io(format!(
                "the thread of the blocking client cannot be started: {error}"
            ))
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, handle) = std::sync::mpsc::channel();
        let run = move || {
            // What the connections log is nothing that the program did.
            tracing::subscriber::with_default(NoSubscriber::default(), || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                match runtime {
                    Ok(runtime) => {
                        let _ = ready.send(Ok(runtime.handle().clone()));
                        let _ = runtime.block_on(stopped);
                        runtime.shutdown_background();
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        };
        std::thread::Builder::new()
            .name("honeyhive-api".to_owned())
            .spawn(run)
            .map_err(failed)?;
        let gone = |_| std::io::Error::other("it ended");
        let handle = handle.recv().map_err(gone).flatten().map_err(failed)?;
        Ok(Arc::new(Self {
            handle,
            _stop: stop,
        }))
    }

    /// Polls the future here, while timers and sockets are looked after there. Unlike `block_on` it may be called inside
    /// a runtime.
    fn run<F: Future>(&self, future: F) -> F::Output {
        let _inside = self.handle.enter();
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// [`api::Client`](super::Client) for code that is not async. It is cheap to clone.
#[derive(Clone)]
pub struct Client {
    client: super::Client,
    driver: Arc<Driver>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

impl Client {
    /// A blocking client with the settings and the cache of an async one.
    ///
    /// # Errors
    ///
    /// Its thread could not be started ([`Error::is_io`]).
    pub fn new(client: &super::Client) -> Result<Self, Error> {
        Ok(Self {
            // Connections belong to the runtime that made them.
            client: client.apart(),
            driver: Driver::start()?,
        })
    }

    /// A blocking client with the settings and the cache of an instance.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of(honeyhive: &HoneyHive) -> Result<Self, Error> {
        Self::new(&honeyhive.api())
    }

    /// A blocking client configured by the environment alone.
    ///
    /// # Errors
    ///
    /// A setting is malformed ([`Error::is_config`]), or as [`new`](Self::new).
    pub fn from_env() -> Result<Self, Error> {
        Self::new(&super::Client::from_env()?)
    }

    /// The same client, of which an attempt may take this long, exports included.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            client: self.client.with_timeout(timeout),
            driver: Arc::clone(&self.driver),
        }
    }

    /// The same client, which repeats calls so often.
    #[must_use]
    pub fn with_max_retries(&self, count: u32) -> Self {
        Self {
            client: self.client.with_max_retries(count),
            driver: Arc::clone(&self.driver),
        }
    }

    /// What `get_cached` methods have read.
    #[must_use]
    pub fn cache(&self) -> super::Cache<'_> {
        self.client.cache()
    }

    /// Waits for a call of the async client, whatever it is.
    ///
    /// ```no_run
    /// # let client = honeyhive::api::blocking::Client::from_env()?;
    /// let run = client.wait(|client| async move { client.runs().get("some-id").await })?;
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    pub fn wait<F: Future>(&self, call: impl FnOnce(super::Client) -> F) -> F::Output {
        let client = self.client.clone();
        self.driver.run(async move { call(client).await })
    }
}

/// [`api::Pages`](super::Pages) as an iterator.
#[must_use = "pages are fetched when they are asked for"]
pub struct Pages<T> {
    pages: super::Pages<T>,
    driver: Arc<Driver>,
}

impl<T> Pages<T> {
    /// How many there are, as far as the server said with the page fetched last.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.pages.total()
    }

    /// The next page, or `None` after the last one.
    ///
    /// # Errors
    ///
    /// The call failed. The next call tries the same page again.
    pub fn next_page(&mut self) -> Result<Option<Page<T>>, Error> {
        self.driver.run(self.pages.next_page())
    }

    /// All that is left, in one list.
    ///
    /// # Errors
    ///
    /// A page could not be fetched.
    pub fn all(self) -> Result<Vec<T>, Error> {
        self.driver.run(self.pages.all())
    }
}

impl<T> Iterator for Pages<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.driver.run(self.pages.next())
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pages.fmt(f)
    }
}

/// The twins of the resources: `calls` are waited for, `pages` are iterated over.
macro_rules! twins {
    ($(
        $accessor:ident $name:ident
        calls { $( $call:ident ( $( $argument:ident : $kind:ty ),* ) -> $output:ty; )* }
        pages { $( $list:ident ( $( $given:ident : $sort:ty ),* ) -> $item:ty; )* }
    )*) => {$(
        #[doc = concat!("[`api::", stringify!($name), "`](super::", stringify!($name), "), waited for.")]
        #[derive(Clone)]
        pub struct $name {
            inner: super::$name,
            driver: Arc<Driver>,
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.inner.fmt(f)
            }
        }

        impl Client {
            #[doc = concat!("As [`api::Client::", stringify!($accessor), "`](super::Client::", stringify!($accessor), ").")]
            #[must_use]
            pub fn $accessor(&self) -> $name {
                $name {
                    inner: self.client.$accessor(),
                    driver: Arc::clone(&self.driver),
                }
            }
        }

        impl $name {
            $(
                #[doc = concat!(
                    "As [`api::", stringify!($name), "::", stringify!($call), "`](super::", stringify!($name), "::",
                    stringify!($call), ")."
                )]
                ///
                /// # Errors
                ///
                /// As there.
                pub fn $call(&self $(, $argument: $kind)*) -> Result<$output, Error> {
                    self.driver.run(self.inner.$call($($argument),*))
                }
            )*
            $(
                #[doc = concat!(
                    "As [`api::", stringify!($name), "::", stringify!($list), "`](super::", stringify!($name), "::",
                    stringify!($list), ")."
                )]
                pub fn $list(&self $(, $given: $sort)*) -> Pages<$item> {
                    Pages {
                        pages: self.inner.$list($($given),*),
                        driver: Arc::clone(&self.driver),
                    }
                }
            )*
        }
    )*};
}

twins! {
    sessions Sessions
    calls {
        start(session: NewSession) -> StartedSession;
        add_events(session_id: &str, events: Vec<NewEvent>) -> BatchReport;
        get(session_id: &str) -> Event;
        update(session_id: &str, update: EventUpdate) -> ();
    }
    pages {
        list(query: EventQuery) -> Event;
        events(session_id: &str, query: EventQuery) -> Event;
    }

    events Events
    calls {
        create(event: NewEvent) -> String;
        create_batch(events: Vec<NewEvent>) -> BatchReport;
        create_session_batch(session: SessionProperties, events: Vec<NewEvent>) -> BatchReport;
        get(event_id: &str) -> Event;
        update(event_id: &str, update: EventUpdate) -> ();
        delete(event_id: &str) -> ();
    }
    pages {
        search(query: EventQuery) -> Event;
        export(query: EventQuery) -> Event;
    }

    datapoints Datapoints
    calls {
        list(query: DatapointQuery) -> Vec<Datapoint>;
        create(datapoint: NewDatapoint) -> String;
        create_from_events(from: DatapointsFromEvents) -> Vec<String>;
        get(datapoint_id: &str) -> Datapoint;
        update(datapoint_id: &str, update: DatapointUpdate) -> bool;
        delete(datapoint_id: &str) -> bool;
    }
    pages {}

    datasets Datasets
    calls {
        list(query: DatasetQuery) -> Vec<Dataset>;
        get(dataset_id: &str) -> Dataset;
        get_cached(dataset_id: &str) -> Arc<Dataset>;
        create(dataset: NewDataset) -> String;
        update(dataset_id: &str, update: DatasetUpdate) -> Dataset;
        delete(dataset_id: &str) -> ();
        add_datapoints(dataset_id: &str, rows: Vec<Map<String, Value>>, mapping: Mapping) -> Vec<String>;
        remove_datapoint(dataset_id: &str, datapoint_id: &str) -> ();
        export_jsonl(dataset_id: &str, to: &mut impl Write) -> usize;
    }
    pages {}

    metrics Metrics
    calls {
        list(query: MetricQuery) -> Vec<Metric>;
        get(metric_id: &str) -> Metric;
        get_cached(metric_id: &str) -> Arc<Metric>;
        create(metric: NewMetric) -> String;
        update(metric_id: &str, update: MetricUpdate) -> bool;
        delete(metric_id: &str) -> bool;
        versions(metric_id: &str) -> Vec<MetricVersion>;
        create_version(metric_id: &str, message: &str, content: NewMetric, deploy: bool) -> MetricVersion;
        deploy_version(metric_id: &str, version: &str) -> MetricVersion;
        run(metric: NewMetric, event: MetricEvent) -> MetricOutcome;
    }
    pages {}

    configurations Configurations
    calls {
        list(query: ConfigurationQuery) -> Vec<Configuration>;
        get(name: &str, env: Option<&str>) -> Option<Configuration>;
        get_cached(name: &str, env: Option<&str>) -> Option<Arc<Configuration>>;
        create(configuration: NewConfiguration) -> String;
        update(id: &str, update: ConfigurationUpdate) -> bool;
        delete(id: &str) -> bool;
    }
    pages {}

    runs Runs
    calls {
        create(run: NewRun) -> Run;
        list_page(query: RunQuery) -> RunPage;
        get(run_id: &str) -> Run;
        update(run_id: &str, update: RunUpdate) -> UpdatedRun;
        delete(run_id: &str) -> bool;
        summary(run_id: &str, query: ResultQuery) -> RunSummary;
        metrics(run_id: &str, filters: Vec<Filter>, range: Option<&DateRange>) -> RunMetrics;
        compare(new_run_id: &str, old_run_id: &str, query: ResultQuery) -> RunComparison;
        schema(range: Option<&DateRange>) -> Schema;
        schema_of(run_id: &str, range: Option<&DateRange>) -> Schema;
    }
    pages {
        list(query: RunQuery) -> Run;
        compare_events(new_run_id: &str, old_run_id: &str, query: CompareQuery) -> ComparedEvents;
    }

    charts Charts
    calls {
        list() -> Vec<Chart>;
        create(chart: NewChart) -> Chart;
        get(chart_id: &str) -> Chart;
        update(chart_id: &str, update: ChartUpdate) -> Chart;
        delete(chart_id: &str) -> ();
    }
    pages {}

    queues Queues
    calls {
        list(enabled: Option<bool>) -> Vec<Queue>;
        create(queue: NewQueue) -> Queue;
        get(queue_id: &str) -> Queue;
        update(queue_id: &str, update: QueueUpdate) -> Queue;
        delete(queue_id: &str) -> ();
    }
    pages {}

    api_keys ApiKeys
    calls {
        create(project_id: &str, key: NewApiKey) -> CreatedKey;
        create_ingestion(project_id: &str, key: NewIngestionKey) -> CreatedKey;
    }
    pages {}

    legacy Legacy
    calls {
        start_session(session: NewSession) -> StartedSession;
        create_event(event: NewEvent) -> String;
        update_event(event_id: &str, update: EventUpdate) -> ();
        create_event_batch(events: Vec<NewEvent>, session: Option<SessionProperties>) -> BatchReport;
        update_dataset(dataset_id: &str, update: DatasetUpdate) -> Dataset;
        delete_dataset(dataset_id: &str) -> ();
        remove_datapoint(dataset_id: &str, datapoint_id: &str) -> ();
        update_metric(metric_id: &str, update: MetricUpdate) -> bool;
        delete_metric(metric_id: &str) -> bool;
        schema(range: Option<&DateRange>, evaluation_id: Option<&str>) -> Schema;
        run_result(run_id: &str, query: ResultQuery) -> RunSummary;
        compare_runs(new_run_id: &str, old_run_id: &str, query: ResultQuery) -> RunComparison;
    }
    pages {
        compare_events(new_run_id: &str, old_run_id: &str, query: CompareQuery) -> ComparedEvents;
    }
}

impl Datasets {
    /// As [`api::Datasets::import`](super::Datasets::import).
    pub fn import(&self, dataset_id: &str, rows: Rows, mapping: Mapping) -> ImportReport {
        self.driver
            .run(self.inner.import(dataset_id, rows, mapping))
    }
}

impl Charts {
    /// As [`api::Charts::in_project`](super::Charts::in_project).
    #[must_use]
    pub fn in_project(&self, project_id: &str) -> Self {
        Self {
            inner: self.inner.in_project(project_id),
            driver: Arc::clone(&self.driver),
        }
    }
}
