//! `reservoir`: the reference host of the engine. One home directory, no root, no daemon needed.

mod apply;
mod cli;
mod commands;
mod durable;
mod home;
mod http;
mod output;
mod progress;
mod schedule;
mod signal;
mod text;

use std::{io::Write as _, process::ExitCode};

use reservoir_apt::Apt;
use reservoir_core::{Error, ErrorKind};
use reservoir_hf::Hf;
use reservoir_pypi::Pypi;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::Cli,
    output::{ErrorOutput, Output},
};

/// Exit status: done, failed, wrong usage, done but incomplete.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::read(&[&Pypi, &Hf, &Apt]);
    let filter = EnvFilter::try_from_env("RESERVOIR_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&cli, &Error::io("start the runtime")(error)),
    };
    let status = runtime.block_on(async {
        match commands::run(&cli).await {
            Ok(status) => ExitCode::from(status),
            Err(error) => fail(&cli, &error),
        }
    });
    // Detached work (a read of standard input, a name look-up) must not keep a finished program alive.
    runtime.shutdown_background();
    status
}

/// Prints a result in the form that was asked for.
fn print<T: Output>(cli: &Cli, output: &T) -> u8 {
    let text = if cli.json { json(output) } else { output.to_string() };
    say(cli, &text);
    if output.is_complete() { DONE } else { INCOMPLETE }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value).expect("outputs are plain data with text keys");
    text + "\n"
}

/// Says something on standard output, or beside it where that is a bundle.
#[expect(clippy::print_stderr, reason = "printing is what this program is for")]
fn say(cli: &Cli, text: &str) {
    if cli.gives_stream() {
        eprint!("{text}");
    } else {
        write(text);
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output was closed");
    }
}

/// Tells about an error, its causes, and what kind of failure it is.
#[expect(clippy::print_stderr, reason = "printing is what this program is for")]
fn fail(cli: &Cli, error: &Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    if cli.json {
        let output = ErrorOutput { kind: format!("{:?}", error.kind()), error: text };
        say(cli, &json(&output));
    } else {
        eprintln!("error: {text}");
    }
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Unsupported => ExitCode::from(USAGE),
        _ => ExitCode::from(FAILED),
    }
}
