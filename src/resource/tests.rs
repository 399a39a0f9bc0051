use std::collections::HashMap;
use std::time::Instant;

use super::*;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn found(variables: &[(&str, &str)], files: &[(&str, &str)]) -> HashMap<String, Value> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let files: HashMap<_, _> = files.iter().copied().collect();
    let list = place(
        &|name| variables.get(name).map(|&value| value.to_owned()),
        &|path| files.get(path.to_str()?).map(|&text| text.to_owned()),
    );
    let count = list.len();
    let map: HashMap<_, _> = list
        .into_iter()
        .map(|(name, value)| (name.into_owned(), value))
        .collect();
    assert_eq!(map.len(), count, "a name is there twice");
    map
}

#[test]
fn places_are_recognised() {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let cgroup = format!("0::/system.slice/docker-{ID}.scope\n");
    let mounts = format!(
        "1 2 0:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda rw\n"
    );
    let overlay = format!("1 2 0:1 / / rw - overlay overlay rw,lowerdir=/l/{ID}\n");
    type Case<'a> = (
        &'a [(&'a str, &'a str)],
        &'a [(&'a str, &'a str)],
        &'a [(&'a str, &'a str)],
    );
    let cases: &[Case<'_>] = &[
        (&[], &[], &[]),
        (
            &[("HOSTNAME", " ")],
            &[("/etc/hostname", "box\n")],
            &[("host.name", "box")],
        ),
        (
            &[("HOSTNAME", "a")],
            &[("/etc/hostname", "b")],
            &[("host.name", "a")],
        ),
        (
            &[],
            &[(
                "/etc/os-release",
                "NAME=\"Debian\"\nVERSION_ID=13\nPRETTY_NAME=\"Debian 13\"\n",
            )],
            &[
                ("os.name", "Debian"),
                ("os.version", "13"),
                ("os.description", "Debian 13"),
            ],
        ),
        (
            &[("HOSTNAME", "box")],
            &[("/.dockerenv", "")],
            &[
                ("host.name", "box"),
                ("container.runtime", "docker"),
                ("container.id", "box"),
            ],
        ),
        (
            &[],
            &[("/.dockerenv", ""), ("/proc/self/cgroup", &cgroup)],
            &[("container.runtime", "docker"), ("container.id", ID)],
        ),
        (
            &[],
            &[
                ("/proc/self/cgroup", "0::/\n"),
                ("/proc/self/mountinfo", &mounts),
            ],
            &[("container.id", ID)],
        ),
        (&[], &[("/proc/self/mountinfo", &overlay)], &[]),
        (
            &[
                ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
                ("HOSTNAME", "pod-1"),
            ],
            &[(
                "/var/run/secrets/kubernetes.io/serviceaccount/namespace",
                "shop",
            )],
            &[
                ("host.name", "pod-1"),
                ("k8s.cluster.name", "unknown"),
                ("k8s.namespace.name", "shop"),
                ("k8s.pod.name", "pod-1"),
                ("k8s.deployment.name", "unknown"),
            ],
        ),
        (
            &[
                ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
                ("K8S_CLUSTER_NAME", "c"),
                ("K8S_NAMESPACE", "n"),
                ("K8S_POD_NAME", "p"),
                ("K8S_DEPLOYMENT_NAME", "d"),
            ],
            &[],
            &[
                ("k8s.cluster.name", "c"),
                ("k8s.namespace.name", "n"),
                ("k8s.pod.name", "p"),
                ("k8s.deployment.name", "d"),
            ],
        ),
        (
            &[
                ("AWS_LAMBDA_FUNCTION_NAME", "f"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
                ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
                ("AWS_REGION", "eu-west-1"),
            ],
            &[],
            &[
                ("cloud.provider", "aws"),
                ("cloud.platform", "aws_lambda"),
                ("cloud.region", "eu-west-1"),
                ("faas.name", "f"),
                ("faas.version", "7"),
                ("faas.runtime", "AWS_Lambda_provided.al2023"),
            ],
        ),
        (
            &[("GOOGLE_CLOUD_PROJECT", "p"), ("AWS_REGION", "x")],
            &[],
            &[
                ("cloud.provider", "gcp"),
                ("cloud.account.id", "p"),
                ("gcp.project.id", "p"),
            ],
        ),
        (
            &[("AZURE_RESOURCE_GROUP", "g")],
            &[],
            &[("cloud.provider", "azure"), ("azure.resource_group", "g")],
        ),
        (
            &[("AWS_DEFAULT_REGION", "r")],
            &[],
            &[("cloud.provider", "aws"), ("cloud.region", "r")],
        ),
    ];
    for (variables, files, expected) in cases {
        let expected: HashMap<_, _> = expected
            .iter()
            .map(|&(name, value)| (name.to_owned(), text(value)))
            .collect();
        assert_eq!(found(variables, files), expected, "{variables:?}");
    }
    let lambda = found(
        &[
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ],
        &[],
    );
    assert_eq!(lambda["faas.memory_size"], text("512"));
    assert_eq!(lambda["faas.max_memory"], Value::Int(512 << 20));
}

#[test]
fn the_variable_of_attributes_is_read_strictly() {
    type Expected<'a> = Result<&'a [(&'a str, &'a str)], ()>;
    let cases: &[(&str, Expected<'_>)] = &[
        ("", Ok(&[])),
        (" a=b , c.d = e f ,", Ok(&[("a", "b"), ("c.d", "e f")])),
        ("a=%C3%A9%2C%3D%25", Ok(&[("a", "é,=%")])),
        ("a=b=c", Ok(&[("a", "b=c")])),
        ("a=1,a=2", Ok(&[("a", "2")])),
        ("a=", Ok(&[])),
        ("a", Err(())),
        ("=b", Err(())),
        ("a=%", Err(())),
        ("a=%4", Err(())),
        ("a=%zz", Err(())),
        ("a=%FF", Err(())),
        ("good=1,a=%+1", Err(())),
    ];
    for (input, expected) in cases {
        let parsed = parse(input).map_err(|_| ());
        let expected = expected.map(|list| {
            list.iter()
                .map(|&(name, value)| (Cow::Borrowed(name), text(value)))
                .collect::<Vec<_>>()
        });
        assert_eq!(parsed, expected, "{input:?}");
    }
}

fn service(config: &Config, variables: &[(&str, &str)]) -> HashMap<String, Value> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let get = |name: &str| variables.get(name).map(|&value| value.to_owned());
    let found = vec![("host.name".into(), text("found"))];
    let list = assemble(config, found, &get).attributes;
    let count = list.len();
    let map: HashMap<_, _> = list
        .into_iter()
        .map(|(name, value)| (name.into_owned(), value))
        .collect();
    assert_eq!(map.len(), count, "a name is there twice");
    map
}

#[test]
fn who_is_asked_for_the_service() {
    let plain = Config::default();
    let named = Config {
        service_name: Some("set".to_owned()),
        service_version: Some("1".to_owned()),
        ..Config::default()
    };
    let attributes = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=otel,service.version=2,host.name=mine,team=x,telemetry.sdk.name=no",
    );
    let program = program_name();
    type Case<'a> = (
        &'a Config,
        &'a [(&'a str, &'a str)],
        &'a str,
        Option<&'a str>,
    );
    let cases: &[Case<'_>] = &[
        (&plain, &[], &program, None),
        (&plain, &[("K8S_APP_NAME", "app")], "app", None),
        (
            &plain,
            &[("AWS_LAMBDA_FUNCTION_NAME", "f"), ("K8S_APP_NAME", "app")],
            "f",
            None,
        ),
        (
            &plain,
            &[("GIT_COMMIT", "0123456789ab")],
            &program,
            Some("01234567"),
        ),
        (&plain, &[("BUILD_NUMBER", "42")], &program, Some("42")),
        (
            &plain,
            &[attributes, ("BUILD_NUMBER", "42")],
            "otel",
            Some("2"),
        ),
        (&named, &[attributes], "set", Some("1")),
    ];
    for (config, variables, name, version) in cases {
        let found = service(config, variables);
        assert_eq!(found["service.name"], text(name), "{variables:?}");
        assert_eq!(found.get("service.version"), version.map(text).as_ref());
        assert_eq!(found["telemetry.sdk.name"], text("honeyhive"));
        assert_eq!(found["process.runtime.name"], text("rust"));
        assert!(found.contains_key("process.runtime.version"));
        assert!(found.contains_key("process.executable.name"));
        let own = variables.iter().any(|(name, _)| name.starts_with("OTEL"));
        assert_eq!(found["host.name"], text(if own { "mine" } else { "found" }));
        assert_eq!(found.contains_key("team"), own);
    }
    let broken = |_: &str| Some("a=%".to_owned());
    let resource = assemble(&plain, Vec::new(), &broken);
    assert!(
        resource
            .warning
            .unwrap()
            .contains("OTEL_RESOURCE_ATTRIBUTES")
    );
}

#[test]
fn a_detector_that_hangs_or_panics_is_left_behind() {
    let started = Instant::now();
    let (_keep, never) = mpsc::channel::<()>();
    within(Duration::from_millis(20), move || {
        let _ = never.recv();
    });
    within(Duration::from_secs(20), || panic!("a broken detector"));
    assert!(started.elapsed() < Duration::from_secs(10));
}
