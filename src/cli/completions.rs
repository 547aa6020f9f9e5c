//! `mubroker completions SHELL`, and the names that a running broker knows.

use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;

use super::failure::Failure;
use super::output::print;
use super::target::Target;
use super::{Cli, Exit};
use crate::admin::client::{AdminClient, AdminError};

/// Set by the script that a shell is given: the program is asked for completions then, and does nothing else.
const VARIABLE: &str = "MUBROKER_COMPLETE";
/// How long the broker is asked: longer than it takes, shorter than who has pressed a key waits.
const LIMIT: Duration = Duration::from_millis(300);
/// Names that are asked for and offered: more than a screen shows, however many there are.
const MAX_NAMES: usize = 200;

/// Print a script that lets a shell complete commands, options and names of queues, topics and workers
#[derive(Debug, Args)]
#[command(after_help = "Bash:  echo 'source <(mubroker completions bash)' >> ~/.bashrc\n\
                        Zsh:   echo 'source <(mubroker completions zsh)' >> ~/.zshrc\n\
                        Fish:  mubroker completions fish > ~/.config/fish/completions/mubroker.fish")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_parser = PossibleValuesParser::new(Shells::builtins().names()))]
    shell: String,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let shells = Shells::builtins();
    let shell = shells.completer(&args.shell).expect("it is one of them");
    let mut script = Vec::new();
    let name = "mubroker";
    shell
        .write_registration(VARIABLE, name, name, name, &mut script)
        .map_err(|error| Failure::io("the script", &error))?;
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Answers the shell's script, and ends then. Returns if it isn't one that asks.
pub fn complete() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Completes a queue's name.
pub(super) fn queues() -> ArgValueCompleter {
    names(async |client, begun| {
        let queues = client.queues_named(begun, 0, MAX_NAMES).await?;
        Ok(queues.into_iter().map(|queue| queue.name.to_string()).collect())
    })
}

/// Completes a topic's name.
pub(super) fn topics() -> ArgValueCompleter {
    names(async |client, _| {
        let page = client.topics(None).await?;
        Ok(page.topics.into_iter().map(|topic| topic.name.to_string()).collect())
    })
}

/// What the broker that this environment names is asked. Where nothing answers, nothing is offered: an error has no place
/// between two keys.
fn names(
    ask: impl AsyncFn(&AdminClient, &str) -> Result<Vec<String>, AdminError> + Send + Sync + 'static,
) -> ArgValueCompleter {
    ArgValueCompleter::new(move |begun: &OsStr| {
        let begun = begun.to_string_lossy();
        let client = Target::of_environment().and_then(|target| target.admin().ok());
        let Some(client) = client else { return Vec::new() };
        let client = client.with_limits(LIMIT, LIMIT);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return Vec::new() };
        let found =
            runtime.block_on(async { tokio::time::timeout(LIMIT, ask(&client, &begun)).await });
        let found = found.ok().and_then(Result::ok).unwrap_or_default();
        let matching = found.into_iter().filter(|name| name.starts_with(&*begun));
        matching.take(MAX_NAMES).map(CompletionCandidate::new).collect()
    })
}
