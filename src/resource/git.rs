//! The commit a program runs from: what a build server says of it, else what `git` says, else what its files say. Knows
//! nothing of who asks.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{Attribute, Files, Value, Variables, first};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) commit: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) dirty: Option<bool>,
    pub(super) repository: Option<String>,
}

/// Variables of build servers and platforms.
const COMMIT: &[&str] = &[
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "GIT_COMMIT",
    "CIRCLE_SHA1",
    "BUILDKITE_COMMIT",
    "TRAVIS_COMMIT",
    "BITBUCKET_COMMIT",
    "BUILD_SOURCEVERSION",
    "DRONE_COMMIT_SHA",
    "CODEBUILD_RESOLVED_SOURCE_VERSION",
    "VERCEL_GIT_COMMIT_SHA",
    "RENDER_GIT_COMMIT",
    "HEROKU_SLUG_COMMIT",
];
const BRANCH: &[&str] = &[
    "GITHUB_HEAD_REF",
    "GITHUB_REF_NAME",
    "CI_COMMIT_REF_NAME",
    "GIT_BRANCH",
    "CIRCLE_BRANCH",
    "BUILDKITE_BRANCH",
    "TRAVIS_BRANCH",
    "BITBUCKET_BRANCH",
    "BUILD_SOURCEBRANCHNAME",
    "DRONE_COMMIT_BRANCH",
    "VERCEL_GIT_COMMIT_REF",
    "RENDER_GIT_BRANCH",
];
const REPOSITORY: &[&str] = &[
    "CI_REPOSITORY_URL",
    "GIT_URL",
    "CIRCLE_REPOSITORY_URL",
    "BUILDKITE_REPO",
    "BITBUCKET_GIT_HTTP_ORIGIN",
    "BUILD_REPOSITORY_URI",
    "DRONE_GIT_HTTP_URL",
    "CODEBUILD_SOURCE_REPO_URL",
];

pub(super) fn detect(
    variable: Variables<'_>,
    read: Files<'_>,
    directory: Option<&Path>,
    limit: Duration,
) -> Vec<Attribute> {
    let mut found = of_build_server(variable);
    if found.commit.is_none()
        && let Some(place) = directory.and_then(|directory| Place::find(directory, read))
    {
        found = of_command(&place.work_tree, limit).unwrap_or_else(|| place.head(read));
        found.repository = place.repository(read);
    }
    attributes(found)
}

fn attributes(found: Found) -> Vec<Attribute> {
    let texts = [
        ("git.commit", found.commit),
        ("git.branch", found.branch),
        ("git.repository", found.repository),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(name, value)| Some((name.into(), Value::Text(value?))));
    let dirty = found
        .dirty
        .map(|dirty| ("git.dirty".into(), Value::Bool(dirty)));
    texts.chain(dirty).collect()
}

fn of_build_server(variable: Variables<'_>) -> Found {
    let commit = first(variable, COMMIT).filter(|commit| is_commit(commit));
    if commit.is_none() {
        return Found::default();
    }
    let github = || {
        let server = first(variable, &["GITHUB_SERVER_URL"])?;
        let repository = first(variable, &["GITHUB_REPOSITORY"])?;
        Some(format!("{server}/{repository}"))
    };
    let repository = first(variable, REPOSITORY).or_else(github);
    Found {
        commit,
        branch: first(variable, BRANCH),
        dirty: None,
        repository: repository.and_then(|url| without_credentials(&url)),
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 7..=64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Asks the command, which may not be there, refuse or take too long.
fn of_command(work_tree: &Path, limit: Duration) -> Option<Found> {
    // Nothing is written, nothing is asked for, and no program that the repository names is run to watch files.
    let mut child = Command::new("git")
        .args(["--no-optional-locks", "-c", "core.fsmonitor=false"])
        .args(["status", "--porcelain=v2", "--branch"])
        .current_dir(work_tree)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let output = child.stdout.take();
    let (done, wait) = mpsc::sync_channel(1);
    let reading = std::thread::Builder::new()
        .name("honeyhive-git".to_owned())
        .spawn(move || {
            // The first lines tell all; a child that has more to say ends when nobody listens.
            let mut text = Vec::new();
            if let Some(output) = output {
                let _ = output.take(64 * 1024).read_to_end(&mut text);
            }
            let _ = done.send(text);
        });
    let text = reading.ok().and_then(|_| wait.recv_timeout(limit).ok());
    let ended = match text {
        Some(_) => child.wait().ok().is_some_and(|status| {
            // Without a code it was ended because nobody listened.
            status.code().is_none_or(|code| code == 0)
        }),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            false
        }
    };
    let text = text.filter(|_| ended)?;
    Some(parse_status(&String::from_utf8_lossy(&text)))
}

fn parse_status(text: &str) -> Found {
    let mut found = Found {
        dirty: Some(false),
        ..Found::default()
    };
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(commit) = line.strip_prefix("# branch.oid ") {
            found.commit = is_commit(commit).then(|| commit.to_owned());
        } else if let Some(branch) = line.strip_prefix("# branch.head ") {
            found.branch = (branch != "(detached)").then(|| branch.to_owned());
        } else if !line.starts_with('#') {
            found.dirty = Some(true);
        }
    }
    found
}

/// Where the files of a repository lie.
#[derive(Debug)]
struct Place {
    work_tree: PathBuf,
    /// What belongs to this work tree.
    own: PathBuf,
    /// What all work trees of the repository share.
    common: PathBuf,
}

impl Place {
    /// The repository that a directory lies in.
    fn find(directory: &Path, read: Files<'_>) -> Option<Self> {
        directory.ancestors().find_map(|work_tree| {
            let entry = work_tree.join(".git");
            let own = match read(&entry) {
                // A linked work tree, or a submodule.
                Some(text) => work_tree.join(text.trim().strip_prefix("gitdir:")?.trim()),
                None => entry,
            };
            read(&own.join("HEAD"))?;
            let common = match read(&own.join("commondir")) {
                Some(text) => own.join(text.trim()),
                None => own.clone(),
            };
            Some(Self {
                work_tree: work_tree.to_owned(),
                own,
                common,
            })
        })
    }

    /// Commit and branch, by hand.
    fn head(&self, read: Files<'_>) -> Found {
        let head = read(&self.own.join("HEAD")).unwrap_or_default();
        let head = head.trim();
        let Some(name) = head.strip_prefix("ref:").map(str::trim) else {
            return Found {
                commit: is_commit(head).then(|| head.to_owned()),
                ..Found::default()
            };
        };
        let loose = [&self.own, &self.common]
            .into_iter()
            .find_map(|directory| read(&directory.join(name)));
        let packed = || {
            let packed = read(&self.common.join("packed-refs"))?;
            packed.lines().find_map(|line| {
                let (commit, packed) = line.split_once(' ')?;
                (packed.trim() == name).then(|| commit.to_owned())
            })
        };
        let commit = loose.or_else(packed).map(|text| text.trim().to_owned());
        Found {
            commit: commit.filter(|commit| is_commit(commit)),
            branch: name.strip_prefix("refs/heads/").map(str::to_owned),
            ..Found::default()
        }
    }

    /// The address of the remote `origin`.
    fn repository(&self, read: Files<'_>) -> Option<String> {
        let config = read(&self.common.join("config"))?;
        let mut inside = false;
        for line in config.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[remote \"origin\"]";
            } else if inside
                && let Some((name, url)) = line.split_once('=')
                && name.trim().eq_ignore_ascii_case("url")
            {
                return without_credentials(url.trim().trim_matches('"'));
            }
        }
        None
    }
}

/// An address without user and password; nothing where it is a path of this machine or cannot be understood.
pub(super) fn without_credentials(url: &str) -> Option<String> {
    let url = url.trim();
    let Some((scheme, rest)) = url.split_once("://") else {
        // `git@host:path`, or a path.
        let (host, path) = url.split_once(':')?;
        if host.len() < 2 || host.contains(['/', '\\']) || path.contains('@') {
            return None;
        }
        return Some(url.to_owned());
    };
    if scheme.eq_ignore_ascii_case("file") {
        return None;
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest
        .split_once('/')
        .map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    // Part of a password with a slash in it would stand where the host is.
    if host.is_empty() || !(port.bytes().all(|byte| byte.is_ascii_digit()) || host.ends_with(']')) {
        return None;
    }
    Some(match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn no_variables(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn credentials_do_not_leave_the_machine() {
        for (url, expected) in [
            (
                "https://github.com/a/b.git",
                Some("https://github.com/a/b.git"),
            ),
            (
                "https://u:SECRET@github.com/a/b",
                Some("https://github.com/a/b"),
            ),
            (
                "https://SECRET@github.com/a/b",
                Some("https://github.com/a/b"),
            ),
            (
                "https://u:SE@CRET@github.com/a",
                Some("https://github.com/a"),
            ),
            (
                "https://h:8443/a?token=SECRET#SECRET",
                Some("https://h:8443/a"),
            ),
            ("https://u:SEC/RET@github.com/a", None),
            (
                "ssh://git@github.com:22/a/b",
                Some("ssh://github.com:22/a/b"),
            ),
            ("https://u:SECRET@[::1]:80/a", Some("https://[::1]:80/a")),
            ("git@github.com:a/b.git", Some("git@github.com:a/b.git")),
            ("u:SECRET@github.com:a/b.git", None),
            ("/home/someone/SECRET", None),
            ("../SECRET", None),
            ("C:\\SECRET", None),
            ("file:///home/SECRET", None),
            ("https://", None),
            ("", None),
        ] {
            let clean = without_credentials(url);
            assert_eq!(clean.as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn build_servers_are_asked_first() {
        type Case<'a> = (&'a [(&'a str, &'a str)], [Option<&'a str>; 3]);
        let cases: &[Case<'_>] = &[
            (&[], [None, None, None]),
            (&[("GIT_BRANCH", "main")], [None, None, None]),
            (&[("GIT_COMMIT", "not a commit")], [None, None, None]),
            (
                &[
                    ("GITHUB_SHA", COMMIT),
                    ("GITHUB_REF_NAME", "main"),
                    ("GITHUB_SERVER_URL", "https://github.com"),
                    ("GITHUB_REPOSITORY", "a/b"),
                ],
                [Some(COMMIT), Some("main"), Some("https://github.com/a/b")],
            ),
            (
                &[
                    ("CI_COMMIT_SHA", COMMIT),
                    ("CI_COMMIT_REF_NAME", "x/y"),
                    (
                        "CI_REPOSITORY_URL",
                        "https://gitlab-ci-token:SECRET@gitlab.com/a/b.git",
                    ),
                ],
                [
                    Some(COMMIT),
                    Some("x/y"),
                    Some("https://gitlab.com/a/b.git"),
                ],
            ),
        ];
        for (variables, [commit, branch, repository]) in cases {
            let variables: HashMap<_, _> = variables.iter().copied().collect();
            let found = of_build_server(&|name| variables.get(name).map(|&value| value.into()));
            assert_eq!(found.commit.as_deref(), *commit);
            assert_eq!(found.branch.as_deref(), *branch);
            assert_eq!(found.repository.as_deref(), *repository);
        }
    }

    #[test]
    fn files_are_read_by_hand() {
        let config = "[core]\n\turl = no\n[remote \"origin\"]\n\turl = https://u:SECRET@h/a.git\n";
        let packed = format!("# pack-refs with: peeled\n{COMMIT} refs/heads/main\n^{COMMIT}\n");
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (&[("/r/.git/HEAD", COMMIT)], Some(COMMIT), None),
            (
                &[
                    ("/r/.git/HEAD", "ref: refs/heads/main\n"),
                    ("/r/.git/refs/heads/main", COMMIT),
                ],
                Some(COMMIT),
                Some("main"),
            ),
            (
                &[
                    ("/r/.git/HEAD", "ref: refs/heads/main\n"),
                    ("/r/.git/packed-refs", &packed),
                ],
                Some(COMMIT),
                Some("main"),
            ),
            (
                &[
                    ("/r/.git", "gitdir: /main/.git/worktrees/r\n"),
                    ("/main/.git/worktrees/r/HEAD", "ref: refs/heads/topic/x\n"),
                    ("/main/.git/worktrees/r/commondir", "/main/.git\n"),
                    ("/main/.git/refs/heads/topic/x", COMMIT),
                ],
                Some(COMMIT),
                Some("topic/x"),
            ),
            (
                &[("/r/.git/HEAD", "ref: refs/heads/new\n")],
                None,
                Some("new"),
            ),
            (&[("/r/.git/HEAD", "garbage")], None, None),
        ];
        for (files, commit, branch) in cases {
            let files: HashMap<_, _> = files.iter().copied().collect();
            let read = |path: &Path| {
                if path.ends_with(".git/config") {
                    return Some(config.to_owned());
                }
                files.get(path.to_str()?).map(|&text| text.to_owned())
            };
            let place = Place::find(Path::new("/r/a/b"), &read).unwrap();
            let found = place.head(&read);
            assert_eq!(found.commit.as_deref(), *commit, "{files:?}");
            assert_eq!(found.branch.as_deref(), *branch, "{files:?}");
            assert_eq!(place.repository(&read).as_deref(), Some("https://h/a.git"));
        }
        assert!(Place::find(Path::new("/r"), &|_| None).is_none());
    }

    #[test]
    fn the_status_is_understood() {
        let clean = format!("# branch.oid {COMMIT}\n# branch.head main\n# branch.ab +0 -0\n");
        let found = parse_status(&clean);
        assert_eq!(found.commit.as_deref(), Some(COMMIT));
        assert_eq!(found.branch.as_deref(), Some("main"));
        assert_eq!(found.dirty, Some(false));
        assert_eq!(parse_status(&format!("{clean}? new\n")).dirty, Some(true));
        let detached = parse_status("# branch.oid (initial)\n# branch.head (detached)\n");
        assert_eq!((detached.commit, detached.branch), (None, None));
    }

    #[test]
    fn a_real_repository_with_and_without_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.current_dir(directory.path()).args(arguments);
            for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"] {
                command.env(name, "a");
            }
            for name in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
                command.env(name, "a@b.example");
            }
            command.output().is_ok_and(|output| output.status.success())
        };
        if !git(&["init", "-q", "-b", "topic"]) {
            return;
        }
        assert!(git(&["commit", "-q", "--allow-empty", "-m", "x"]));
        assert!(git(&[
            "remote",
            "add",
            "origin",
            "https://u:SECRET@h.example/a.git"
        ]));
        let limit = Duration::from_secs(20);
        let found = detect(
            &no_variables,
            &super::super::read,
            Some(directory.path()),
            limit,
        );
        let get = |name: &str| {
            found
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value)
        };
        assert_eq!(get("git.branch"), Some(&Value::Text("topic".to_owned())));
        assert_eq!(get("git.dirty"), Some(&Value::Bool(false)));
        let url = Value::Text("https://h.example/a.git".to_owned());
        assert_eq!(get("git.repository"), Some(&url));
        let commit = get("git.commit").unwrap();
        // Out of time at once: the files say the same, except whether anything was changed.
        let found = detect(
            &no_variables,
            &super::super::read,
            Some(directory.path()),
            Duration::ZERO,
        );
        assert!(found.contains(&("git.commit".into(), commit.clone())));
        assert!(!found.iter().any(|(name, _)| name == "git.dirty"));
        std::fs::write(directory.path().join("new"), "").unwrap();
        let found = detect(
            &no_variables,
            &super::super::read,
            Some(directory.path()),
            limit,
        );
        assert!(found.contains(&("git.dirty".into(), Value::Bool(true))));
    }
}
