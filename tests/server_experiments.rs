//! Pages of experiments, datasets and the search over events, as a browser is given them.
#![cfg(feature = "server")]

mod server_support;

use serde_json::{Value, json};
use server_support::{Answer, Running, span, start};
use std::time::Instant;

const SESSION: &str = "88888888-8888-4888-8888-888888888888";
const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}";

/// A page without the values of its attributes, which nobody sees.
fn shown(page: &str) -> String {
    page.split('"').step_by(2).collect()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A dataset with two datapoints, and two runs over it; the scores of the runs are those given.
fn experiment(
    running: &Running,
    text: &str,
    scores: [[Value; 2]; 2],
) -> (String, Vec<String>, [String; 2]) {
    let posted = |path: &str, body: &Value| {
        let answer = running.json("POST", path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    };
    let made = posted("/v1/datasets", &json!({"name": text, "description": text}));
    let dataset = made["result"]["insertedId"].as_str().unwrap().to_owned();
    let mapping = json!({"inputs": ["word"], "ground_truth": ["number"]});
    let data = json!([{"word": text, "number": text}, {"word": "two", "number": 2}]);
    let added = posted(
        &format!("/v1/datasets/{dataset}/datapoints"),
        &json!({"mapping": mapping, "data": data}),
    );
    let points: Vec<String> = serde_json::from_value(added["datapoint_ids"].clone()).unwrap();
    let mut runs = [String::new(), String::new()];
    for (number, (run, scores)) in runs.iter_mut().zip(scores).enumerate() {
        let name = format!("run {number} {text}");
        let made = posted(
            "/v1/runs",
            &json!({"name": name, "description": text, "dataset_id": dataset, "status": "completed",
                "passing_ranges": {"score": {"min": 0.5}, "latency": {"max": 100}}}),
        );
        *run = made["run_id"].as_str().unwrap().to_owned();
        for (at, (point, score)) in points.iter().zip(scores).enumerate() {
            let session = format!("{number}{at}000000-0000-4000-8000-000000000000");
            posted(
                "/session/start",
                &json!({"session": {"session_id": session, "session_name": text, "inputs": {"word": format!("word {at} {text}")},
                    "metadata": {"run_id": run, "datapoint_id": point}, "metrics": score}}),
            );
        }
    }
    (dataset, points, runs)
}

fn scored(running: &Running) -> (String, Vec<String>, [String; 2]) {
    let old = [
        json!({"score": 0.9, "latency": 50}),
        json!({"score": 0.2, "latency": 90}),
    ];
    let new = [
        json!({"score": 0.8, "latency": 50}),
        json!({"score": 0.7, "latency": 80}),
    ];
    experiment(running, "words", [old, new])
}

/// The rows of the table of datapoints, or of what else a page lists, each as its text.
fn rows(page: &Answer) -> Vec<String> {
    let body = page.text().split("<tbody id=\"rows\">").nth(1).unwrap();
    let body = body.split("</tbody>").next().unwrap();
    body.split("<tr").skip(1).map(str::to_owned).collect()
}

#[test]
fn nothing_of_experiments_is_ever_interpreted() {
    let running = start();
    let scores = || [json!({EVIL: 1}), json!({EVIL: 0.5, "other": true})];
    let (dataset, _, [old, new]) = experiment(&running, EVIL, [scores(), scores()]);
    let event = json!({"event": {"session_id": "s", "event_id": EVIL, "event_type": "model", "event_name": EVIL, "error": EVIL,
        "inputs": {EVIL: EVIL}, "config": {"model": EVIL}, "metadata": {EVIL: EVIL}}});
    assert_eq!(running.json("POST", "/events", &event).status, 200);
    let evil = encoded(EVIL);
    for path in [
        "/runs".to_owned(),
        format!("/runs?q={evil}"),
        format!("/runs?dataset={evil}"),
        format!("/runs/{new}"),
        format!("/runs/{new}?sort={evil}&x={evil}"),
        format!("/runs/{evil}"),
        format!("/compare/{new}/{old}"),
        format!("/compare/{new}/{evil}"),
        "/datasets".to_owned(),
        format!("/datasets?q={evil}"),
        format!("/datasets/{dataset}"),
        format!("/datasets/{evil}"),
        "/events".to_owned(),
        format!("/events?q={evil}"),
        format!("/events?model={evil}&from={evil}"),
        format!(
            "/events?filter={evil}&filter={}",
            encoded(&format!("metadata.{EVIL}:is:{EVIL}"))
        ),
    ] {
        let page = running.get(&path);
        let text = page.text();
        assert!(
            page.header("content-type")
                .unwrap()
                .starts_with("text/html"),
            "{path}: {text}"
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        for raw in ["<script>", "<img", " style="] {
            assert!(!text.contains(raw), "{path} has {raw}");
        }
        assert!(!shown(text).contains('\u{202e}'), "{path}");
        assert!(text.contains("&lt;script&gt;"), "{path} does not show it");
        assert!(text.len() < 60 * 1024, "{path}: {} bytes", text.len());
    }
}

#[test]
fn empty_lists_tell_how_to_begin() {
    let running = start();
    let url = running.server.url().to_owned();
    for (path, expected) in [
        ("/runs", format!("server_url=&quot;{url}&quot;")),
        ("/datasets", format!("curl {url}/v1/datasets")),
        ("/events", format!("export HH_API_URL={url}")),
    ] {
        let page = running.get(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text().contains(&expected), "{path}: {}", page.text());
        let here = format!("<a href=\"{path}\" aria-current=\"page\">");
        assert!(page.text().contains(&here), "{path}: {}", page.text());
    }
    for path in ["/runs/none", "/compare/none/other", "/datasets/none"] {
        let page = running.get(path);
        assert_eq!(page.status, 404, "{path}");
        assert!(page.text().contains("none"), "{path}");
    }
    for path in [
        "/runs?page=0",
        "/runs?status=done",
        "/runs/none?fn=mode",
        "/runs/none?show=some",
        "/compare/a/b?show=some",
        "/datasets?page=x",
        "/events?type=span",
        "/events?filter=a:like:b",
        "/events?filter=metrics.a:after:soon",
        "/events?from=soon",
        "/events?since=long",
        "/events?after=there",
    ] {
        assert_eq!(running.get(path).status, 400, "{path}");
    }
}

#[test]
fn runs_are_listed_with_what_they_came_to() {
    let running = start();
    let (dataset, _, [old, new]) = scored(&running);
    let failed = json!({"name": "broken", "status": "failed"});
    let broken = running.json("POST", "/v1/runs", &failed).json();
    let broken = broken["run_id"].as_str().unwrap();
    let ids = |path: &str| -> Vec<String> {
        let rows = rows(&running.get(path));
        rows.iter()
            .map(|row| row.split('"').nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("/runs"), [broken, &new, &old]);
    assert_eq!(ids("/runs?status=completed"), [new.as_str(), &old]);
    assert_eq!(ids("/runs?q=RUN%201"), [new.as_str()]);
    assert_eq!(
        ids(&format!("/runs?dataset={dataset}")),
        [new.as_str(), &old]
    );
    assert_eq!(ids("/runs?page=2"), [""; 0]);
    let row = rows(&running.get("/runs")).remove(1);
    for expected in [
        format!("href=\"/runs/{new}\""),
        format!("href=\"/datasets/{dataset}\""),
        "data-l=\"datapoints\">2<".to_owned(),
        "data-l=\"passed\">2<".to_owned(),
        "<b>0.75</b>".to_owned(),
        "<b>65</b>".to_owned(),
    ] {
        assert!(row.contains(&expected), "{expected}: {row}");
    }
}

#[test]
fn a_run_shows_its_datapoints_against_its_metrics() {
    let running = start();
    let (_, points, [old, new]) = scored(&running);
    let page = running.get(&format!("/runs/{old}"));
    let text = page.text();
    // Averages of 0.9 and 0.2, and of 50 and 90, with a distribution each.
    for expected in [
        "class=\"big\">0.55 ",
        "class=\"big\">70 ",
        "class=\"dist\"",
        "1 passed · ",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(text.matches("class=\"dist\"").count(), 2);
    assert!(
        text.contains(&format!("href=\"/compare/{old}/{new}\"")),
        "{text}"
    );
    let all = rows(&page);
    assert_eq!(all.len(), 2);
    assert!(
        all[0].contains("href=\"/sessions/00000000-0000-4000-8000-000000000000\"")
            && all[0].contains("✓ passed"),
        "{}",
        all[0]
    );
    assert!(
        all[1].contains("href=\"/sessions/01000000-0000-4000-8000-000000000000\"")
            && all[1].contains("✗ failed"),
        "{}",
        all[1]
    );
    assert!(
        all[1].contains("word 1 words")
            && all[1].contains("<td class=\"num down\" data-l=\"score\">0.2<"),
        "{}",
        all[1]
    );

    // And back again from there.
    let session = running.get("/sessions/00000000-0000-4000-8000-000000000000");
    assert!(
        session.text().contains(&format!("href=\"/runs/{old}\"")),
        "{}",
        session.text()
    );

    let maximum = running.get(&format!("/runs/{old}?fn=max"));
    assert!(
        maximum.text().contains("class=\"big\">0.9 "),
        "{}",
        maximum.text()
    );
    let failed = rows(&running.get(&format!("/runs/{old}?show=failed")));
    assert!(
        failed.len() == 1 && failed[0].contains("/sessions/01000000"),
        "{failed:?}"
    );
    let first = |query: &str| rows(&running.get(&format!("/runs/{old}?{query}"))).remove(0);
    let sort = text
        .split("sort=score")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(first(&format!("sort=score{sort}")).contains("/sessions/00000000"));
    assert!(first(&format!("sort=score{sort}&up=1")).contains("/sessions/01000000"));
    assert_eq!(points.len(), 2);
}

#[test]
fn a_comparison_sorts_by_what_changed_most() {
    let running = start();
    let (_, points, [old, new]) = scored(&running);
    let page = running.get(&format!("/compare/{new}/{old}"));
    let text = page.text();
    // The second datapoint: a better score and a lower latency. The first: a somewhat lower score.
    let all = rows(&page);
    assert_eq!(all.len(), 2, "{text}");
    assert!(
        all[0].contains(&points[1]) && all[1].contains(&points[0]),
        "{all:?}"
    );
    for session in ["/sessions/01000000-", "/sessions/11000000-"] {
        assert!(all[0].contains(session), "{}", all[0]);
    }
    assert!(all[0].contains("<td class=\"num up\" data-l=\"score\" title=\"improved\"><span class=\"was\">0.2 → </span>0.7 ▲"), "{}", all[0]);
    assert!(all[0].contains("<td class=\"num up\" data-l=\"latency\" title=\"improved\"><span class=\"was\">90 → </span>80 ▲"), "{}", all[0]);
    assert!(
        all[1].contains("<td class=\"num down\" data-l=\"score\" title=\"degraded\">"),
        "{}",
        all[1]
    );
    assert!(
        all[1].contains("<td class=\"num same\" data-l=\"latency\" title=\"same\">"),
        "{}",
        all[1]
    );
    for expected in [
        "improved 1<",
        "degraded 1<",
        "same 0<",
        "▲ +0.2<",
        "▲ \u{2212}5<",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(
        text.contains(&format!("href=\"/compare/{old}/{new}\">swap")),
        "{text}"
    );
    // Seen from the other side.
    let swapped = running.get(&format!("/compare/{old}/{new}?show=degraded"));
    let swapped = rows(&swapped);
    assert!(
        swapped.len() == 1 && swapped[0].contains(&points[1]),
        "{swapped:?}"
    );
    assert_eq!(running.get(&format!("/compare/{new}/none")).status, 404);
}

#[test]
fn a_dataset_shows_its_datapoints_and_runs() {
    let running = start();
    let (dataset, points, [old, new]) = scored(&running);
    let list = rows(&running.get("/datasets"));
    assert_eq!(list.len(), 1);
    for expected in [
        format!("href=\"/datasets/{dataset}\""),
        "data-l=\"datapoints\">2<".to_owned(),
        "data-l=\"runs\">2<".to_owned(),
    ] {
        assert!(list[0].contains(&expected), "{expected}: {}", list[0]);
    }
    assert!(rows(&running.get("/datasets?q=nothing")).is_empty());
    let page = running.get(&format!("/datasets/{dataset}"));
    let shown = rows(&page);
    assert_eq!(shown.len(), 2);
    for (row, point) in shown.iter().zip(&points) {
        assert!(
            row.contains(&format!("href=\"/v1/datapoints/{point}\"")),
            "{row}"
        );
    }
    assert!(
        shown[1].contains(">two<") && shown[1].contains(">2<"),
        "{}",
        shown[1]
    );
    for link in [
        format!("/runs/{old}"),
        format!("/runs/{new}"),
        format!("/compare/{new}/{old}"),
    ] {
        assert!(page.text().contains(&format!("href=\"{link}\"")), "{link}");
    }
}

#[test]
fn the_search_finds_events_by_all_that_is_asked() {
    let running = start();
    let day = 86_400_000.0;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
        * 1000.0;
    for (id, kind, model, user, error, started) in [
        ("a", "model", Some("gpt-4o"), 42, None, now - 3.0 * day),
        (
            "b",
            "tool",
            None,
            42,
            Some("out of \"honey\""),
            now - 2000.0,
        ),
        ("c", "model", Some("claude"), 7, None, now - 1000.0),
    ] {
        let mut event = json!({"event_id": id, "session_id": SESSION, "event_type": kind, "event_name": format!("step {id}"),
            "inputs": {"question": format!("Who said \"{id}\"?")}, "metadata": {"user": user}, "start_time": started, "end_time": started + 5.0});
        event["config"] = model.map_or(json!({}), |model| json!({"model": model}));
        if let Some(error) = error {
            event["error"] = error.into();
        }
        let answer = running.json("POST", "/events", &json!({"event": event}));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let ids = |query: &str| -> Vec<String> {
        let page = running.get(&format!("/events?{query}"));
        assert_eq!(page.status, 200, "{query}");
        let rows = rows(&page);
        rows.iter()
            .map(|row| row.split('"').nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(""), ["c", "b", "a", SESSION]);
    assert_eq!(ids("type=model"), ["c", "a"]);
    assert_eq!(ids("type=session"), [SESSION]);
    assert_eq!(ids("model=gpt-4o"), ["a"]);
    assert_eq!(ids("error=1"), ["b"]);
    assert_eq!(ids("error=0&type=tool"), [""; 0]);
    assert_eq!(ids("since=24h"), ["c", "b"]);
    assert_eq!(ids("filter=metadata.user:is:42"), ["b", "a"]);
    assert_eq!(ids("filter=metadata.user:less_than:10"), ["c"]);
    assert_eq!(
        ids("filter=metadata.user:is:42&filter=error:not%20exists"),
        ["a"]
    );
    assert_eq!(ids(&format!("q={}", encoded("SAID \"b\""))), ["b"]);
    assert_eq!(ids(&format!("q={}", encoded("of \"honey"))), ["b"]);
    assert_eq!(ids("q=step+c&type=model"), ["c"]);
    assert_eq!(ids("q=%25"), [""; 0]);
    assert_eq!(ids("q=42&filter=metadata.user:is:42"), ["b", "a"]);
    let page = running.get("/events?q=said");
    assert!(page.text().contains("<mark>said</mark>"), "{}", page.text());
    assert!(
        page.text()
            .contains(&format!("href=\"/sessions/{SESSION}?event=c\"")),
        "{}",
        page.text()
    );
}

#[test]
fn many_events_and_datapoints_are_turned_page_by_page() {
    let running = start();
    let own = ("honeyhive.session_id", SESSION);
    let spans: Vec<Value> = (1..=120_u64)
        .map(|n| span(n, None, "step", &[own]))
        .collect();
    running.spans(&spans);
    // All begin at different moments, and the session where the first does.
    let mut path = "/events".to_owned();
    let mut seen = std::collections::HashSet::new();
    let mut pages = 0;
    loop {
        let page = running.get(&path);
        assert!(page.body.len() < 60 * 1024, "{} bytes", page.body.len());
        for row in rows(&page) {
            assert!(
                seen.insert(row.split('"').nth(1).unwrap().to_owned()),
                "twice: {row}"
            );
        }
        pages += 1;
        let next = page.text().split("rel=\"next\" href=\"").nth(1);
        match next {
            Some(next) => {
                let next = next.split('"').next().unwrap().replace("&amp;", "&");
                path = format!("/events{next}");
            }
            None => break,
        }
        assert!(pages < 200, "no end");
    }
    assert_eq!(seen.len(), 121);

    let made = running
        .json("POST", "/v1/datasets", &json!({"name": "large"}))
        .json();
    let id = made["result"]["insertedId"].as_str().unwrap();
    let long = "x".repeat(5000);
    let data: Vec<Value> = (0..60)
        .map(|n| json!({"n": n, "a": long, "b": long, "c": long}))
        .collect();
    let body = json!({"mapping": {"inputs": ["n", "a", "b"], "ground_truth": ["c"]}, "data": data});
    let added = running.json("POST", &format!("/v1/datasets/{id}/datapoints"), &body);
    assert_eq!(added.status, 200);
    let counts: Vec<usize> = (1..=4)
        .map(|n| {
            let page = running.get(&format!("/datasets/{id}?page={n}"));
            assert!(page.body.len() < 60 * 1024, "{} bytes", page.body.len());
            rows(&page).len()
        })
        .collect();
    assert_eq!(counts, [25, 25, 10, 0]);
}

#[test]
fn the_largest_pages_are_small_enough() {
    let running = start();
    let long = "a long question ".repeat(100);
    let mut runs = Vec::new();
    for n in 0..2 {
        let made = running.json("POST", "/v1/runs", &json!({"name": format!("run {n}")}));
        let run = made.json()["run_id"].as_str().unwrap().to_owned();
        for at in 0..60 {
            let metrics: serde_json::Map<String, Value> = (0..30)
                .map(|m| {
                    (
                        format!("a metric of some length {m}"),
                        json!(f64::from(at * 7 + m + n) / 7.0),
                    )
                })
                .collect();
            let session = json!({"session": {"session_name": format!("{long}{n}{at}"), "inputs": {"question": long},
                "metadata": {"run_id": run, "datapoint_id": format!("point-{at}")}, "metrics": metrics}});
            assert_eq!(running.json("POST", "/session/start", &session).status, 200);
        }
        runs.push(run);
    }
    let (old, new) = (&runs[0], &runs[1]);
    for path in [
        "/runs".to_owned(),
        "/events".to_owned(),
        "/events?q=question".to_owned(),
        format!("/runs/{new}"),
        format!("/runs/{new}?page=3&col=4"),
        format!("/runs/{new}?page=99&col=99"),
        format!("/compare/{new}/{old}"),
        format!("/compare/{new}/{old}?page=2&col=2"),
    ] {
        let begun = Instant::now();
        let page = running.get(&path);
        println!("{path}: {:?}, {} bytes", begun.elapsed(), page.body.len());
        assert_eq!(page.status, 200, "{path}");
        assert!(
            page.body.len() < 60 * 1024,
            "{path}: {} bytes",
            page.body.len()
        );
    }
    let last = rows(&running.get(&format!("/runs/{new}?page=3&col=4")));
    assert_eq!(last.len(), 10);
    assert_eq!(last[0].matches("data-l").count(), 6);
}
