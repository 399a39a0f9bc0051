//! The direction of dependencies between modules: what may import what, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A module and the modules it may import besides itself and the ground floor.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("sync", &[]),
    ("id", &[]),
    ("fork", &[]),
    ("clock", &[]),
    ("log", &[]),
    ("event", &[]),
    ("redact", &[]),
    ("sample", &[]),
    ("context", &["event"]),
    ("config", &[]),
    ("environment", &["config"]),
    ("resource", &["config"]),
    (
        "export",
        &[
            "config",
            "environment",
            "resource",
            "event",
            "redact",
            "sample",
        ],
    ),
    ("layer", &["config", "event", "sample", "context", "export"]),
    ("registry", &["config", "environment", "export"]),
    (
        "lifecycle",
        &[
            "config",
            "environment",
            "resource",
            "layer",
            "export",
            "registry",
        ],
    ),
    ("panic", &["export", "registry"]),
    ("signal", &["lifecycle", "registry", "export"]),
    ("lambda", &["lifecycle", "registry"]),
    (
        "propagation",
        &[
            "layer",
            "lifecycle",
            "session",
            "event",
            "context",
            "sample",
        ],
    ),
    (
        "enrich",
        &[
            "layer",
            "lifecycle",
            "registry",
            "event",
            "context",
            "propagation",
        ],
    ),
    (
        "session",
        &[
            "layer",
            "lifecycle",
            "registry",
            "event",
            "context",
            "enrich",
        ],
    ),
    (
        "events",
        &[
            "layer",
            "lifecycle",
            "registry",
            "event",
            "context",
            "enrich",
            "session",
        ],
    ),
    ("testing", &["config", "lifecycle", "export"]),
    // Of `export` only the rules of retries and how a connection is made; of `lifecycle` only the instance it belongs to.
    ("api", &["config", "export", "lifecycle"]),
    ("server", &["event", "export"]),
    ("cli", &["server", "config"]),
];

/// Whatever may be imported by all.
const GROUND: &[&str] = &["error", "sync", "id", "clock", "fork", "log"];

#[test]
fn imports_go_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut breaches = Vec::new();
    let mut modules = BTreeSet::new();
    for file in sources(&root) {
        let relative = file.strip_prefix(&root).expect("below src");
        let first = relative.components().next().expect("a name");
        let module = Path::new(first.as_os_str())
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a module");
        if matches!(module, "lib" | "bin") {
            continue;
        }
        modules.insert(module.to_owned());
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            breaches.push(format!("{module} is not in the table"));
            continue;
        };
        let text = fs::read_to_string(&file).expect("a source file");
        // Tests at the end of a file, and doc comments, may use whatever the public surface has.
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for used in line.split("crate::").skip(1) {
                for imported in names(used) {
                    let known = MAY_IMPORT.iter().any(|(name, _)| *name == imported);
                    let fine = imported == module
                        || GROUND.contains(&imported)
                        || allowed.contains(&imported);
                    if known && !fine {
                        breaches.push(format!("{}: {}", relative.display(), line.trim()));
                    }
                }
            }
        }
    }
    assert!(
        breaches.is_empty(),
        "forbidden imports:\n{}",
        breaches.join("\n")
    );
    let named: BTreeSet<String> = MAY_IMPORT
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(modules, named, "the table names modules that are not there");
}

/// `a::b` names `a`; `{a, b::c}` names both.
fn names(used: &str) -> Vec<&str> {
    let end = |text: &str| {
        text.find(|character: char| !character.is_alphanumeric() && character != '_')
            .unwrap_or(text.len())
    };
    match used.strip_prefix('{') {
        Some(list) => list
            .split('}')
            .next()
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .map(|item| &item[..end(item)])
            .collect(),
        None => vec![&used[..end(used)]],
    }
}

fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The page on reliability names tests; whoever renames one is to see it there.
#[test]
fn the_page_on_reliability_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for file in [root.join("src"), root.join("tests")]
        .iter()
        .flat_map(|folder| sources(folder))
    {
        let text = fs::read_to_string(&file).expect("a source file");
        for found in text.split("fn ").skip(1) {
            tests.insert(names(found)[0].to_owned());
        }
    }
    let page = fs::read_to_string(root.join("src/docs/reliability.md")).expect("the page");
    let (_, table) = page.split_once("| # | scenario ").expect("the table");
    let named: Vec<&str> = table
        .lines()
        .filter_map(|row| row.split('|').nth(4))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('_') && !name.contains(['/', '.']))
        .collect();
    let gone: Vec<&&str> = named
        .iter()
        .filter(|name| !tests.contains(**name))
        .collect();
    assert!(named.len() > 60, "{named:?}");
    assert!(gone.is_empty(), "no such tests: {gone:?}");
}
