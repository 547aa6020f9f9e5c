//! By what a worker does messages.

use std::ffi::OsString;
use std::path::Path;

use bytes::Bytes;
use clap::{Args, ValueEnum};

use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::processes::launcher;
use crate::https;
use crate::model::with_causes;
use crate::wire::Delivery;
use crate::worker::exec::Exec;
use crate::worker::http::Http;
use crate::worker::process::Program;
use crate::worker::stdio::{Framing, Stdio};
use crate::worker::{self, Handler, Work};

/// One of three ways.
#[derive(Debug, Args)]
pub(super) struct ByArgs {
    /// Run a command once a message; all that follows belongs to it
    #[arg(long, value_name = "CMD", required_unless_present_any = ["stdio", "http"], num_args = 1..,
          allow_hyphen_values = true)]
    exec: Vec<OsString>,
    /// Start a command that stays, and give it one message after the other; all that follows belongs to it
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, conflicts_with = "exec")]
    stdio: Vec<OsString>,
    /// POST messages there
    #[arg(long, value_name = "URL", conflicts_with_all = ["exec", "stdio"])]
    http: Option<String>,
    /// How --stdio's requests and answers are told apart
    #[arg(long, value_enum, default_value_t = FramingArg::Lines)]
    framing: FramingArg,
    /// Write the standard error of --exec's commands to the worker's own, too, as that of --stdio's is
    #[arg(long)]
    show_stderr: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FramingArg {
    /// A JSON object on a line, the payload in it
    Lines,
    /// JSON and payload, each after its length
    Length,
}

/// Whichever it is.
#[derive(Debug)]
pub(super) enum By {
    Exec(Exec),
    Stdio(Stdio),
    Http(Http),
}

impl ByArgs {
    /// What operators see if no name is given.
    pub(super) fn name(&self) -> String {
        let command = self.exec.first().or(self.stdio.first());
        let program = command.map(Path::new).and_then(Path::file_name);
        match (program, &self.http) {
            (Some(name), _) => name.to_string_lossy().into_owned(),
            (None, Some(url)) => https::shown(url),
            (None, None) => "worker".to_owned(),
        }
    }

    pub(super) fn handler(&self) -> Result<By, Failure> {
        if let Some(url) = &self.http {
            let http = Http::new(url).map_err(|error| Failure::new(with_causes(&error)));
            return Ok(By::Http(http.map_err(|failure| failure.exit(Exit::Usage))?));
        }
        if !self.stdio.is_empty() {
            let framing = match self.framing {
                FramingArg::Lines => Framing::Lines,
                FramingArg::Length => Framing::Length,
            };
            return Ok(By::Stdio(Stdio::new(program(&self.stdio)?, framing)));
        }
        Ok(By::Exec(Exec::new(program(&self.exec)?).showing_stderr(self.show_stderr)))
    }
}

fn program(command: &[OsString]) -> Result<Program, Failure> {
    let program = Program::new(command.iter().cloned());
    let program = program.map_err(|error| Failure::new(error.to_string()))?;
    let launcher = launcher().map_err(|error| {
        Failure::io("what sees to the end of commands can't be started", &error)
    })?;
    Ok(program.with_launcher(launcher))
}

impl Handler for By {
    async fn handle(&self, delivery: Delivery, work: Work) -> Result<Bytes, worker::Failure> {
        match self {
            Self::Exec(exec) => exec.handle(delivery, work).await,
            Self::Stdio(stdio) => stdio.handle(delivery, work).await,
            Self::Http(http) => http.handle(delivery, work).await,
        }
    }

    async fn close(&self) {
        match self {
            Self::Exec(exec) => exec.close().await,
            Self::Stdio(stdio) => stdio.close().await,
            Self::Http(http) => http.close().await,
        }
    }
}
