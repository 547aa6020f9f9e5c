//! The command line: one file a command. The only place that prints.

mod alerts;
pub mod bench;
mod call;
mod config;
mod config_args;
mod console;
mod demo;
mod descriptors;
mod doors;
pub mod embedded;
mod events;
mod exit;
mod failure;
mod gather;
mod input;
mod journal;
mod listing;
mod message;
mod output;
mod pools;
mod processes;
mod publish;
mod queue;
mod reload;
mod remote;
mod saga;
mod send;
mod serve;
mod start;
mod store;
mod target;
mod token;
mod topic;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use config_args::ConfigArgs;
pub use exit::Exit;

use failure::Failure;

use crate::model::with_causes;

/// A message broker that stops when something is wrong, and a console to put it right.
#[derive(Debug, Parser)]
#[command(name = "mubroker", version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without one, the console opens.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    console: console::ConsoleArgs,
}

/// What `--help` says of exit codes; see [`Exit`].
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the store is held by \
     another process, 4 the configuration is refused, 5 no broker answers, 6 the broker refused, or a \
     call did not end well.";

/// One variant a command, one file a variant.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "each is documented at its arguments, which is what --help shows")]
pub enum Command {
    /// Run the broker as a daemon, until SIGTERM or SIGINT.
    Serve(serve::ServeArgs),
    /// Check the configuration, or show all that it may hold.
    Config(config::ConfigCommandArgs),
    Console(console::ConsoleArgs),
    Send(send::SendArgs),
    Call(call::CallArgs),
    Publish(publish::PublishArgs),
    Start(start::StartArgs),
    Gather(gather::GatherArgs),
    Queue(queue::QueueArgs),
    Topic(topic::TopicArgs),
    Saga(saga::SagaArgs),
    Message(message::MessageArgs),
    Worker(worker::WorkerArgs),
    Doors(doors::DoorsArgs),
    Events(events::EventsArgs),
    Journal(journal::JournalArgs),
    Store(store::StoreArgs),
    Token(token::TokenArgs),
    Demo(demo::DemoArgs),
    Bench(bench::BenchArgs),
    #[command(name = "__become", hide = true)]
    Become(processes::BecomeArgs),
    #[command(name = "__keep", hide = true)]
    Keep(processes::KeepArgs),
}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> ExitCode {
    let exit = match cli.command {
        None => console::open(&cli.console),
        Some(command) => match command {
            Command::Serve(args) => serve::run(&args),
            Command::Config(args) => config::run(&args),
            Command::Console(args) => console::attach(&args),
            Command::Send(args) => asked(send::run(args)),
            Command::Call(args) => asked(call::run(args)),
            Command::Publish(args) => asked(publish::run(args)),
            Command::Start(args) => asked(start::run(args)),
            Command::Gather(args) => asked(gather::run(args)),
            Command::Queue(args) => asked(queue::run(args)),
            Command::Topic(args) => asked(topic::run(args)),
            Command::Saga(args) => asked(saga::run(args)),
            Command::Message(args) => asked(message::run(args)),
            Command::Worker(args) => asked(worker::run(args)),
            Command::Doors(args) => asked(doors::run(args)),
            Command::Events(args) => asked(events::run(args)),
            Command::Journal(args) => asked(journal::run(args)),
            Command::Store(args) => asked(store::run(args)),
            Command::Token(args) => asked(token::run(args)),
            Command::Demo(args) => demo::run(&args),
            Command::Become(args) => processes::become_command(&args),
            Command::Keep(args) => processes::keep(&args),
            Command::Bench(args) => asked(async { Ok(told(bench::run(&args).await)) }),
        },
    };
    exit.into()
}

/// A result without a code of its own.
fn told(result: Result<(), impl std::error::Error>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(error) => complain(&error, Exit::Failed),
    }
}

/// Tells an error with its causes on standard error.
#[expect(clippy::print_stderr, reason = "where a user looks for what went wrong")]
pub(crate) fn complain(error: &dyn std::error::Error, exit: Exit) -> Exit {
    eprintln!("mubroker: {}", with_causes(error));
    exit
}

/// Runs a command that asks a broker; one thread is enough to wait on.
fn asked(command: impl Future<Output = Result<Exit, Failure>>) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => Err(Failure::io("the runtime can't be started", &error)),
    };
    result.unwrap_or_else(|failure| failure.tell())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn worker_is_both_a_command_and_the_list_of_workers() {
        for line in [
            "mubroker worker ls --json --data-dir /tmp/x",
            "mubroker worker --queue a --queue b --credit 2 --exec ./connector --flag -x",
            "mubroker worker --queue a --framing length --stdio ./connector -x",
            "mubroker worker --queue a --http http://127.0.0.1:1/",
            "mubroker message cancel orders 7 --reason wrong --admin unix:/tmp/a.sock",
            "mubroker message show 0190-id --payload --revision 0",
            "mubroker send -q orders --header tenant=fr --lines --file -",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "mubroker worker",
            "mubroker worker --queue a",
            "mubroker worker --queue a --http http://127.0.0.1:1/ --exec x",
            "mubroker message show a 1 2",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
