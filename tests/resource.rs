//! The resource of exported spans, as it goes over the wire.

mod support;

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use honeyhive::Builder;
use support::{PATIENCE, Recorder, TRACES, emit, settings, text};

fn resource(change: impl FnOnce(Builder) -> Builder) -> HashMap<String, String> {
    let server = Recorder::start();
    let honeyhive = change(settings(&server.url)).build().unwrap();
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let body = server.requests_to(TRACES)[0].traces();
    let resource = body.resource_spans[0].resource.clone().unwrap();
    let count = resource.attributes.len();
    let map: HashMap<_, _> = resource
        .attributes
        .into_iter()
        .map(|attribute| (attribute.key, text(&attribute.value.unwrap())))
        .collect();
    assert_eq!(map.len(), count, "a name is there twice");
    map
}

#[test]
fn the_process_is_described() {
    let found = resource(|b| b);
    assert_eq!(found["process.pid"], std::process::id().to_string());
    assert_eq!(found["process.runtime.name"], "rust");
    assert!(found["process.runtime.version"].starts_with("1."));
    assert!(found["process.executable.name"].starts_with("resource"));
    assert_eq!(found["telemetry.sdk.language"], "rust");
    assert_eq!(found["os.type"], std::env::consts::OS);
    assert!(found.contains_key("host.arch"));
    assert!(found.contains_key("service.name"));
    assert!(found.contains_key("service.instance.id"));
}

#[test]
fn the_variables_of_opentelemetry_are_honoured() {
    let name = "the_variables_of_opentelemetry_are_honoured";
    let variables = [
        ("OTEL_SERVICE_NAME", "shop"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=ignored,service.version=1.2,deployment.environment.name=pr%C3%A9,host.name=me",
        ),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("K8S_NAMESPACE", "n"),
        ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567"),
        ("GITHUB_REF_NAME", "main"),
        ("GITHUB_SERVER_URL", "https://u:SECRET@github.example"),
        ("GITHUB_REPOSITORY", "a/b"),
        ("GITHUB_HEAD_REF", ""),
    ];
    if support::in_process_of_its_own(name, &variables).is_some() {
        return;
    }
    let found = resource(|b| b);
    for (name, value) in [
        ("service.name", "shop"),
        ("service.version", "1.2"),
        ("deployment.environment.name", "pré"),
        ("host.name", "me"),
        ("k8s.namespace.name", "n"),
        ("git.commit", "0123456789abcdef0123456789abcdef01234567"),
        ("git.branch", "main"),
        ("git.repository", "https://github.example/a/b"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
    // Code goes before variables, and details of git can be kept back.
    let found = resource(|b| b.service_name("code").git(false));
    assert_eq!(found["service.name"], "code");
    assert!(!found.keys().any(|name| name.starts_with("git.")));
}

#[test]
fn a_malformed_variable_is_ignored_and_said() {
    let name = "a_malformed_variable_is_ignored_and_said";
    let variables = [("OTEL_RESOURCE_ATTRIBUTES", "good=1,bad=%zz")];
    let Some(output) = support::in_process_of_its_own(name, &variables) else {
        assert!(!resource(|b| b).contains_key("good"));
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("OTEL_RESOURCE_ATTRIBUTES is ignored"),
        "{said}"
    );
}

#[test]
#[cfg(unix)]
fn a_git_that_hangs_delays_nothing_for_long() {
    use std::os::unix::fs::PermissionsExt as _;

    let name = "a_git_that_hangs_delays_nothing_for_long";
    let directory = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(directory.path()).args(arguments);
        command.output().is_ok_and(|output| output.status.success())
    };
    if std::env::var_os("TEST_IN_ITS_OWN_PROCESS").is_none() {
        if !git(&["init", "-q", "-b", "topic"]) {
            return;
        }
        let fake = directory.path().join("git");
        std::fs::write(&fake, "#!/bin/sh\nexec sleep 30\n").unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!(
            "{}:{}",
            directory.path().display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let place = directory.path().display().to_string();
        let mut variables = vec![("PATH", path.as_str()), ("WORK_TREE", place.as_str())];
        for server in ["GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"] {
            variables.push((server, ""));
        }
        support::in_process_of_its_own(name, &variables).unwrap();
        return;
    }
    std::env::set_current_dir(std::env::var_os("WORK_TREE").unwrap()).unwrap();
    let started = Instant::now();
    let found = resource(|b| b);
    assert!(started.elapsed() < Duration::from_secs(10));
    // Its files tell what the command does not.
    assert_eq!(found.get("git.branch").map(String::as_str), Some("topic"));
    assert!(!found.contains_key("git.dirty"));
}
