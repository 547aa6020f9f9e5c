//! `mubroker message edit`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::process::Command;

use super::act::{RepairArgs, repair};
use super::address::Addresses;
use super::choose::ManyArgs;
use super::rework;
use super::schema::Asked;
use crate::admin::client::AdminClient;
use crate::admin::dto::{
    MessageView, Payload, QueueName, RepairOutcome, RepairRequest, RepairVerb, Seq,
};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::input::read_file;
use crate::cli::output::{self, json, note, print};
use crate::console::text::clean::clean;
use crate::console::text::diff::{DiffKind, unified};
use crate::console::text::json as syntax;
use crate::model::limits::MAX_HOLD_MS;

pub(super) const HELP: &str = "\
--jq and --patch change one or many messages: their differences are shown first, then their number is to be typed (a script says --yes=COUNT), then each is saved \
on the revision that was seen. What the program doesn't change keeps its bytes: white space, digits, escapes, the keys' order. A payload with a key twice is refused.

  mubroker message edit invoices 7
  mubroker message edit invoices 7 --file fixed.json --retry
  mubroker message edit invoices --group 3f2a9c01b7de --jq '.amount |= (sub(\",\"; \".\") | tonumber)' --retry
  mubroker message edit invoices --state blocked --patch fix.json --dry-run";

/// Equal lines shown around each change.
const CONTEXT_LINES: usize = 3;

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    #[command(flatten)]
    pub(super) message: Addresses,
    /// Take the new payload from a file, `-` for standard input [default: $VISUAL or $EDITOR]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["jq", "patch"])]
    file: Option<PathBuf>,
    /// Change the JSON payload by a jq expression; nothing else in it changes
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "patch")]
    pub(super) jq: Option<String>,
    /// Change it by a JSON Patch (RFC 6902) in a file, `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) patch: Option<PathBuf>,
    /// With --jq and --patch: what may be taken for one message
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) time_limit: u64,
    /// With --jq and --patch: of a key that is there twice keep the last one
    #[arg(long)]
    pub(super) force: bool,
    /// Make the message ready again, in the same commit
    #[arg(long)]
    pub(super) retry: bool,
    /// Don't ask; over many: so many messages are meant
    #[arg(
        long, short, value_name = "COUNT", num_args = 0..=1, require_equals = true, default_missing_value = "1"
    )]
    pub(super) yes: Option<u64>,
    /// Save what isn't JSON, and say why
    #[arg(long, value_name = "REASON", conflicts_with = "reason")]
    not_json: Option<String>,
    #[command(flatten)]
    pub(super) repair: RepairArgs,
    #[command(flatten)]
    pub(super) many: ManyArgs,
}

pub(super) async fn run(client: &AdminClient, args: EditArgs) -> Result<Exit, Failure> {
    if let Some(program) = rework::program(&args).await? {
        return rework::run(client, &args, program).await;
    }
    if args.many.is_meant(&args.message) || args.many.dry_run || args.many.plain || args.force {
        let text = "many messages, --dry-run, --plain and --force are for --jq and --patch";
        return Err(Failure::new(text).exit(Exit::Usage));
    }
    if let Some(outcome) = args.repair.done_before(client).await? {
        args.repair.tell(&outcome)?;
        return Ok(Exit::Done);
    }
    let (queue, seq) = args.message.find(client).await?;
    let message = client.message(&queue, seq).await?;
    let seen = message.summary.revision;
    args.repair.check_revision(&queue, seq, seen)?;
    let old = client.payload(&queue, seq, Some(seen)).await?;
    let draft = match &args.file {
        Some(path) => Draft { bytes: read_file(path)?, kept: None },
        None => edit(client, &queue, seq, &old).await?,
    };
    if draft.bytes[..] == old[..] && !args.retry {
        note("nothing changed, nothing saved");
        if args.repair.json {
            json(&None::<RepairOutcome>)?;
        }
        return Ok(Exit::Done);
    }
    check(&args, &message, &draft)?;
    check_schema(client, &args, &queue, &draft).await?;
    let changed = draft.bytes[..] != old[..];
    if !args.repair.json {
        print(&difference(&old, &draft.bytes))?;
    }
    if !agreed(&args, &message)? {
        return Err(draft.keep(Failure::new("nothing saved")));
    }
    let request = RepairRequest {
        key: args.repair.key(),
        expect_revision: seen,
        action: match (changed, args.retry) {
            (true, true) => RepairVerb::SaveAndRetry,
            (true, false) => RepairVerb::Save,
            (false, _) => RepairVerb::Retry,
        },
        payload: changed.then(|| Payload::from_bytes(&draft.bytes)),
        header: None,
        to: None,
        reason: args.not_json.clone().unwrap_or_else(|| args.repair.reason.clone()),
    };
    let outcome = repair(client, &queue, seq, &request).await.map_err(|f| draft.keep(f))?;
    args.repair.tell(&outcome)?;
    Ok(Exit::Done)
}

/// A new payload; one from an editor has a file that is kept if it can't be saved.
struct Draft {
    bytes: Vec<u8>,
    kept: Option<tempfile::NamedTempFile>,
}

impl Draft {
    /// Says where the operator's work is.
    fn keep(&self, failure: Failure) -> Failure {
        let Some(file) = &self.kept else { return failure };
        let path = file.path().with_extension("draft.json");
        match std::fs::copy(file.path(), &path) {
            Ok(_) => {
                let advice = format!("your text is in {}; use it with --file", path.display());
                failure.advice(advice)
            }
            Err(error) => failure.advice(format!("your text could not be kept: {error}")),
        }
    }
}

/// Opens the editor on the payload's own bytes. A hold keeps automatic retries away meanwhile.
async fn edit(
    client: &AdminClient,
    queue: &QueueName,
    seq: Seq,
    old: &[u8],
) -> Result<Draft, Failure> {
    let editor = std::env::var_os("VISUAL").or_else(|| std::env::var_os("EDITOR"));
    let editor = editor.filter(|editor| !editor.is_empty());
    let Some(editor) = editor.filter(|_| std::io::stdin().is_terminal()) else {
        let failure = Failure::new("there is no editor to open here").exit(Exit::Usage);
        return Err(failure.advice("give the new payload with --file FILE (- is standard input), or set EDITOR in a terminal"));
    };
    let mut file = tempfile::Builder::new()
        .prefix("mubroker-")
        .suffix(".json")
        .tempfile()
        .map_err(|error| Failure::io("a temporary file", &error))?;
    file.write_all(old).map_err(|error| Failure::io("a temporary file", &error))?;
    client.hold(queue, seq, MAX_HOLD_MS).await?;
    let renew = async {
        loop {
            tokio::time::sleep(Duration::from_millis(MAX_HOLD_MS / 3)).await;
            // A hold that can't be renewed is no reason to take the editor away.
            let _lost = client.hold(queue, seq, MAX_HOLD_MS).await;
        }
    };
    // By the shell, since EDITOR may hold arguments.
    let status = Command::new("sh")
        .args(["-c", "exec $MUBROKER_EDITOR \"$1\"", "sh"])
        .arg(file.path())
        .env("MUBROKER_EDITOR", &editor)
        .status();
    let status = tokio::select! {
        status = status => status,
        never = renew => match never {},
    };
    // If it can't be given back, it ends by itself.
    let _lost = client.hold(queue, seq, 0).await;
    let editor = clean(&editor.to_string_lossy()).into_owned();
    match status {
        Ok(status) if status.success() => {
            let bytes = read_file(file.path())?;
            Ok(Draft { bytes, kept: Some(file) })
        }
        Ok(status) => Err(Failure::new(format!("{editor} ended with {status}; nothing saved"))),
        Err(error) => Err(Failure::io(&editor, &error)),
    }
}

/// What was meant to be JSON must be JSON, unless the operator says why not.
fn check(args: &EditArgs, message: &MessageView, draft: &Draft) -> Result<(), Failure> {
    let declared = match message.header.get("content_type") {
        Some(Value::String(text)) => text.contains("json"),
        Some(_) | None => true,
    };
    if !declared || args.not_json.is_some() {
        return Ok(());
    }
    syntax::check(&draft.bytes).map_err(|fault| {
        let name = match args.file.as_deref() {
            None => "payload".into(),
            Some(path) if path == Path::new("-") => "standard input".into(),
            Some(path) => path.to_string_lossy(),
        };
        let text = format!("{}:{fault}", clean(&name));
        draft.keep(Failure::new(text).advice("correct it, or save it with --not-json REASON"))
    })
}

/// What misses the queue's schema needs a reason.
async fn check_schema(
    client: &AdminClient,
    args: &EditArgs,
    queue: &QueueName,
    draft: &Draft,
) -> Result<(), Failure> {
    let missed = Asked::of(client, queue).await.map_err(|failure| draft.keep(failure))?;
    let Some(miss) = missed.miss(&draft.bytes).await? else { return Ok(()) };
    let text =
        format!("the payload is not as the queue's schema says: {}", clean(&miss.to_string()));
    let reason = args.not_json.as_ref().unwrap_or(&args.repair.reason);
    if reason.trim().is_empty() {
        let advice = "correct it, or say why it is to be saved all the same: --reason TEXT";
        return Err(draft.keep(Failure::new(text).exit(Exit::Refused).advice(advice)));
    }
    note(&format!("{text}; it is saved all the same, with the reason"));
    Ok(())
}

/// For people: `-` and `+` before each line.
pub(super) fn difference(old: &[u8], new: &[u8]) -> String {
    let mark = |kind| match kind {
        DiffKind::Same => " ",
        DiffKind::Removed => "-",
        DiffKind::Added => "+",
        DiffKind::Gap => "@",
        DiffKind::Note => "#",
    };
    let lines = unified(old, new, CONTEXT_LINES);
    lines.iter().map(|line| format!("{}{}\n", mark(line.kind), line.text())).collect()
}

/// Asks, where there is a person to ask.
fn agreed(args: &EditArgs, message: &MessageView) -> Result<bool, Failure> {
    let from_stdin = args.file.as_deref() == Some(Path::new("-"));
    if let Some(yes) = args.yes.filter(|&yes| yes != 1) {
        let text = format!("one message is meant, --yes says {yes}; nothing was done");
        return Err(Failure::new(text).exit(Exit::Refused));
    }
    if args.yes.is_some() || from_stdin {
        return Ok(true);
    }
    let what = if args.retry { "Save and retry" } else { "Save" };
    let question = format!("{} messages wait behind it. {what}?", message.behind);
    Ok(output::agreed(&question)?.unwrap_or(true))
}
