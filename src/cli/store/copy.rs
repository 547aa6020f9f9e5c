//! `mubroker store backup` and `restore`

use std::fs::{self, File};
use std::path::{Path, absolute};

use serde::Serialize;

use super::folder::{self, Draft, at, failure};
use super::{Backup, Restore};
use crate::admin::client::AdminError;
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{json, print};
use crate::cli::target::Target;
use crate::mailbox::{Mailbox, SledOptions};
use crate::model::{Generation, Recovered};

/// The broker whose backup it was may have gone on for so many runs: a restored store's deliveries must have
/// other names than all of those.
const RUNS_SINCE: u64 = 1_000_000;

/// Files of a store that are not copied: the lock is the copy's own, the ballast is made anew.
const NOT_COPIED: [&str; 2] = ["LOCK", "ballast"];

/// What is told of a copy.
#[derive(Debug, Serialize)]
struct Copied {
    folder: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    queues: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
}

/// By the broker that runs, or else from the store itself.
pub(super) async fn backup(args: &Backup, target: &Target) -> Result<Exit, Failure> {
    let to = absolute(&args.to).map_err(|error| at("finding the folder", &args.to, &error))?;
    match target.admin()?.backup(&to).await {
        Ok(()) => {}
        Err(AdminError::Unreachable { .. }) => {
            let store = folder::open(&folder::of_data_dir(target)?)?;
            store.backup(&to).map_err(failure)?;
        }
        Err(error) => return Err(error.into()),
    }
    tell(args.json, "copied to", &to, None)
}

pub(super) fn restore(args: &Restore, target: &Target) -> Result<Exit, Failure> {
    let store = folder::new_in_data_dir(target)?;
    if !args.from.join("format").exists() {
        let text = format!("there is no backup in {}", args.from.display());
        return Err(Failure::new(text).advice("name the folder that `mubroker store backup` made"));
    }
    let draft = Draft::beside(&store)?;
    copy_folder(&args.from, draft.path())?;
    // Opening it reads it, and says if it isn't sound.
    let run = folder::open(draft.path())?.recover().map_err(failure)?.generation;
    let after_run = Generation(run.0.saturating_add(RUNS_SINCE));
    let options = SledOptions { after_run, ..SledOptions::default() };
    let recovered = folder::open_or_make(draft.path(), options)?.recover().map_err(failure)?;
    draft.put_in_place(&store)?;
    tell(args.json, "restored to", &store, Some(&recovered))
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    let copying = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| at("copying the backup", &path, &error)
    };
    fs::create_dir(to).map_err(copying(to))?;
    for entry in fs::read_dir(from).map_err(copying(from))? {
        let entry = entry.map_err(copying(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        if NOT_COPIED.iter().any(|not| name == *not) {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().map_err(copying(&path))?.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(copying(&path))?;
            File::open(&target).and_then(|file| file.sync_all()).map_err(copying(&target))?;
        }
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(copying(to))
}

fn tell(
    as_json: bool,
    what: &str,
    folder: &Path,
    recovered: Option<&Recovered>,
) -> Result<Exit, Failure> {
    let bytes =
        folder::size(folder).map_err(|error| at("reading the copy's size", folder, &error))?;
    let copied = Copied {
        folder: folder.display().to_string(),
        bytes,
        queues: recovered.map(|recovered| recovered.queues.len()),
        messages: recovered.map(waiting),
    };
    if as_json {
        json(&copied)?;
    } else {
        let messages = match (copied.queues, copied.messages) {
            (Some(queues), Some(messages)) => format!(", queues: {queues}, messages: {messages}"),
            _ => String::new(),
        };
        print(&format!("{what} {} ({bytes} bytes{messages})\n", copied.folder))?;
    }
    Ok(Exit::Done)
}

fn waiting(recovered: &Recovered) -> u64 {
    let waiting = recovered.queues.iter().map(|queue| {
        (queue.next_seq.0 - queue.floor.0).saturating_sub(queue.finished.len() as u64)
    });
    waiting.sum()
}
