//! Payloads and headers from the command line.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use super::failure::Failure;
use crate::client::NewMessage;
use crate::model::Content;
use crate::model::limits::MAX_PAYLOAD_BYTES;

/// What a message's header says.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The message")]
pub(super) struct HeaderArgs {
    /// Its id, unique inside the queue's de-duplication window [default: a UUIDv7]
    #[arg(long)]
    id: Option<String>,
    /// Its type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Its order key
    #[arg(long)]
    key: Option<String>,
    /// How urgent it is, 0 to 9; for a queue with priorities
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: Option<u8>,
    /// How long it is of use, in milliseconds; then it is dead-lettered
    #[arg(long, value_name = "MS")]
    ttl_ms: Option<u64>,
    /// Don't deliver it before so many milliseconds
    #[arg(long, value_name = "MS", conflicts_with = "deliver_at")]
    delay_ms: Option<u64>,
    /// Don't deliver it before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    deliver_at: Option<String>,
    /// Its payload's media type [default: application/json]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// One of your own headers; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = name_and_value)]
    headers: Vec<(String, String)>,
}

impl HeaderArgs {
    /// Whether an id was given; several messages can't share it.
    pub(super) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// A message with this payload; a header that can't be is the command line's fault.
    pub(super) fn message(&self, payload: Vec<u8>) -> Result<Content, Failure> {
        let mut message = NewMessage::new(payload);
        if let Some(id) = &self.id {
            message = message.id(id);
        }
        if let Some(kind) = &self.kind {
            message = message.kind(kind);
        }
        if let Some(key) = &self.key {
            message = message.key(key);
        }
        if let Some(priority) = self.priority {
            message = message.field("priority", priority);
        }
        for (name, ms) in [("ttl_ms", self.ttl_ms), ("delay_ms", self.delay_ms)] {
            if let Some(ms) = ms {
                message = message.field(name, ms);
            }
        }
        if let Some(time) = &self.deliver_at {
            message = message.field("deliver_at", time.as_str());
        }
        if let Some(content_type) = &self.content_type {
            message = message.field("content_type", content_type.as_str());
        }
        for (name, value) in &self.headers {
            message = message.header(name, value.as_str());
        }
        message.build().map_err(|error| Failure::new(error.to_string()).exit(Exit::Usage))
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("NAME=VALUE is needed".to_owned()),
    }
}

/// Where a payload comes from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The message")]
pub(super) struct PayloadArgs {
    /// The payload [default: standard input]
    payload: Option<String>,
    /// Take the payload from a file, `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    file: Option<PathBuf>,
}

impl PayloadArgs {
    /// The payload's bytes, as they are.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        match (&self.payload, &self.file) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(path)) => read_file(path),
            (None, None) => read_file(Path::new("-")),
        }
    }

    /// The payload's lines, one at a time.
    pub(super) fn open(&self) -> Result<Box<dyn io::BufRead>, Failure> {
        match (&self.payload, &self.file) {
            (Some(text), _) => Ok(Box::new(io::Cursor::new(text.clone().into_bytes()))),
            (None, Some(path)) if path != Path::new("-") => {
                let file = File::open(path).map_err(|e| cannot_read(path, &e))?;
                Ok(Box::new(io::BufReader::new(file)))
            }
            (None, _) => Ok(Box::new(io::BufReader::new(io::stdin()))),
        }
    }
}

/// A file's bytes, `-` for standard input, up to a payload's bound.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    // One byte more than allowed shows that there is more.
    let bound = MAX_PAYLOAD_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(bound).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(bound).read_to_end(&mut bytes))
    };
    read.map_err(|error| cannot_read(path, &error))?;
    if bytes.len() > MAX_PAYLOAD_BYTES {
        let name = path.display();
        let text = format!("{name}: a payload has at most {MAX_PAYLOAD_BYTES} bytes");
        return Err(Failure::new(text));
    }
    Ok(bytes)
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    let name =
        if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    Failure::io(&name, error).exit(Exit::Failed)
}
