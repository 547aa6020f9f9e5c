//! `mubroker store check`

use super::{Check, folder};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{Column, json, note, print, table};
use crate::cli::target::Target;
use crate::console::text::clean::clean;
use crate::mailbox::{StoreCheck, check_store};

/// Places that are printed of a queue; `--json` has all.
const MAX_PLACES: usize = 20;

/// Reads all of the store; changes nothing.
pub(super) fn check(args: &Check, target: &Target) -> Result<Exit, Failure> {
    let path = match &args.store {
        Some(path) => path.clone(),
        None => folder::of_data_dir(target)?,
    };
    if !path.join("format").exists() {
        let text = format!("there is no store in {}", path.display());
        return Err(Failure::new(text).advice("--data-dir names the broker's data folder"));
    }
    let check = check_store(&path).map_err(folder::failure)?;
    match args.json {
        true => json(&check)?,
        false => show(&check)?,
    }
    Ok(if check.sound { Exit::Done } else { Exit::Failed })
}

fn show(check: &StoreCheck) -> Result<(), Failure> {
    let parts = check.parts.iter().map(|part| {
        let bad: u64 = part.bad_places.iter().map(|bad| bad.bytes).sum();
        vec![
            part.name.clone(),
            (part.bytes / 1024).to_string(),
            part.log_values.to_string(),
            bad.to_string(),
            part.state.to_owned(),
        ]
    });
    let columns = [
        Column("PART", 16),
        Column("KIB", 12),
        Column("LOG VALUES", 12),
        Column("UNREADABLE BYTES", 16),
        Column("STATE", 10),
    ];
    print(&table(&columns, &parts.collect::<Vec<_>>()))?;
    let queues = check.queues.iter().map(|queue| {
        let damaged: Vec<String> =
            queue.damaged.iter().take(MAX_PLACES).map(u64::to_string).collect();
        let more = if queue.damaged.len() > MAX_PLACES { " …" } else { "" };
        vec![
            queue.name.clone(),
            queue.waiting.to_string(),
            queue.damaged.len().to_string(),
            format!("{}{more}", damaged.join(" ")),
        ]
    });
    let columns =
        [Column("QUEUE", 32), Column("WAITING", 12), Column("DAMAGED", 9), Column("PLACES", 80)];
    print("\n")?;
    print(&table(&columns, &queues.collect::<Vec<_>>()))?;
    for problem in &check.problems {
        print(&format!("{}\n", clean(problem)))?;
    }
    if !check.quarantine.is_empty() {
        note(&format!("{} files or folders are in quarantine", check.quarantine.len()));
    }
    let is_any = |state| check.parts.iter().any(|part| part.state == state);
    print(match check.sound {
        true if is_any("new") => {
            "nothing is in the store yet: its first opening was cut short. `mubroker serve` makes it whole\n"
        }
        true => "the store is sound\n",
        false if is_any("missing") => "a part of the store is not there: it can't be opened\n",
        false if check.problems.is_empty() && !is_any("damaged") => {
            "the parts of the store are sound, but these messages are lost: they are blocked as `damaged`\n"
        }
        false => "the store is damaged: opening it keeps what is sound, and says what is lost\n",
    })
}
