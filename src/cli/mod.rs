//! The command line: one file a command. The only place that prints.

mod alerts;
pub mod bench;
mod call;
mod completions;
mod config;
mod config_args;
mod console;
mod curve;
mod demo;
mod descriptors;
mod doctor;
mod doors;
pub mod embedded;
mod events;
mod exit;
mod failure;
mod gather;
mod input;
mod journal;
mod listing;
mod man;
mod message;
mod notify;
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
#[cfg(feature = "otlp")]
mod traces;
mod usage;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use completions::complete;
pub use config_args::ConfigArgs;
pub use exit::Exit;
pub use usage::parse;

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
     call did not end well, 130 Ctrl-C.";

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
    Doctor(doctor::DoctorArgs),
    Events(events::EventsArgs),
    Journal(journal::JournalArgs),
    Store(store::StoreArgs),
    Token(token::TokenArgs),
    Curve(curve::CurveArgs),
    Demo(demo::DemoArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    #[command(name = "__become", hide = true)]
    Become(processes::BecomeArgs),
    #[command(name = "__keep", hide = true)]
    Keep(processes::KeepArgs),
    #[command(name = crate::console::sandbox::COMMAND, hide = true)]
    Rework(processes::ReworkArgs),
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
            Command::Doctor(args) => asked(doctor::run(args)),
            Command::Events(args) => asked(events::run(args)),
            Command::Journal(args) => asked(journal::run(args)),
            Command::Store(args) => asked(store::run(args)),
            Command::Token(args) => asked(token::run(args)),
            Command::Curve(args) => asked(curve::run(args)),
            Command::Demo(args) => demo::run(&args),
            Command::Completions(args) => asked(async { completions::run(&args) }),
            Command::Man(args) => asked(async { man::run(&args) }),
            Command::Become(args) => processes::become_command(&args),
            Command::Keep(args) => processes::keep(&args),
            Command::Rework(args) => processes::rework(&args),
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

    /// Of all commands, those that their help shows.
    fn examples(command: &clap::Command, out: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let begins = |line: &str| line.find("mubroker ").map(|at| line[at..].to_owned());
        let whole = |line: &&str| line.starts_with("  mubroker ") || line.starts_with("Example");
        out.extend(help.lines().filter(whole).filter_map(begins));
        command.get_subcommands().for_each(|command| examples(command, out));
    }

    /// As a shell does it, as far as examples need it.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for c in line.chars() {
            match (c, quote) {
                (' ', None) => words.push(String::new()),
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (c, _) => words.last_mut().expect("one is there").push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn examples_in_the_help_are_right() {
        let mut lines = Vec::new();
        examples(&Cli::command(), &mut lines);
        assert!(lines.len() > 25, "the examples were not found: {lines:#?}");
        for line in lines {
            let parsed = Cli::try_parse_from(words(&line));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
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
