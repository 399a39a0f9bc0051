//! The command line `hh`: arguments, and what is printed. What the commands do is done elsewhere.

mod dev;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "hh",
    version,
    about = "HoneyHive for Rust, on the command line"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the local server: spans go in, sessions are looked at in a browser
    Dev(dev::Arguments),
}

/// Runs the command that the program's arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Dev(arguments) => dev::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line that says what is wrong, and one for each reason behind it.
fn complain(error: &crate::Error) {
    use std::io::Write as _;
    let mut out = std::io::stderr().lock();
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(out, "hh: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(reason) = source {
        let _ = writeln!(out, "    because: {reason}");
        source = reason.source();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
