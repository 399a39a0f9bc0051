//! Where settings outside the code are found: the environment, `.env`, `honeyhive.toml`. Knows nothing of precedence.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Field;
use super::Usual;
use super::known::{self, CONFIG_FILE};
use super::spelling;
use super::value::{Kind, Value};
use crate::Error;

const DOT_ENV: &str = ".env";
const CONFIG: &str = "honeyhive.toml";

/// Everything outside the code that settings are read from, as it was at one moment.
///
/// The environment of the process is read and never changed.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    pub(crate) environment: BTreeMap<OsString, OsString>,
    pub(crate) dotenv: Option<DotEnv>,
    pub(crate) file: Option<File>,
    /// What the numbers of delivery are when nobody sets them: the environment's strategy knows.
    pub(crate) usual: Usual,
}

/// A `.env` file that was read.
#[derive(Clone, Default)]
pub(crate) struct DotEnv {
    pub(crate) path: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
    /// Variables of ours in lines that could not be understood.
    pub(crate) broken: Vec<String>,
    /// Why the file as a whole could not be read.
    pub(crate) unreadable: Option<String>,
}

/// A `honeyhive.toml`.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// Whether `HH_CONFIG_FILE` asked for it.
    pub(crate) named: bool,
    /// The text, or why there is none.
    pub(crate) content: Result<String, String>,
}

impl Sources {
    /// Reads the environment of the process and the files that its working directory leads to.
    pub(crate) fn discover() -> Self {
        Self::find(
            std::env::vars_os().collect(),
            std::env::current_dir().ok().as_deref(),
        )
    }

    /// The environment of the process, without files.
    pub(crate) fn process() -> Self {
        Self {
            environment: std::env::vars_os().collect(),
            ..Self::default()
        }
    }

    /// Finds the files, starting from `directory`.
    pub(crate) fn find(
        environment: BTreeMap<OsString, OsString>,
        directory: Option<&Path>,
    ) -> Self {
        let mut sources = Self {
            environment,
            ..Self::default()
        };
        sources.dotenv = nearest(directory, DOT_ENV).map(|path| match read(&path) {
            Ok(content) => DotEnv::parse(path, &content),
            Err(unreadable) => DotEnv {
                path,
                unreadable: Some(unreadable),
                ..DotEnv::default()
            },
        });
        let named = sources.named_file(directory);
        sources.file = named
            .clone()
            .or_else(|| nearest(directory, CONFIG))
            .map(|path| File {
                content: read(&path),
                path,
                named: named.is_some(),
            });
        sources
    }

    /// The file that `HH_CONFIG_FILE` names: relative to the working directory, or to the `.env` that says so.
    fn named_file(&self, directory: Option<&Path>) -> Option<PathBuf> {
        let blank = |path: &OsStr| path.to_string_lossy().trim().is_empty();
        if let Some(path) = self.environment.get(OsStr::new(CONFIG_FILE))
            && !blank(path)
        {
            let directory = directory.unwrap_or(Path::new(""));
            return Some(directory.join(path));
        }
        let dotenv = self.dotenv.as_ref()?;
        let path = dotenv.variables.get(CONFIG_FILE)?.trim();
        let directory = dotenv.path.parent()?;
        (!path.is_empty()).then(|| directory.join(path))
    }

    /// A variable as detection asks for it: the environment first, then `.env` if the variable is ours.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        if let Some(value) = self.environment.get(OsStr::new(name)) {
            return Some(value.to_string_lossy().into_owned());
        }
        if !known::is_known(name) {
            return None;
        }
        self.dotenv.as_ref()?.variables.get(name).cloned()
    }

    /// The same with other numbers for what nobody sets.
    #[must_use]
    pub(crate) fn with_usual(mut self, usual: Usual) -> Self {
        self.usual = usual;
        self
    }

    /// The file whose changes are taken over: the one that was read, or would have been.
    pub(crate) fn watched(&self) -> Option<File> {
        if let Some(file) = &self.file {
            return Some(file.clone());
        }
        let directory = std::env::current_dir().ok()?;
        Some(File {
            path: directory.join(CONFIG),
            named: false,
            content: Err("it was not there".to_owned()),
        })
    }
}

/// The nearest file of that name, in the directory or above it, but not above the repository. Outside of a
/// repository only the directory itself counts: what lies in `/tmp` or `/` is anybody's.
fn nearest(directory: Option<&Path>, name: &str) -> Option<PathBuf> {
    let directory = directory?;
    let inside = directory
        .ancestors()
        .position(|ancestor| ancestor.join(".git").exists())
        .unwrap_or(0);
    directory
        .ancestors()
        .take(inside.saturating_add(1))
        .map(|ancestor| ancestor.join(name))
        .find(|path| path.is_file())
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    // A pipe or a device may never end.
    if path.exists() && !path.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn without_mark(content: &str) -> &str {
    content.strip_prefix('\u{feff}').unwrap_or(content)
}

impl DotEnv {
    /// Reads what can be read; of a variable that is there twice the last one counts, as in a shell.
    ///
    /// Own code, since the libraries for this put variables of the process into values, refuse values with spaces
    /// without a word on which line, and lose all that follows a stray quote in a line that is none of ours.
    pub(crate) fn parse(path: PathBuf, content: &str) -> Self {
        let mut parsed = Self {
            path,
            ..Self::default()
        };
        let mut rest = without_mark(content);
        while !rest.is_empty() {
            let (line, next) = first_line(rest);
            let assignment = rest;
            rest = next;
            if !line.contains('=') {
                continue;
            }
            // The value with everything after it: a quoted one may span lines.
            let Some((name, text)) = assignment.split_once('=') else {
                continue;
            };
            let Some(name) = variable(name) else { continue };
            match value(text) {
                Some((value, after)) => {
                    parsed.variables.insert(name.to_owned(), value);
                    rest = after;
                }
                None if known::is_known(name) => parsed.broken.push(name.to_owned()),
                None => {}
            }
        }
        parsed
    }
}

fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// The name before a `=`, if the line is an assignment at all.
fn variable(text: &str) -> Option<&str> {
    let text = text.trim();
    let name = match text.strip_prefix("export") {
        Some(name) if name.starts_with([' ', '\t']) => name.trim_start(),
        _ => text,
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    (!name.is_empty() && name.bytes().all(fits)).then_some(name)
}

/// The value at the start of `text`, and what follows its last line; `None` when its quotes are not in order.
fn value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let Some(quote) = text
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))
    else {
        let (line, rest) = first_line(text);
        // A `#` begins a comment only after a space: it is part of colours, anchors and keys.
        let comment = line
            .match_indices('#')
            .map(|(index, _)| index)
            .find(|&index| {
                line.get(..index)
                    .is_some_and(|left| left.is_empty() || left.ends_with([' ', '\t']))
            });
        let value = line.get(..comment.unwrap_or(line.len()))?;
        return Some((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    let end = loop {
        match characters.next()? {
            (index, character) if character == quote => break index,
            (_, '\\') if quote == '"' => value.push(match characters.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            }),
            (_, character) => value.push(character),
        }
    };
    let (tail, rest) = first_line(text.get(end..)?.get(1..)?);
    let tail = tail.trim();
    (tail.is_empty() || tail.starts_with('#')).then_some((value, rest))
}

/// A value of a `honeyhive.toml` that has the wrong type for its field.
pub(crate) struct WrongType {
    pub(crate) found: &'static str,
}

pub(crate) type Settings = Vec<(Field, Result<Value, WrongType>)>;

/// The settings in a file, and what is wrong with the names of the others.
pub(crate) fn settings(path: &Path, content: &str) -> Result<(Settings, Vec<String>), Error> {
    let content = without_mark(content);
    let table: toml::Table = content.parse().map_err(|error: toml::de::Error| {
        // The error prints the line it is about, which may hold a key: only its position is passed on.
        let line = error.span().map_or(1, |span| {
            let before = content.as_bytes().get(..span.start).unwrap_or_default();
            before.iter().filter(|&&byte| byte == b'\n').count() + 1
        });
        Error::config(format!("{}: line {line} is not TOML", path.display()))
    })?;
    let mut settings = Vec::with_capacity(table.len());
    let mut unknown = Vec::new();
    for (key, value) in table {
        let Some(field) = Field::named(&key) else {
            let names = Field::ALL.iter().map(|field| field.name());
            let advice = match spelling::nearest(&key, names) {
                Some(name) => format!("; did you mean `{name}`?"),
                None => String::new(),
            };
            let key: String = key.chars().take(64).collect();
            unknown.push(format!(
                "{}: unknown setting `{}`{advice}",
                path.display(),
                key.escape_debug()
            ));
            continue;
        };
        settings.push((field, typed(field, value)));
    }
    Ok((settings, unknown))
}

fn typed(field: Field, value: toml::Value) -> Result<Value, WrongType> {
    let kind = field.row().map_or(Kind::Text, |row| row.kind);
    let wrong = |found| WrongType { found };
    Ok(match (kind, value) {
        (_, toml::Value::String(text)) => Value::Text(text),
        (Kind::Flag, toml::Value::Boolean(flag)) => Value::Flag(flag),
        (Kind::Number { .. } | Kind::Bytes { .. }, toml::Value::Integer(number)) => {
            Value::Number(u64::try_from(number).map_err(|_| wrong("a negative number"))?)
        }
        (Kind::Time { .. }, toml::Value::Integer(seconds)) => Value::Time(Duration::from_secs(
            u64::try_from(seconds).map_err(|_| wrong("a negative number"))?,
        )),
        (Kind::Time { .. }, toml::Value::Float(seconds)) => Value::Time(
            Duration::try_from_secs_f64(seconds).map_err(|_| wrong("an impossible number"))?,
        ),
        (Kind::Rate, toml::Value::Float(rate)) => Value::Rate(rate),
        (Kind::Rate, toml::Value::Integer(rate)) => Value::Text(rate.to_string()),
        (Kind::NameFilters, toml::Value::Table(table)) => {
            Value::Text(serde_json::to_string(&table).unwrap_or_default())
        }
        (Kind::Headers, toml::Value::Table(table)) => Value::Headers(
            table
                .into_iter()
                .map(|(name, value)| match value {
                    toml::Value::String(value) => Ok((name, value)),
                    toml::Value::Integer(value) => Ok((name, value.to_string())),
                    _ => Err(wrong(
                        "a table with a value that is neither text nor a number",
                    )),
                })
                .collect::<Result<_, _>>()?,
        ),
        (Kind::Object, toml::Value::Table(table)) => Value::Text(
            serde_json::to_string(&table).map_err(|_| wrong("a table that is not JSON"))?,
        ),
        (_, toml::Value::Integer(_)) => return Err(wrong("an integer")),
        (_, toml::Value::Float(_)) => return Err(wrong("a float")),
        (_, toml::Value::Boolean(_)) => return Err(wrong("a boolean")),
        (_, toml::Value::Datetime(_)) => return Err(wrong("a date")),
        (_, toml::Value::Array(_)) => return Err(wrong("an array")),
        (_, toml::Value::Table(_)) => return Err(wrong("a table")),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(content: &str) -> DotEnv {
        DotEnv::parse(PathBuf::from("/x/.env"), content)
    }

    #[test]
    fn quirks_of_env_files() {
        for (content, expected) in [
            ("A=b", &[("A", "b")][..]),
            ("\u{feff}A=b\r\nC=d\r\n", &[("A", "b"), ("C", "d")]),
            ("# A=b\n\n  # C=d\nnothing\n=x\nA b=c\n", &[]),
            (
                "export A = b \nexport\tC=d\nexport=e",
                &[("A", "b"), ("C", "d"), ("export", "e")],
            ),
            (
                "A=two words # why\nC=#none\nD=a#b",
                &[("A", "two words"), ("C", ""), ("D", "a#b")],
            ),
            (
                "A='two words' # why\nC=\"it's\"\nD=it's",
                &[("A", "two words"), ("C", "it's"), ("D", "it's")],
            ),
            (r#"A="a\nb\"c\\d\$e""#, &[("A", "a\nb\"c\\d$e")]),
            (r"A='a\nb'", &[("A", r"a\nb")]),
            ("A=$HOME ${HOME}", &[("A", "$HOME ${HOME}")]),
            (
                "A=\"one\ntwo=3\r\n\"\nC=d",
                &[("A", "one\ntwo=3\r\n"), ("C", "d")],
            ),
            ("A=b\nA=c", &[("A", "c")]),
            ("A=\nC=", &[("A", ""), ("C", "")]),
            ("A=b=c", &[("A", "b=c")]),
            ("Ä=b\nA=ä", &[("A", "ä")]),
            // A quote that is not closed spoils its own line only.
            ("A='b\nC=d", &[("C", "d")]),
            ("A=\"b\nC=\"d\"", &[("C", "d")]),
            ("A=\"b\\", &[]),
        ] {
            let expected = expected
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()));
            let parsed = parse(content);
            assert_eq!(parsed.variables, expected.collect(), "{content:?}");
            assert!(parsed.broken.is_empty());
        }
    }

    #[test]
    fn only_our_own_broken_lines_are_named() {
        let parsed = parse("THEIRS='a\nHH_SOURCE='b\nHH_VERBOSE=\"1\"x\nHH_FILTER=info\n");
        assert_eq!(parsed.broken, ["HH_SOURCE", "HH_VERBOSE"]);
        assert_eq!(parsed.variables.len(), 1);
    }

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        pairs
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn the_nearest_files_of_the_repository_are_found() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path();
        let repository = outside.join("repository");
        let inner = repository.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(outside.join(".env"), "HH_SOURCE=outside").unwrap();
        fs::write(outside.join(CONFIG), "source = 'outside'").unwrap();

        // Not in a repository: this directory only.
        let found = Sources::find(env(&[]), Some(&inner));
        assert!(found.dotenv.is_none() && found.file.is_none());
        let found = Sources::find(env(&[]), Some(outside));
        assert_eq!(found.dotenv.unwrap().path, outside.join(".env"));

        fs::create_dir(repository.join(".git")).unwrap();
        let found = Sources::find(env(&[]), Some(&inner));
        assert!(found.dotenv.is_none() && found.file.is_none());

        fs::write(repository.join(".env"), "HH_SOURCE=repository").unwrap();
        fs::write(repository.join(CONFIG), "source = 'repository'").unwrap();
        // A virtual environment of Python's is a directory of that name.
        fs::create_dir(inner.join(".env")).unwrap();
        let found = Sources::find(env(&[]), Some(&inner));
        assert_eq!(found.dotenv.unwrap().path, repository.join(".env"));
        assert_eq!(found.file.unwrap().path, repository.join(CONFIG));

        fs::write(repository.join("a/.env"), "HH_SOURCE=a").unwrap();
        let found = Sources::find(env(&[]), Some(&inner));
        assert_eq!(found.variable("HH_SOURCE").as_deref(), Some("a"));

        let found = Sources::find(env(&[]), None);
        assert!(found.dotenv.is_none() && found.file.is_none());
    }

    #[test]
    fn a_named_file_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path();
        fs::write(directory.join(CONFIG), "").unwrap();
        fs::write(directory.join("other.toml"), "source = 'x'").unwrap();
        fs::write(directory.join(".env"), "HH_CONFIG_FILE=third.toml").unwrap();
        let named = |name: &str| {
            let found = Sources::find(env(&[(CONFIG_FILE, name)]), Some(directory));
            found.file.unwrap()
        };
        let file = named("other.toml");
        assert_eq!(file.content.as_deref(), Ok("source = 'x'"));
        assert!(named("missing.toml").content.is_err());
        assert_eq!(named(".").content, Err("it is no regular file".to_owned()));
        // Blank is unset: `.env` is asked.
        assert_eq!(named(" ").path, directory.join("third.toml"));
    }

    #[test]
    fn the_process_is_read() {
        let found = Sources::discover();
        let path = std::env::var_os("PATH").map(|path| path.to_string_lossy().into_owned());
        assert_eq!(found.variable("PATH"), path);
    }

    #[test]
    fn detection_reads_only_our_own_variables_from_env_files() {
        let mut sources = Sources {
            dotenv: Some(parse("HH_HIGH_CONCURRENCY=1\nAWS_REGION=x\n")),
            ..Sources::default()
        };
        assert_eq!(
            sources.variable("HH_HIGH_CONCURRENCY").as_deref(),
            Some("1")
        );
        assert_eq!(sources.variable("AWS_REGION"), None);
        sources.environment = env(&[("HH_HIGH_CONCURRENCY", "0")]);
        assert_eq!(
            sources.variable("HH_HIGH_CONCURRENCY").as_deref(),
            Some("0")
        );
    }
}
