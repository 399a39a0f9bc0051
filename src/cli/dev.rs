//! `hh dev`: the local server in a process of its own.

use crate::Error;
use crate::server::{Builder, Server};
use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Host to listen on; whoever reaches it can read and write everything
    #[arg(long, env = "HH_DEV_HOST", default_value = Builder::DEFAULT_HOST)]
    host: String,

    /// Port to listen on, 0 for any free one
    #[arg(long, env = "HH_DEV_PORT", default_value_t = Builder::DEFAULT_PORT)]
    port: u16,

    /// Name by which others call it, as that of a container; may be given several times
    #[arg(
        long,
        env = "HH_DEV_ALLOW_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    allow_host: Vec<String>,

    /// Key that requests must bring; browsers ask a person for it, as a password
    #[arg(
        long,
        env = "HH_DEV_REQUIRE_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    require_key: Option<String>,

    /// File that keeps everything [default: traces.db in the user's data directory]
    #[arg(long, env = "HH_DEV_DB", value_name = "PATH")]
    db: Option<PathBuf>,
}

/// Without the key.
impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arguments")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("the runtime cannot be started").with_source(error))?;
    // Listened for from the start: a signal that comes early stops the server as soon as it is up.
    let signal = runtime.block_on(async { Signal::listen() })?;
    let path = match &arguments.db {
        Some(path) => path.clone(),
        None => default_database(&|name| std::env::var_os(name))?,
    };
    let key = arguments.require_key.as_deref().unwrap_or_default();
    let server = arguments
        .allow_host
        .iter()
        .fold(Server::builder(), Builder::allow_host)
        .require_key(key)
        .host(arguments.host.as_str())
        .port(arguments.port)
        .database(&path)
        .start()?;
    let mut out = std::io::stdout().lock();
    // Where standard output is closed, the server serves all the same.
    let _ = writeln!(
        out,
        "listening on {}  (database {})",
        server.url(),
        path.display()
    );
    let _ = out.flush();
    drop(out);
    if !server.local_addr().ip().is_loopback() && key.trim().is_empty() {
        let mut err = std::io::stderr().lock();
        let _ = writeln!(
            err,
            "hh: warning: {} is open to others, and the server asks for no key (--require-key): whoever reaches it \
             can read and write everything",
            beyond(server.local_addr().ip())
        );
    }
    runtime.block_on(signal.wait());
    server.shutdown()
}

fn beyond(address: IpAddr) -> String {
    match address.is_unspecified() {
        true => "every address of this machine".to_owned(),
        false => address.to_string(),
    }
}

/// The file where everything is kept unless another is named; its folder is made, for its owner only.
fn default_database(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, Error> {
    let Some(folder) = data_directory(variable) else {
        return Err(Error::io(
            "there is no home directory to keep the database in; name a file with --db",
        ));
    };
    make_private(&folder).map_err(|error| {
        let message = format!(
            "the folder {} cannot be made; name a file with --db",
            folder.display()
        );
        Error::io(message).with_source(error)
    })?;
    Ok(folder.join("traces.db"))
}

fn data_directory(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    if let Some(data) = folder("XDG_DATA_HOME") {
        return Some(data.join("honeyhive"));
    }
    if cfg!(windows) {
        return folder("LOCALAPPDATA").map(|data| data.join("honeyhive"));
    }
    let home = folder("HOME")?;
    let data: &[&str] = if cfg!(target_os = "macos") {
        &["Library", "Application Support"]
    } else {
        &[".local", "share"]
    };
    Some(
        data.iter()
            .fold(home, |path, part| path.join(part))
            .join("honeyhive"),
    )
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// What ends the program: an interrupt from the terminal, or being asked to by another.
struct Signal {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signal {
    #[cfg(unix)]
    fn listen() -> Result<Self, Error> {
        use tokio::signal::unix::{SignalKind, signal};
        let told = |error| Error::io("signals cannot be listened for").with_source(error);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(told)?,
            terminate: signal(SignalKind::terminate()).map_err(told)?,
        })
    }

    #[cfg(not(unix))]
    fn listen() -> Result<Self, Error> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn wait(self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(variables: &[(&str, &str)]) -> Option<PathBuf> {
        data_directory(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_data_directory_follows_the_platform() {
        assert_eq!(
            directory(&[("HOME", "/home/a")]),
            Some("/home/a/.local/share/honeyhive".into())
        );
        assert_eq!(
            directory(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")]),
            Some("/data/honeyhive".into())
        );
        // As the XDG specification has it, a relative path counts as none.
        assert_eq!(
            directory(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "data")]),
            Some("/home/a/.local/share/honeyhive".into())
        );
        assert_eq!(directory(&[]), None);
    }
}
