//! Notes the version of the compiler, which becomes the resource attribute `process.runtime.version`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(rustc) = std::env::var_os("RUSTC") else {
        return;
    };
    let Ok(output) = Command::new(rustc).arg("--version").output() else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(version) = text.split_whitespace().nth(1) {
        println!("cargo::rustc-env=BUILT_BY_RUSTC={version}");
    }
}
