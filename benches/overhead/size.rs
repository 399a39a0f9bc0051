//! What the crate adds to a program: to its size, and to the time it takes to build.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::Options;
use crate::page;

/// Features are built one after the other into one folder, so the time of each is that of what is new.
const FEATURES: [&str; 8] = [
    "", "rustls", "testing", "lambda", "spool", "api", "server", "cli",
];

const PROGRAM: &str = r#"
use tracing_subscriber::prelude::*;

fn main() {
    LAYER
    tracing::info_span!("work").in_scope(|| {});
}
"#;

pub(crate) fn report(options: &Options) {
    let folder = page::root().join("target/size");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("src")).expect("a folder");
    let mut text = "| program | size, KiB | more than without, KiB | time to build, s |\n|---|---:|---:|---:|\n".to_owned();
    let (base, seconds) = build(&folder, None);
    let _ = writeln!(
        text,
        "| `tracing` and `tracing-subscriber` alone | {base} | | {seconds:.0} |"
    );
    let mut default = base;
    for feature in FEATURES {
        eprint!("\rsize: {feature:<10}");
        let (size, seconds) = build(&folder, Some(feature));
        if feature.is_empty() {
            default = size;
            let _ = writeln!(
                text,
                "| with honeyhive, no features | {size} | {} | + {seconds:.0} |",
                size - base
            );
        } else if feature == "rustls" {
            default = size;
            let _ = writeln!(
                text,
                "| with honeyhive, default features (`rustls`) | {size} | {} | + {seconds:.0} |",
                size - base
            );
        } else {
            let more = size - default;
            let _ = writeln!(
                text,
                "| default and `{feature}` | {size} | {} (the feature: {more}) | + {seconds:.0} |",
                size - base
            );
        }
    }
    eprintln!();
    let _ = writeln!(
        text,
        "\nRelease profile, stripped, otherwise as Cargo has it. Times add up: each row builds only what the rows above \
         have not. What a program does not call is not linked, so `server`, `api` and `cli` show what comes along, not \
         what using them costs."
    );
    options.page.part("size", &text);
}

fn build(folder: &Path, feature: Option<&str>) -> (i64, f64) {
    let (dependency, layer) = match feature {
        None => (String::new(), "tracing_subscriber::registry().init();"),
        Some(feature) => {
            let mut features = vec!["\"rustls\""; usize::from(!feature.is_empty())];
            let own = format!("\"{feature}\"");
            if !["", "rustls"].contains(&feature) {
                features.push(&own);
            }
            let root = page::root();
            (
                format!(
                    "honeyhive = {{ path = {:?}, default-features = false, features = [{}] }}\n",
                    root.display().to_string(),
                    features.join(", ")
                ),
                "let honeyhive = honeyhive::HoneyHive::from_env().unwrap();
    tracing_subscriber::registry().with(honeyhive.layer()).init();",
            )
        }
    };
    let manifest = format!(
        "[package]\nname = \"size\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependency}\
         tracing = \"0.1\"\ntracing-subscriber = {{ version = \"0.3\", default-features = false, features = [\"registry\", \"std\"] }}\n\n\
         [profile.release]\nstrip = true\n\n[workspace]\n"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).expect("a manifest");
    std::fs::write(folder.join("src/main.rs"), PROGRAM.replace("LAYER", layer)).expect("a program");
    // The versions this package is tested with.
    let _ = std::fs::copy(page::root().join("Cargo.lock"), folder.join("Cargo.lock"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let start = Instant::now();
    let done = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder.join("target"))
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "the program with {feature:?} builds"
    );
    let seconds = start.elapsed().as_secs_f64();
    let program = folder.join("target/release/size");
    let size = std::fs::metadata(program).expect("the program").len();
    ((size / 1024) as i64, seconds)
}
