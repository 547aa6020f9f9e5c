//! `mubroker store export`, `import` and `compact`

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::Serialize;

use super::folder::{self, Draft, at, failure};
use super::{Compact, Export, Import};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{json, note, print};
use crate::cli::target::Target;
use crate::mailbox::{self, Counts, Line, Mailbox, SledMailbox, SledOptions, Start, TransferError};
use crate::model::limits::MAX_PAYLOAD_BYTES;
use crate::model::{Generation, with_causes};

/// A line has a message with all its edits; each byte may be written as six characters.
const MAX_LINE_BYTES: u64 = 64 * 6 * MAX_PAYLOAD_BYTES as u64;

const NEVER_WRITES: &str = "an export's lines can be written as JSON";

pub(super) fn export(args: &Export, target: &Target) -> Result<Exit, Failure> {
    let path = match &args.store {
        Some(path) => path.clone(),
        None => folder::of_data_dir(target)?,
    };
    let store = folder::open(&path)?;
    let counts = match &args.output {
        Some(output) => {
            let writing = |error| at("writing the export", output, &error);
            let mut file = BufWriter::new(File::create_new(output).map_err(writing)?);
            let counts = write_lines(&store, &mut file)?;
            let file = file.into_inner().map_err(|error| writing(error.into_error()))?;
            file.sync_all().map_err(writing)?;
            tell(args.json, "exported", counts)?;
            counts
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            let counts = write_lines(&store, &mut out)?;
            out.flush().map_err(|error| Failure::io("standard output", &error))?;
            note(&text(args.json, "exported", counts));
            counts
        }
    };
    if counts.unreadable == 0 {
        return Ok(Exit::Done);
    }
    let text = format!("{} messages can't be read, and are not in the export", counts.unreadable);
    Err(Failure::new(text).advice("its lines `unreadable` say which and why"))
}

fn write_lines(store: &SledMailbox, out: &mut impl Write) -> Result<Counts, Failure> {
    let recovered = store.recover().map_err(failure)?;
    let mut put = |line: Line| {
        serde_json::to_writer(&mut *out, &line)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(TransferError::Write)
    };
    mailbox::export(store, recovered, &mut put).map_err(|error| transfer_failure(error, None))
}

pub(super) fn import(args: &Import, target: &Target) -> Result<Exit, Failure> {
    let store = folder::new_in_data_dir(target)?;
    let draft = Draft::beside(&store)?;
    let counts = if args.from == Path::new("-") {
        read_lines(io::stdin().lock(), draft.path())?
    } else {
        let file = File::open(&args.from).map_err(|e| at("reading the export", &args.from, &e))?;
        read_lines(BufReader::new(file), draft.path())?
    };
    draft.put_in_place(&store)?;
    tell(args.json, "imported", counts)?;
    Ok(Exit::Done)
}

fn read_lines(mut from: impl BufRead, to: &Path) -> Result<Counts, Failure> {
    let mut line = Vec::new();
    let mut next = |number: u64| -> Result<Option<Line>, Failure> {
        line.clear();
        let reading = |error: io::Error| Failure::io("reading the export failed", &error);
        let length = Read::by_ref(&mut from).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if length.map_err(reading)? == 0 {
            return Ok(None);
        }
        serde_json::from_slice(&line).map(Some).map_err(|error| {
            Failure::new(format!("line {number} is no line of an export: {error}"))
        })
    };
    let first = next(1)?.ok_or_else(|| transfer_failure(TransferError::CutOff, None))?;
    let after_run = match &first {
        Line::Export(Start { generation, .. }) => *generation,
        _ => Generation(0),
    };
    let options = SledOptions { after_run, ..SledOptions::default() };
    let store = folder::open_or_make(to, options)?;
    let mut import = mailbox::Import::new(&store);
    let mut number = 1;
    let mut line = Some(first);
    while let Some(taken) = line {
        import.take(taken).map_err(|error| transfer_failure(error, Some(number)))?;
        number += 1;
        line = next(number)?;
    }
    import.finish().map_err(|error| transfer_failure(error, None))
}

/// Copies what is needed into a new store, as an export and an import would.
pub(super) fn compact(args: &Compact, target: &Target) -> Result<Exit, Failure> {
    let path = folder::of_data_dir(target)?;
    let old = folder::open(&path)?;
    let size =
        || folder::size(&path).map_err(|error| at("reading the store's size", &path, &error));
    let before = size()?;
    let draft = Draft::beside(&path)?;
    let recovered = old.recover().map_err(failure)?;
    let options = SledOptions { after_run: recovered.generation, ..SledOptions::default() };
    let new = folder::open_or_make(draft.path(), options)?;
    let mut import = mailbox::Import::new(&new);
    let mut put = |line: Line| import.take(line);
    let counts = mailbox::export(&old, recovered, &mut put)
        .map_err(|error| transfer_failure(error, None))?;
    if counts.unreadable > 0 {
        let text = format!("{} messages can't be read; nothing was changed", counts.unreadable);
        let advice = "`mubroker message ls` shows them as blocked: edit or cancel them first";
        return Err(Failure::new(text).advice(advice));
    }
    import.finish().map_err(|error| transfer_failure(error, None))?;
    drop(new);
    draft.exchange(&path)?;
    drop(old);
    let after = size()?;
    if args.json {
        json(&Compacted { before_bytes: before, after_bytes: after, messages: counts.messages })?;
    } else {
        let messages = counts.messages;
        print(&format!("compacted: {before} bytes before, {after} after, messages: {messages}\n"))?;
    }
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Compacted {
    before_bytes: u64,
    after_bytes: u64,
    messages: u64,
}

fn transfer_failure(error: TransferError, line: Option<u64>) -> Failure {
    match error {
        TransferError::Store(error) => failure(error),
        error @ (TransferError::Write(_)
        | TransferError::Version { .. }
        | TransferError::Invalid { .. }
        | TransferError::CutOff) => {
            let text = with_causes(&error);
            match line {
                Some(line) => Failure::new(format!("line {line}: {text}")),
                None => Failure::new(text),
            }
        }
    }
}

fn tell(as_json: bool, what: &str, counts: Counts) -> Result<(), Failure> {
    print(&format!("{}\n", text(as_json, what, counts)))
}

fn text(as_json: bool, what: &str, counts: Counts) -> String {
    if as_json {
        return serde_json::to_string(&counts).expect(NEVER_WRITES);
    }
    let Counts { queues, messages, journal, .. } = counts;
    format!("{what}: queues: {queues}, messages: {messages}, journal entries: {journal}")
}
