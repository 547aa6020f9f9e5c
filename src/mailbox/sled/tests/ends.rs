//! Databases that end too early, or are not there at all.

use std::fs;

use super::super::layout::{SLED_SEGMENT_BYTES, chunk_key, process_key};
use super::super::raw::{Item, LogFile};
use super::rotation::{fill, generations, open_small, upkeep};
use super::*;

/// Where the messages of a database's log begin.
fn messages(database: &Path) -> Vec<u64> {
    let mut log = LogFile::open(database, SLED_SEGMENT_BYTES).unwrap();
    let (start, mut found) = (log.segments().unwrap()[0], Vec::new());
    log.walk(start, u64::MAX, |item| {
        if let Item::Message { offset, .. } = item {
            found.push(offset);
        }
    })
    .unwrap();
    found
}

#[test]
fn a_sealed_generation_whose_end_is_gone_is_put_aside_and_what_is_lost_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 500)])).unwrap();
    fill(&mailbox, 1..401);
    assert!(generations(&mailbox) > 2);
    drop(mailbox);
    let store = folder.path().join("store");
    assert!(check_store(&store).unwrap().sound);
    let database = store.join("gen-2");
    for is_between_messages in [true, false] {
        for entry in fs::read_dir(&database).unwrap().map(Result::unwrap) {
            // sled's snapshot would say how long the file is.
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let messages = messages(&database);
        let at = messages[messages.len() * 3 / 4];
        let log = fs::File::options().write(true).open(database.join("db")).unwrap();
        log.set_len(if is_between_messages { at } else { at + 9 }).unwrap();
        let check = check_store(&store).unwrap();
        assert_eq!(check.parts[1].state, "damaged", "{check:?}");
        let mailbox = open_small(folder.path());
        let read = mailbox.read(Q, Seq(1), 999, usize::MAX).unwrap();
        assert_eq!(read.len(), 400);
        assert!(read.iter().any(|message| message.unreadable.is_some()));
        upkeep(&mailbox);
        drop(mailbox);
        let check = check_store(&store).unwrap();
        assert_eq!(check.parts[1].state, "sound", "{check:?}");
    }
    assert_eq!(fs::read_dir(store.join("quarantine")).unwrap().count(), 4);
}

#[test]
fn a_store_whose_first_opening_was_cut_short_is_told_to_be_new_and_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    folder::prepare(&store).unwrap();
    let check = check_store(&store).unwrap();
    assert!(check.sound && check.parts[0].state == "new", "{check:?}");
    let mailbox = open(folder.path());
    mailbox.append(&batch([put_queue(Q, 0), append(Q, 1, "the first")])).unwrap();
    drop(mailbox);
    assert_eq!(check_store(&store).unwrap().parts[0].state, "sound");
    assert_eq!(places(&open(folder.path()), Q), [1]);
}

#[test]
fn a_database_that_is_not_there_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 500)])).unwrap();
    fill(&mailbox, 1..201);
    drop(mailbox);
    let store = folder.path().join("store");
    let active = check_store(&store).unwrap().parts.len() - 1;
    let told = |part: usize| {
        let check = check_store(&store).unwrap();
        let problems = check.problems.join(", ");
        assert!(!check.sound && check.parts[part].state == "missing", "{check:?}");
        assert!(problems.contains("put it back"), "{problems}");
        check.parts[part].name.clone()
    };
    let names: Vec<_> = check_store(&store).unwrap().parts.into_iter().map(|p| p.name).collect();
    for part in [0, active] {
        let (database, aside) = (store.join(&names[part]).join("db"), folder.path().join("aside"));
        fs::rename(&database, &aside).unwrap();
        let name = told(part);
        let refused = SledMailbox::open(&store, SledOptions::default()).unwrap_err().to_string();
        assert!(refused.contains(&name) && refused.contains("put it back"), "{refused}");
        fs::rename(&aside, &database).unwrap();
    }
    assert_eq!(places(&open_small(folder.path()), Q).len(), 200);
}

#[test]
fn a_part_of_a_process_of_which_a_chunk_is_gone_is_not_made_up_and_the_rest_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    let large = vec![7; 300_000];
    let parts = [put_process("a", 0, "body"), put_process("a", 1, large), put_queue(Q, 0)];
    mailbox.append(&batch(parts)).unwrap();
    let kept = [put_process("b", 0, "body of b"), append(Q, 1, "1")];
    mailbox.append(&batch(kept.clone())).unwrap();
    let chunk = chunk_key(&process_key(&process("a"), 1), 2);
    let generation = mailbox.store.active().unwrap().generation;
    generation.remove(&generation.state, &chunk).unwrap();
    mailbox.sync().unwrap();
    drop((mailbox, generation));
    let store = folder.path().join("store");
    let mailbox = open(folder.path());
    assert!(store.join("quarantine").exists());
    let processes = mailbox.recover().unwrap().processes;
    let processes: Vec<Op> =
        processes.into_iter().map(|part| Op::PutProcess(Box::new(part))).collect();
    assert_eq!(processes, [put_process("a", 0, "body"), kept[0].clone()]);
    assert_eq!(places(&mailbox, Q), [1]);
}
