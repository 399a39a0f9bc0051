//! How sessions come to be: announced, made by the platform, or trusted to exist; and what the evaluation adds.

mod support;

use std::time::Duration;

use honeyhive::events::NewEvent;
use honeyhive::session::SessionId;
use honeyhive::{HoneyHive, Session};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use support::traced::Traced;
use support::{PATIENCE, SESSIONS, TRACES, attribute};

const ID: &str = "66666666-6666-4666-8666-66666666abcd";

fn span(name: &str) {
    tracing::info_span!("work", otel.name = name).in_scope(|| {});
}

fn starts(traced: &Traced) -> Vec<Value> {
    let requests = traced.server.requests_to(SESSIONS);
    requests
        .iter()
        .map(|it| it.json()["session"].clone())
        .collect()
}

fn auto(span: &Span) -> (Option<String>, Option<String>) {
    (
        attribute(span, "honeyhive.session_auto_create"),
        attribute(span, "honeyhive.session_name"),
    )
}

#[test]
fn the_own_session_has_inputs_user_properties_and_evaluation() {
    let traced = Traced::with(|b| {
        b.session_id(ID)
            .session_name("explicit")
            .session_inputs(json!({"q": 1}))
            .user_properties(json!({"plan": "pro"}))
            .project("legacy-project")
            .run_id("run-1")
            .dataset_id("EXT-ds")
            .datapoint_id("EXT-dp")
    });
    assert!(traced.honeyhive.config().is_evaluation());
    traced.run(|| span("a"));
    let found = traced.span("a");
    assert_eq!(
        starts(&traced),
        [json!({
            "session_id": ID, "session_name": "explicit", "source": "dev", "inputs": {"q": 1},
            "user_properties": {"plan": "pro"}, "project": "legacy-project",
            "metadata": {"run_id": "run-1", "dataset_id": "EXT-ds", "datapoint_id": "EXT-dp"},
        })]
    );
    for (name, id) in [
        ("run_id", "run-1"),
        ("dataset_id", "EXT-ds"),
        ("datapoint_id", "EXT-dp"),
    ] {
        let value = attribute(&found, &format!("honeyhive_metadata.{name}"));
        assert_eq!(value.as_deref(), Some(id));
    }
}

#[test]
fn evaluation_ids_are_on_every_event_and_outside_the_limit() {
    let traced = Traced::with(|b| b.run_id("run-1").max_attributes(128));
    assert!(!traced.honeyhive.config().is_evaluation());
    let session = Session::builder("chat")
        .metadata("run_id", "mine")
        .metadata("m", 1)
        .start();
    traced.run(|| {
        session.in_scope(|| {
            let outer = tracing::info_span!("outer");
            outer.in_scope(|| {
                honeyhive::enrich(|e| {
                    for n in 0..500 {
                        e.output_at(n);
                    }
                    e
                });
                tracing::info_span!("explicit", honeyhive.metadata.run_id = "other")
                    .in_scope(|| {});
            });
        });
    });
    traced.spans();
    let outer = traced.server.span("outer");
    assert_eq!(
        attribute(&outer, "honeyhive_metadata.run_id").as_deref(),
        Some("run-1")
    );
    assert!(outer.dropped_attributes_count > 0);
    // What a span says for itself counts, and is there once.
    let explicit = traced.server.span("explicit");
    assert_eq!(
        attribute(&explicit, "honeyhive_metadata.run_id").as_deref(),
        Some("other")
    );
    assert_eq!(attribute(&explicit, "honeyhive_metadata.dataset_id"), None);
    assert_eq!(
        starts(&traced)[0]["metadata"],
        json!({"run_id": "mine", "m": 1})
    );
}

#[test]
fn a_session_may_evaluate_something_of_its_own() {
    let traced = Traced::with(|b| b.run_id("of-all").dataset_id("of-all"));
    let session = Session::builder("datapoint")
        .run_id("run-1")
        .datapoint_id("EXT-dp")
        .start();
    traced.run(|| {
        session.in_scope(|| {
            span("inside");
            traced.honeyhive.create_event(NewEvent::new("made"));
        });
        span("outside");
    });
    let ids = |name: &str| {
        let found = traced.span(name);
        ["run_id", "dataset_id", "datapoint_id"]
            .map(|id| attribute(&found, &format!("honeyhive_metadata.{id}")))
    };
    let some = |id: &str| Some(id.to_owned());
    assert_eq!(
        ids("inside"),
        [some("run-1"), some("of-all"), some("EXT-dp")]
    );
    assert_eq!(ids("outside"), [some("of-all"), some("of-all"), None]);
    let expected = json!({"run_id": "run-1", "dataset_id": "of-all", "datapoint_id": "EXT-dp"});
    let made = traced.server.requests_to("/events")[0].json();
    assert_eq!(made["event"]["metadata"], expected);
    let id = session.id().to_string();
    let mut started = starts(&traced);
    started.retain(|start| start["session_id"] == id);
    assert_eq!(started[0]["metadata"], expected);
}

trait OutputAt {
    fn output_at(&mut self, n: usize) -> &mut Self;
}

impl OutputAt for honeyhive::Enrichment {
    fn output_at(&mut self, n: usize) -> &mut Self {
        self.metadata(&format!("key{n}"), n)
    }
}

#[test]
fn sessions_made_by_the_platform_are_not_announced() {
    for skip in [false, true] {
        let traced = Traced::with(|b| {
            let b = b.session_name("mine");
            if skip {
                b.skip_session_start(true)
            } else {
                b.session_auto_create(true)
            }
        });
        assert!(traced.honeyhive.config().session_auto_create());
        let (plain, rich) = (
            Session::start("plain"),
            Session::builder("rich").input("q", 1).start(),
        );
        traced.run(|| {
            span("own");
            plain.in_scope(|| span("plain"));
            rich.in_scope(|| span("rich"));
        });
        traced.spans();
        let yes = Some("true".to_owned());
        let find = |name: &str| traced.server.span(name);
        assert_eq!(auto(&find("own")), (yes.clone(), Some("mine".to_owned())));
        assert_eq!(auto(&find("plain")), (yes, Some("plain".to_owned())));
        // Attributes could not say what its inputs are.
        assert_eq!(auto(&find("rich")), (None, None));
        let started = starts(&traced);
        assert_eq!(started.len(), 1, "{started:?}");
        assert_eq!(started[0]["session_id"], rich.id().to_string());
    }
}

#[test]
fn an_update_waits_for_the_spans_that_make_its_session() {
    let traced = Traced::with(|b| b.session_auto_create(true));
    let session = Session::start("chat");
    traced.run(|| {
        session.in_scope(|| span("a"));
        session.enrich(|s| s.feedback("rating", 1));
        session.end();
    });
    let requests = traced
        .server
        .wait("the updates", |requests| requests.len() == 3);
    let paths: Vec<_> = requests.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, [TRACES, "/events", "/events"]);
}

#[test]
fn a_session_that_exists_is_trusted() {
    let traced = Traced::with(|b| b.session_id(ID).skip_session_start(true));
    assert!(!traced.honeyhive.config().session_auto_create());
    let existing = Session::builder("existing")
        .id(SessionId::random())
        .skip_start()
        .start();
    let new = Session::start("new");
    traced.run(|| {
        span("own");
        existing.in_scope(|| span("existing"));
        new.in_scope(|| span("new"));
    });
    traced.spans();
    let own = traced.server.span("own");
    assert_eq!(attribute(&own, "honeyhive.session_id").as_deref(), Some(ID));
    assert_eq!(auto(&own), (None, None));
    let started = starts(&traced);
    assert_eq!(started.len(), 1);
    assert_eq!(started[0]["session_id"], new.id().to_string());
}

#[test]
fn a_malformed_id_is_replaced_and_announced() {
    let traced = Traced::with(|b| b.session_id("nonsense").skip_session_start(true));
    traced.run(|| span("a"));
    let found = traced.span("a");
    let id = attribute(&found, "honeyhive.session_id").unwrap();
    assert_eq!(starts(&traced)[0]["session_id"], id.as_str());
    assert_eq!(auto(&found), (None, None));
}

#[test]
fn a_session_is_enriched_as_the_reference_does_it() {
    let traced = Traced::new();
    let session = traced.honeyhive.own_session();
    session.enrich(|s| {
        s.metadata("m", 1)
            .input("i", 1)
            .metadata("odd", "kw")
            .feedback("rating", 1)
            .metric("s", 0.5)
            .outputs(json!({"o": 1}))
            .config("c", 1)
            .user_property("user_id", "u")
            .duration(Duration::from_micros(12_500))
    });
    traced.honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_eq!(
        traced.server.requests_to("/events")[0].json(),
        json!({
            "event_id": session.id().to_string(),
            "metadata": {"m": 1, "inputs": {"i": 1}, "odd": "kw"},
            "feedback": {"rating": 1}, "metrics": {"s": 0.5}, "outputs": {"o": 1}, "config": {"c": 1},
            "user_properties": {"user_id": "u"}, "duration": 12.5,
        })
    );
}

#[test]
fn requests_have_sessions_of_their_own() {
    let traced = Traced::new();
    let sessions: Vec<Session> = (0..2)
        .map(|n| {
            Session::builder(format!("req-{n}"))
                .input("i", n)
                .metadata("m", n)
                .user_property("u", n)
                .start()
        })
        .collect();
    traced.run(|| {
        for session in &sessions {
            session.in_scope(|| span(session.name().unwrap()));
        }
    });
    for (n, session) in sessions.iter().enumerate() {
        let found = traced.span(&format!("req-{n}"));
        let id = session.id().to_string();
        assert_eq!(attribute(&found, "honeyhive.session_id"), Some(id.clone()));
        let expected = json!({
            "session_id": id, "session_name": format!("req-{n}"), "source": "dev",
            "inputs": {"i": n}, "metadata": {"m": n}, "user_properties": {"u": n},
        });
        assert!(starts(&traced).contains(&expected));
    }
}

#[test]
fn variables_set_them_too() {
    let variables = [
        ("HH_SESSION_AUTO_CREATE", "true"),
        ("HH_RUN_ID", "r"),
        ("DATASET_ID", "d"),
        ("DATAPOINT_ID", "p"),
        ("HH_SESSION_INPUTS", r#"{"a": 1}"#),
        ("INPUTS", "nobody reads this"),
    ];
    if support::in_process_of_its_own("variables_set_them_too", &variables).is_some() {
        return;
    }
    let honeyhive = HoneyHive::builder().test_mode(true).build().unwrap();
    let config = honeyhive.config();
    assert!(config.session_auto_create() && config.is_evaluation());
    assert_eq!(config.run_id(), Some("r"));
    assert_eq!(config.dataset_id(), Some("d"));
    assert_eq!(config.session_inputs().unwrap()["a"], 1);
}
