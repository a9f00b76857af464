//! The program `serverv2`; see [`serverv2::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    serverv2::cli::main()
}
