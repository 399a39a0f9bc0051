//! What is known of the process: the resource of exported spans. Detected once, on the worker's thread.

use crate::config::Config;

/// The value of an attribute of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
}

/// The attributes of the resource.
pub(crate) fn detect(config: &Config) -> Vec<(&'static str, Value)> {
    let mut attributes = Vec::new();
    let mut put = |name: &'static str, value: String| {
        if !value.is_empty() {
            attributes.push((name, Value::Text(value)));
        }
    };
    put(
        "service.name",
        config.service_name.clone().unwrap_or_else(program_name),
    );
    put(
        "service.version",
        config.service_version.clone().unwrap_or_default(),
    );
    put("service.instance.id", uuid::Uuid::new_v4().to_string());
    put("telemetry.sdk.name", "honeyhive".to_owned());
    put("telemetry.sdk.language", "rust".to_owned());
    put(
        "telemetry.sdk.version",
        env!("CARGO_PKG_VERSION").to_owned(),
    );
    put("process.runtime.name", "rust".to_owned());
    put("os.type", std::env::consts::OS.to_owned());
    put("host.arch", std::env::consts::ARCH.to_owned());
    put("host.name", host_name());
    attributes.push(("process.pid", Value::Int(i64::from(std::process::id()))));
    attributes
}

/// The name of the running program: what a service or a session is called when nobody named it.
pub(crate) fn program_name() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let stem = path
        .as_deref()
        .and_then(std::path::Path::file_stem)
        .map(|stem| stem.to_string_lossy().into_owned());
    stem.filter(|stem| !stem.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}
