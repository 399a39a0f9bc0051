//! What is known of the process: the resource of exported spans. Detected once, on the worker's side of the program, and
//! never for long. Knows names of variables and files, which it is handed; not what becomes of the attributes.

mod git;

use std::borrow::Cow;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use crate::config::{Config, Sources};

/// The value of an attribute of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    Bool(bool),
}

/// An attribute of the resource.
pub(crate) type Attribute = (Cow<'static, str>, Value);

/// The attributes of the resource, and what was odd about their sources.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) warning: Option<String>,
}

/// All of the detection takes no longer; what is not there by then is left out.
const LIMIT: Duration = Duration::from_millis(450);
/// Likewise the command `git`, so that files can still be read instead.
const GIT_LIMIT: Duration = Duration::from_millis(300);
/// More of a file is not read.
const MAX_FILE: u64 = 1 << 20;

/// The attributes of this process.
pub(crate) fn detect(config: &Config) -> Resource {
    static PLACE: OnceLock<Vec<Attribute>> = OnceLock::new();
    static GIT: OnceLock<Vec<Attribute>> = OnceLock::new();
    let wants_git = config.git;
    let sources = Arc::new(Sources::process());
    let own = Arc::clone(&sources);
    let variable = move |name: &str| sources.variable(name);
    if PLACE.get().is_none() || (wants_git && GIT.get().is_none()) {
        within(LIMIT, move || {
            PLACE.get_or_init(|| place(&variable, &read));
            if wants_git {
                GIT.get_or_init(|| {
                    let directory = std::env::current_dir().ok();
                    git::detect(&variable, &read, directory.as_deref(), GIT_LIMIT)
                });
            }
        });
    }
    let mut found = PLACE.get().cloned().unwrap_or_default();
    if wants_git {
        found.extend(GIT.get().cloned().unwrap_or_default());
    }
    assemble(config, found, &|name| own.variable(name))
}

/// Runs `f` on a thread of its own, and goes on when it is done, has panicked, or takes too long.
fn within(limit: Duration, f: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::sync_channel::<()>(1);
    let thread = std::thread::Builder::new()
        .name("honeyhive-resource".to_owned())
        .spawn(move || {
            let _quiet = crate::log::quiet();
            f();
            let _ = done.send(());
        });
    if thread.is_ok() {
        let _ = wait.recv_timeout(limit);
    }
}

fn read(path: &Path) -> Option<String> {
    // A pipe or a device would keep us waiting.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut content).ok()?;
    Some(String::from_utf8_lossy(&content).into_owned())
}

/// Answers what a variable holds.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Answers what a file holds.
type Files<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The first of the variables that is set and not blank.
fn first(variable: Variables<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| {
        let value = variable(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// Puts together what was found, what is known anyway and what the user says.
fn assemble(config: &Config, found: Vec<Attribute>, variable: Variables<'_>) -> Resource {
    let mut resource = Resource::default();
    let mut own = Vec::new();
    if let Some(text) = first(variable, &["OTEL_RESOURCE_ATTRIBUTES"]) {
        match parse(&text) {
            Ok(parsed) => own = parsed,
            Err(problem) => {
                resource.warning = Some(format!("OTEL_RESOURCE_ATTRIBUTES is ignored: {problem}"));
            }
        }
    }
    let put = |list: &mut Vec<Attribute>, name: &'static str, value: Option<String>| {
        if let Some(value) = value {
            list.push((name.into(), Value::Text(value)));
        }
    };
    let list = &mut resource.attributes;
    let named = |name| own.iter().any(|(own, _)| own == name);
    let name = config.service_name.clone();
    let fallback = || {
        first(variable, &["AWS_LAMBDA_FUNCTION_NAME", "K8S_APP_NAME"]).unwrap_or_else(program_name)
    };
    put(list, "service.name", Some(name.unwrap_or_else(fallback)));
    let version = config.service_version.clone().or_else(|| {
        let commit = first(variable, &["GIT_COMMIT"])?;
        Some(commit.chars().take(8).collect())
    });
    let version = version.or_else(|| first(variable, &["BUILD_NUMBER"]));
    if config.service_version.is_some() || !named("service.version") {
        put(list, "service.version", version);
    }
    let instance = uuid::Uuid::new_v4().to_string();
    put(list, "service.instance.id", Some(instance));
    let fixed = [
        ("telemetry.sdk.name", Some("honeyhive")),
        ("telemetry.sdk.language", Some("rust")),
        ("telemetry.sdk.version", Some(env!("CARGO_PKG_VERSION"))),
        ("process.runtime.name", Some("rust")),
        ("process.runtime.version", option_env!("BUILT_BY_RUSTC")),
        ("os.type", Some(std::env::consts::OS)),
        ("host.arch", Some(std::env::consts::ARCH)),
    ];
    for (name, value) in fixed {
        put(list, name, value.map(str::to_owned));
    }
    put(list, "process.executable.name", executable_name());
    let pid = Value::Int(i64::from(std::process::id()));
    list.push(("process.pid".into(), pid));
    list.extend(found);

    // What the user says goes before what was found, and after what was said to us alone.
    for (name, value) in own {
        let ours = match name.as_ref() {
            "service.name" => config.service_name.is_some(),
            "service.version" => config.service_version.is_some(),
            other => other.starts_with("telemetry.sdk."),
        };
        if ours {
            continue;
        }
        match list.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => list.push((name, value)),
        }
    }
    resource
}

/// More attributes than this in the variable are taken for a mistake.
const MAX_OWN: usize = 128;

/// `key=value,key2=value2`, percent-encoded; one mistake spoils all of it, as the specification asks.
fn parse(text: &str) -> Result<Vec<Attribute>, &'static str> {
    let mut attributes = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or("a part of it has no `=` (expected `key=value,key2=value2`)")?;
        let name = decode(name.trim()).ok_or("a name is not percent-encoded UTF-8")?;
        let value = decode(value.trim()).ok_or("a value is not percent-encoded UTF-8")?;
        if name.is_empty() {
            return Err("a part of it has no name before the `=`");
        }
        if attributes.len() >= MAX_OWN {
            return Err("it has more than 128 parts");
        }
        if !value.is_empty() {
            attributes.retain(|(known, _)| *known != name);
            attributes.push((Cow::Owned(name), Value::Text(value)));
        }
    }
    Ok(attributes)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Host, operating system, container, cluster and cloud.
fn place(variable: Variables<'_>, read: Files<'_>) -> Vec<Attribute> {
    let mut list = Vec::new();
    let mut put = |name: &'static str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            list.push((name.into(), Value::Text(value)));
        }
    };
    let line = |path: &str| {
        let content = read(Path::new(path))?;
        let line = content.lines().next()?.trim().to_owned();
        (!line.is_empty()).then_some(line)
    };
    let host = first(variable, &["HOSTNAME", "COMPUTERNAME"]);
    let host = host
        .or_else(|| line("/proc/sys/kernel/hostname"))
        .or_else(|| line("/etc/hostname"));
    put("host.name", host.clone());
    let release = read(Path::new("/etc/os-release"))
        .or_else(|| read(Path::new("/usr/lib/os-release")))
        .unwrap_or_default();
    put("os.name", release_field(&release, "NAME"));
    put("os.version", release_field(&release, "VERSION_ID"));
    put("os.description", release_field(&release, "PRETTY_NAME"));

    let docker = read(Path::new("/.dockerenv")).is_some()
        || first(variable, &["DOCKER_CONTAINER"]).is_some();
    let container = container_id(
        &read(Path::new("/proc/self/cgroup")).unwrap_or_default(),
        &read(Path::new("/proc/self/mountinfo")).unwrap_or_default(),
    );
    if docker {
        put("container.runtime", Some("docker".to_owned()));
    }
    put(
        "container.id",
        container.or(host.clone().filter(|_| docker)),
    );

    if first(variable, &["KUBERNETES_SERVICE_HOST"]).is_some() {
        let or =
            |found: Option<String>, other: &str| Some(found.unwrap_or_else(|| other.to_owned()));
        let namespace = first(variable, &["K8S_NAMESPACE", "POD_NAMESPACE"])
            .or_else(|| line("/var/run/secrets/kubernetes.io/serviceaccount/namespace"));
        let cluster = first(variable, &["K8S_CLUSTER_NAME"]);
        let pod = first(variable, &["K8S_POD_NAME", "POD_NAME"]).or(host);
        let deployment = first(variable, &["K8S_DEPLOYMENT_NAME"]);
        put("k8s.cluster.name", or(cluster, "unknown"));
        put("k8s.namespace.name", or(namespace, "default"));
        put("k8s.pod.name", or(pod, "unknown"));
        put("k8s.deployment.name", or(deployment, "unknown"));
    }
    for (name, value) in cloud(variable) {
        put(name, value);
    }
    let memory = first(variable, &["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]);
    if let Some(mebibytes) = memory.and_then(|text| text.parse::<i64>().ok()) {
        let bytes = mebibytes.saturating_mul(1 << 20);
        list.push(("faas.max_memory".into(), Value::Int(bytes)));
    }
    list
}

/// The cloud and the function, as far as variables tell.
fn cloud(variable: Variables<'_>) -> Vec<(&'static str, Option<String>)> {
    let get = |names: &[&str]| first(variable, names);
    let text = |text: &str| Some(text.to_owned());
    let aws_region = get(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
    if let Some(function) = get(&["AWS_LAMBDA_FUNCTION_NAME"]) {
        return vec![
            ("cloud.provider", text("aws")),
            ("cloud.platform", text("aws_lambda")),
            ("cloud.region", aws_region),
            ("faas.name", Some(function)),
            ("faas.version", get(&["AWS_LAMBDA_FUNCTION_VERSION"])),
            ("faas.instance", get(&["AWS_LAMBDA_LOG_STREAM_NAME"])),
            ("faas.runtime", get(&["AWS_EXECUTION_ENV"])),
            (
                "faas.memory_size",
                get(&["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]),
            ),
            ("faas.timeout", get(&["AWS_LAMBDA_FUNCTION_TIMEOUT"])),
        ];
    }
    let project = get(&["GOOGLE_CLOUD_PROJECT", "GCP_PROJECT"]);
    let service = get(&["K_SERVICE"]);
    if project.is_some() || service.is_some() {
        return vec![
            ("cloud.provider", text("gcp")),
            ("cloud.account.id", project.clone()),
            ("gcp.project.id", project),
            (
                "cloud.region",
                get(&["GOOGLE_CLOUD_REGION", "FUNCTION_REGION", "CLOUD_RUN_REGION"]),
            ),
            ("faas.name", service),
            ("faas.version", get(&["K_REVISION"])),
        ];
    }
    if let Some(group) = get(&["AZURE_RESOURCE_GROUP", "WEBSITE_RESOURCE_GROUP"]) {
        return vec![
            ("cloud.provider", text("azure")),
            ("azure.resource_group", Some(group)),
            ("cloud.region", get(&["REGION_NAME", "AZURE_REGION"])),
            ("faas.name", get(&["WEBSITE_SITE_NAME"])),
        ];
    }
    if aws_region.is_some() {
        return vec![
            ("cloud.provider", text("aws")),
            ("cloud.region", aws_region),
        ];
    }
    Vec::new()
}

/// A field of `os-release`.
fn release_field(content: &str, name: &str) -> Option<String> {
    let line = content
        .lines()
        .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    let value = line.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// The id of the container this process runs in, from what the kernel says of its groups and mounts: 64 hexadecimal
/// digits, which only container runtimes put there.
fn container_id(cgroup: &str, mountinfo: &str) -> Option<String> {
    let id = |text: &str| {
        let parts = text.split(|c: char| !c.is_ascii_hexdigit());
        let mut ids = parts.filter(|part| part.len() == 64);
        ids.next().map(str::to_owned)
    };
    let of_mounts = mountinfo.lines().filter(|line| {
        line.contains("/containers/")
            && ["hostname", "resolv.conf"]
                .iter()
                .any(|end| line.contains(end))
    });
    cgroup
        .lines()
        .find_map(id)
        .or_else(|| of_mounts.into_iter().find_map(id))
}

fn executable() -> Option<PathBuf> {
    std::env::args_os().next().map(PathBuf::from)
}

fn executable_name() -> Option<String> {
    let name = executable()?.file_name()?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

/// The name of the running program: what a service or a session is called when nobody named it.
pub(crate) fn program_name() -> String {
    let stem = executable().and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
    stem.filter(|stem| !stem.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests;
