//! The command `hh dev`, as a process.
#![cfg(all(feature = "cli", unix))]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn dev(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hh"));
    command
        .arg("dev")
        .args(arguments)
        .env("XDG_DATA_HOME", data)
        .env_remove("HH_DEV_HOST")
        .env_remove("HH_DEV_PORT")
        .env_remove("HH_DEV_DB")
        .env_remove("HH_DEV_ALLOW_HOST")
        .env_remove("HH_DEV_REQUIRE_KEY")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The address that the command prints once it answers.
fn address(child: &mut Child) -> String {
    let mut line = String::new();
    let out = child.stdout.as_mut().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    let rest = line
        .split("http://")
        .nth(1)
        .unwrap_or_else(|| panic!("{line:?}"));
    rest.split_whitespace().next().unwrap().to_owned()
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn it_serves_until_it_is_told_to_stop() {
    let data = tempfile::tempdir().unwrap();
    for name in ["INT", "TERM"] {
        let mut child = dev(&["--port", "0"], data.path()).spawn().unwrap();
        let address = address(&mut child);
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        signal(&child, name);
        assert!(child.wait().unwrap().success(), "{name}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data.path().join("honeyhive")), 0o700);
    assert_eq!(mode(&data.path().join("honeyhive/traces.db")), 0o600);
}

#[test]
fn it_asks_for_the_key_it_is_given_and_never_shows_it() {
    let data = tempfile::tempdir().unwrap();
    let mut child = dev(&["--port", "0"], data.path())
        .env("HH_DEV_REQUIRE_KEY", "hh_secret")
        .spawn()
        .unwrap();
    let address = address(&mut child);
    for (header, status) in [("", "401"), ("Authorization: Bearer hh_secret\r\n", "200")] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let head = format!("Host: {address}\r\n{header}Connection: close");
        write!(stream, "GET /v1/runs HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(!answer.contains("hh_secret"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let help = dev(&["--help"], data.path())
        .env("HH_DEV_REQUIRE_KEY", "hh_secret")
        .output()
        .unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.contains("--require-key") && !help.contains("hh_secret"),
        "{help}"
    );
}

#[test]
fn what_was_answered_survives_its_death() {
    let data = tempfile::tempdir().unwrap();
    let ask = |address: &str, request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    };
    let mut child = dev(&["--port", "0"], data.path()).spawn().unwrap();
    let host = address(&mut child);
    let body = r#"{"event": {"event_name": "the last words", "event_type": "tool"}}"#;
    let head = format!(
        "Host: {host}\r\nConnection: close\r\nContent-Length: {}",
        body.len()
    );
    ask(
        &host,
        &format!("POST /events HTTP/1.1\r\n{head}\r\n\r\n{body}"),
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = dev(&["--port", "0"], data.path()).spawn().unwrap();
    let host = address(&mut child);
    let page = ask(
        &host,
        &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
    );
    assert!(page.contains("the last words"));
    signal(&child, "TERM");
    child.wait().unwrap();
}

#[test]
fn what_hinders_it_is_said_in_a_line() {
    let data = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let notes = data.path().join("notes.txt");
    std::fs::write(&notes, "not a database, not at all".repeat(100)).unwrap();
    let notes = notes.to_str().unwrap();
    for (arguments, said) in [
        (vec!["--port", &port], "is in use by another program"),
        (vec!["--port", "0", "--db", notes], "is not a database"),
        (
            vec!["--port", "0", "--db", "/no/such/folder/x.db"],
            "the folder of",
        ),
        (
            vec!["--port", "0", "--host", "203.0.113.7"],
            "not an address of this machine",
        ),
    ] {
        let output = dev(&arguments, data.path()).output().unwrap();
        assert!(!output.status.success());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("hh: ") && told.contains(said), "{told}");
    }
}

#[test]
fn a_host_beyond_loopback_is_warned_of() {
    let data = tempfile::tempdir().unwrap();
    let mut child = dev(&["--port", "0", "--host", "0.0.0.0"], data.path())
        .spawn()
        .unwrap();
    assert!(address(&mut child).starts_with("127.0.0.1:"));
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("open to others"), "{told}");
}

#[test]
fn a_name_that_was_allowed_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let mut child = dev(&["--port", "0", "--allow-host", "hh"], data.path())
        .env("HH_DEV_ALLOW_HOST", "other")
        .spawn()
        .unwrap();
    let address = address(&mut child);
    let status = |host: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("hh:4318"), "200");
    // The argument takes the variable's place, as everywhere.
    assert_eq!(status("other"), "403");
    signal(&child, "TERM");
    child.wait().unwrap();
}
