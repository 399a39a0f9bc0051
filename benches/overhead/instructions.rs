//! Instructions and allocations, from the bench `gates`: it counts with an allocator that would slow the others here.

use std::process::Command;

use crate::Options;
use crate::page;

pub(crate) fn report(options: &Options) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--quiet", "--bench", "gates", "--", "--table"])
        .current_dir(page::root())
        .output()
        .expect("cargo");
    if output.status.success() {
        options
            .page
            .part("instructions", &String::from_utf8_lossy(&output.stdout));
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        options.failed(format!("the bench `gates` does not run: {errors}"));
    }
}
