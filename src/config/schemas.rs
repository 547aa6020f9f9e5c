//! `schema` in `[queues."name"]`: a file with a JSON Schema.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Place};
use super::file::Source;
use super::{bad, expand};
use crate::model::limits::MAX_SCHEMA_BYTES;
use crate::model::{SCHEMA, SchemaText};
use crate::schema::{Compiled, SchemaError, with_room};

/// The files that queues name, each read once.
pub(super) struct Schemas<'a> {
    /// Relative ones are beside this.
    beside: Option<&'a Path>,
    named: BTreeMap<String, (String, Place)>,
    read: BTreeMap<PathBuf, SchemaText>,
}

impl<'a> Schemas<'a> {
    /// `named`: a file by the name of a queue's table.
    pub(super) fn of(source: &Source<'a>, named: BTreeMap<String, (String, Place)>) -> Self {
        Self { beside: source.path.parent(), named, read: BTreeMap::new() }
    }

    /// The schema of a queue's table; empty if it names none.
    pub(super) fn take(&mut self, queue: &str) -> Result<SchemaText, ConfigError> {
        let named = self.named.remove(queue).filter(|(file, _)| !file.is_empty());
        let Some((file, place)) = named else { return Ok(SchemaText::default()) };
        let path = self.beside.unwrap_or(Path::new("")).join(expand(&file, &place)?);
        if let Some(known) = self.read.get(&path) {
            return Ok(known.clone());
        }
        let text = read(&path).map_err(|reason| {
            bad(&place, format!("queues.{queue:?}.{SCHEMA}: {}{reason}", path.display()))
        })?;
        self.read.insert(path, text.clone());
        Ok(text)
    }
}

/// A schema that can be used; else what is to be told behind the file's name.
fn read(path: &Path) -> Result<SchemaText, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!(" can't be read: {error}"))?;
    // A byte more tells that it is too long.
    file.take(MAX_SCHEMA_BYTES as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!(" can't be read: {error}"))?;
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(format!(
            " has more than {MAX_SCHEMA_BYTES} bytes; leave out descriptions and examples"
        ));
    }
    let text = SchemaText::new(&text);
    if text.is_empty() {
        return Err(" is empty; write a JSON Schema into it, or leave the setting out".to_owned());
    }
    match with_room(|| Compiled::new(&text)).and_then(|compiled| compiled) {
        Ok(_) => Ok(text),
        Err(error @ SchemaError::NotJson { .. }) => Err(format!(":{error}")),
        Err(error @ (SchemaError::NotASchema { .. } | SchemaError::NoThread { .. })) => {
            Err(format!(" is no schema that can be used: {error}"))
        }
    }
}
