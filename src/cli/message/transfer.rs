//! `mubroker message export` and `import`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use clap::Args;
use futures_util::future::join_all;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::choose::FilterArgs;
use crate::admin::client::{AdminClient, AdminError, MessageQuery};
use crate::admin::dto::{
    MessageId, MessageState, MessageView, Payload, QueueName, Seq, Timestamp, WorkError,
};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{json, note, print};
use crate::cli::target::{ClientsDoor, Target};
use crate::client::{Client, ClientError};
use crate::console::text::clean::clean;
use crate::model::limits::{MAX_HEADER_BYTES, MAX_PAGE, MAX_PAYLOAD_BYTES};
use crate::model::{Accepted, Content, Header};
use crate::wire::SendRequest;

pub(super) const EXPORT_HELP: &str = "\
Each line is a message as a JSON object: `queue`, `seq`, `state`, `attempts`, `error` if it failed, `header`, and `payload` as text, or \
`payload_base64` where it isn't UTF-8. What ends meanwhile is not in it. The queue stays as it is; \
`mubroker message import` sends the lines again. (All of a store, with edits and journal: `mubroker store export`.)

  mubroker message export invoices --output invoices.jsonl
  mubroker message export invoices --state blocked";

pub(super) const IMPORT_HELP: &str = "\
Each line is sent as a message of its own, in order, to the end of the queue that it names; its id stays, so that lines which that queue still \
remembers are not taken a second time. Lines go in groups, each of which is accepted as a whole or not at all; it stops at the first line that is \
refused, and says which lines are durable. `queue`, `header` and `payload` or `payload_base64` of a line are sent, and `header` may be left out; \
what an export tells beside them is passed over, any other key refused.

  mubroker message import --file invoices.jsonl
  mubroker message import --file invoices.jsonl --queue invoices.test --new-ids
  mubroker message import --file invoices.jsonl --url https://other.example:8443";

/// Messages asked for at once: enough that none waits for the one before.
const AT_ONCE: usize = 16;
/// Lines sent as one, which share a commit: enough that a commit costs little for each, and little to look through when
/// one is refused.
const GROUP_LINES: usize = 256;
/// And their bytes at most, beside the last one's: below what a wire message may have.
const GROUP_BYTES: u64 = 4 * 1024 * 1024;
/// JSON makes six bytes at most of one; the rest of a line is small.
const MAX_LINE_BYTES: u64 = 6 * (MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES) as u64 + 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The queue
    #[arg(add = crate::cli::completions::queues())]
    queue: QueueName,
    #[command(flatten)]
    filter: FilterArgs,
    /// Into a new file, `-` for standard output [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// All go to this queue instead of the one that their line names
    #[arg(long, short, add = crate::cli::completions::queues())]
    queue: Option<QueueName>,
    /// Take the lines from a file, `-` for standard input [default: standard input]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Give each message a new id
    #[arg(long)]
    new_ids: bool,
    /// Print what came of it as a JSON object
    #[arg(long)]
    json: bool,
    /// Where the broker takes clients, e.g. tcp://127.0.0.1:5555 [default: as the running broker says]
    #[arg(long, value_name = "ENDPOINT")]
    broker: Option<String>,
}

/// A line, as it is written.
#[derive(Debug, Serialize)]
struct Exported<'a> {
    queue: &'a QueueName,
    seq: Seq,
    state: MessageState,
    attempts: u32,
    accepted_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a WorkError>,
    header: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<&'a str>,
}

impl<'a> Exported<'a> {
    fn new(view: &'a MessageView) -> Self {
        let (payload, payload_base64) = match &view.payload {
            Payload::Utf8(text) => (Some(text.as_str()), None),
            Payload::Base64(text) => (None, Some(text.as_str())),
        };
        Self {
            queue: &view.queue,
            seq: view.summary.seq,
            state: view.summary.state,
            attempts: view.summary.attempt,
            accepted_at: view.summary.accepted_at,
            error: view.summary.error.as_ref(),
            header: &view.header,
            payload,
            payload_base64,
        }
    }
}

pub(super) async fn export(client: &AdminClient, args: ExportArgs) -> Result<Exit, Failure> {
    let output = args.output.as_ref().filter(|path| path.as_os_str() != "-");
    let mut out: Box<dyn Write> = match output {
        Some(path) => Box::new(BufWriter::new(File::create_new(path).map_err(|e| at(path, &e))?)),
        None => Box::new(BufWriter::new(io::stdout())),
    };
    let writing = |error: &io::Error| match output {
        Some(path) => at(path, error),
        None => Failure::io("standard output", error),
    };
    let filter = args.filter.filter();
    let state = filter.state;
    let mut query = MessageQuery { from: Some(Seq(1)), limit: Some(MAX_PAGE), filter };
    let mut count = 0u64;
    loop {
        let page = client.messages(&args.queue, &query).await?;
        // None is asked for while a line is written: whoever reads them may take their time.
        for rows in page.messages.chunks(AT_ONCE) {
            let asked = rows.iter().map(|row| client.message(&args.queue, row.seq));
            for found in join_all(asked).await {
                let view = match found {
                    Ok(view) => view,
                    // It ended since the page was read.
                    Err(AdminError::Problem(problem)) if problem.code == "not_found" => continue,
                    Err(error) => return Err(error.into()),
                };
                if state.is_some_and(|state| state != view.summary.state) {
                    continue;
                }
                count += 1;
                let line = serde_json::to_vec(&Exported::new(&view)).map_err(io::Error::from);
                line.and_then(|mut line| {
                    line.push(b'\n');
                    out.write_all(&line)
                })
                .map_err(|error| writing(&error))?;
            }
        }
        let Some(next) = page.next else { break };
        query.from = Some(next);
    }
    out.flush().map_err(|error| writing(&error))?;
    note(&format!("{count} messages of {}", args.queue));
    Ok(Exit::Done)
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::io(&path.display().to_string(), error)
}

/// A line, as it is read; what else is in it is passed over.
#[derive(Debug, Deserialize)]
struct Line {
    queue: Option<QueueName>,
    #[serde(default)]
    header: Map<String, Value>,
    payload: Option<String>,
    payload_base64: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, IgnoredAny>,
}

/// What an export tells of a message beside what is sent.
const TOLD: [&str; 5] = ["seq", "state", "attempts", "accepted_at", "error"];

impl Line {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let line: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no message: {error}"))?;
        match line.rest.keys().find(|key| !TOLD.contains(&key.as_str())) {
            None => Ok(line),
            Some(key) => Err(format!(
                "its key `{}` is unknown; `queue`, `header` and `payload` or `payload_base64` are sent",
                clean(key)
            )),
        }
    }

    fn send(self, args: &ImportArgs) -> Result<SendRequest, String> {
        let Self { queue, mut header, payload, payload_base64, rest: _ } = self;
        let queue = args.queue.clone().or(queue);
        let queue = queue.ok_or("it names no `queue`; give one with --queue")?;
        if args.new_ids {
            header.remove("id");
        }
        let payload = match (payload, payload_base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(text)) => BASE64
                .decode(text)
                .map(Bytes::from)
                .map_err(|e| format!("`payload_base64`: {e}"))?,
            (Some(_), Some(_)) => {
                return Err("it has both `payload` and `payload_base64`".to_owned());
            }
            (None, None) => return Err("it has no `payload`".to_owned()),
        };
        let new_id = || MessageId::new(&Uuid::now_v7().to_string()).expect("a UUID is a valid id");
        let header = Header::from_map(header, new_id).map_err(|error| error.to_string())?;
        Ok(SendRequest { queue, content: Content { header, payload } })
    }
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Imported {
    accepted: u64,
    /// Of other lines: their queues knew them already.
    duplicates: u64,
    /// The last line that is durable.
    lines: u64,
}

/// Lines that go as one.
#[derive(Default)]
struct Group {
    sends: Vec<SendRequest>,
    /// The line of each.
    numbers: Vec<u64>,
    bytes: u64,
}

pub(super) async fn import(target: Target, args: ImportArgs) -> Result<Exit, Failure> {
    let mut input: Box<dyn BufRead> = match args.file.as_deref() {
        Some(path) if path != Path::new("-") => {
            Box::new(BufReader::new(File::open(path).map_err(|e| at(path, &e))?))
        }
        _ => Box::new(BufReader::new(io::stdin())),
    };
    let client = ClientsDoor::of(args.broker.clone(), target).connect().await?;
    let mut done = Imported::default();
    let mut group = Group::default();
    let mut line = Vec::new();
    let mut number = 0;
    while read_line(&mut input, &mut line, number + 1, &done)? {
        number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let send = match Line::read(&line).and_then(|line| line.send(&args)) {
            Ok(send) => send,
            Err(why) => {
                // What stands before it is sent, as it would be if the file ended here.
                flush(&client, &mut group, &mut done).await?;
                return Err(stopped(number, Failure::new(why), &done));
            }
        };
        let size = send.content.size_bytes();
        if group.sends.len() >= GROUP_LINES || group.bytes + size > GROUP_BYTES {
            flush(&client, &mut group, &mut done).await?;
        }
        group.bytes += size;
        group.numbers.push(number);
        group.sends.push(send);
    }
    flush(&client, &mut group, &mut done).await?;
    if args.json {
        json(&done)?;
    } else {
        let Imported { accepted, duplicates, .. } = done;
        print(&format!("{accepted} messages imported, {duplicates} had been accepted before\n"))?;
    }
    Ok(Exit::Done)
}

async fn flush(client: &Client, group: &mut Group, done: &mut Imported) -> Result<(), Failure> {
    let Group { sends, numbers, .. } = std::mem::take(group);
    let Some(&last) = numbers.last() else { return Ok(()) };
    let first = numbers.first().copied().unwrap_or(last);
    let ids: Vec<MessageId> = sends.iter().map(|send| send.content.id().clone()).collect();
    let answer: Result<Vec<Accepted>, ClientError> = client.send_many(sends).await;
    let error = match answer {
        Ok(accepted) => {
            let again = accepted.iter().filter(|one| one.duplicate).count() as u64;
            done.duplicates += again;
            done.accepted += accepted.len() as u64 - again;
            done.lines = last;
            return Ok(());
        }
        Err(error) => error,
    };
    let refused = match &error {
        ClientError::Rejected(rejection) => rejection.id.as_ref(),
        _ => None,
    };
    let place = refused.and_then(|id| ids.iter().position(|known| known == id));
    match place.and_then(|place| numbers.get(place)) {
        Some(&number) => Err(stopped(number, error.into(), done)),
        None if error.outcome_unknown() => {
            let advice = format!(
                "lines 1 to {} are durable, {first} to {last} may be: import the file again, what is there isn't taken \
                 twice while its queue remembers the ids",
                done.lines
            );
            Err(Failure::from(error).advice(advice))
        }
        None => {
            let failure = Failure::from(error);
            let text = format!("lines {first} to {last}: {}", failure.text);
            Err(Failure { text, ..failure }.advice(durable(done)))
        }
    }
}

fn stopped(number: u64, failure: Failure, done: &Imported) -> Failure {
    let text = format!("line {number}: {}", failure.text);
    Failure { text, ..failure }.advice(durable(done))
}

fn durable(done: &Imported) -> String {
    let Imported { accepted, duplicates, lines } = done;
    if *lines == 0 {
        return "nothing was imported".to_owned();
    }
    format!(
        "lines 1 to {lines} are durable ({accepted} messages, {duplicates} had been accepted before), none behind them"
    )
}

/// The next line; false at the end.
fn read_line(
    input: &mut dyn BufRead,
    line: &mut Vec<u8>,
    number: u64,
    done: &Imported,
) -> Result<bool, Failure> {
    line.clear();
    // One byte more shows that there is more.
    let mut bounded = Read::take(input, MAX_LINE_BYTES + 1);
    let read = bounded.read_until(b'\n', line);
    let read = read.map_err(|error| Failure::io(&format!("line {number}"), &error))?;
    if line.len() as u64 > MAX_LINE_BYTES {
        let failure = Failure::new(format!("it has more than {MAX_LINE_BYTES} bytes"));
        return Err(stopped(number, failure, done));
    }
    Ok(read > 0)
}
