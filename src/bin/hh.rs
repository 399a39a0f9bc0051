//! The command `hh`.

fn main() -> std::process::ExitCode {
    honeyhive::cli::run()
}
