use super::*;

fn id(store: &str, seq: u64, revision: u32) -> DraftId {
    let queue = QueueName::new("orders.eu:1").unwrap();
    DraftId { store: store.to_owned(), queue, seq: Seq(seq), revision: Revision(revision) }
}

fn folder() -> (tempfile::TempDir, Drafts) {
    let dir = tempfile::tempdir().unwrap();
    let drafts = Drafts::new(dir.path().join("console/drafts"));
    (dir, drafts)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_draft_comes_back_byte_for_byte_and_only_to_its_owner() {
    let (_dir, drafts) = folder();
    let (first, other) = (id("unix:/run/a.sock", 7, 0), id("unix:/run/b.sock", 7, 0));
    let bytes = b"{\"a\":\r\n1}\n\0\n\xff";
    drafts.save(&first, b"before", Timestamp(1)).unwrap();
    drafts.save(&first, bytes, Timestamp(2)).unwrap();
    let draft = drafts.load(&first).unwrap().unwrap();
    assert_eq!((&draft.bytes[..], draft.entry.saved_at), (&bytes[..], Timestamp(2)));
    assert!(drafts.load(&other).unwrap().is_none());
    let path = drafts.path(&first);
    assert_eq!(mode(&path), 0o600);
    assert_eq!((mode(path.parent().unwrap()), mode(&drafts.dir)), (0o700, 0o700));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing left behind");
}

#[test]
fn an_open_folder_is_closed_to_others() {
    let (_dir, drafts) = folder();
    fs::create_dir_all(&drafts.dir).unwrap();
    fs::set_permissions(&drafts.dir, Permissions::from_mode(0o755)).unwrap();
    drafts.save(&id("s", 1, 0), b"x", Timestamp(1)).unwrap();
    assert_eq!(mode(&drafts.dir), 0o700);
}

#[test]
fn the_newest_of_a_message_is_found_whatever_its_revision() {
    let (_dir, drafts) = folder();
    for (seq, revision, at) in [(7, 0, 30), (7, 1, 50), (7, 2, 40), (8, 0, 60)] {
        let text = format!("{seq}.{revision}");
        drafts.save(&id("s", seq, revision), text.as_bytes(), Timestamp(at)).unwrap();
    }
    let queue = id("s", 7, 0).queue;
    assert_eq!(drafts.newest("s", &queue, Seq(7)).unwrap().unwrap().bytes, b"7.1");
    assert!(drafts.newest("t", &queue, Seq(7)).unwrap().is_none());
    let order: Vec<_> = drafts.list().unwrap().into_iter().map(|e| e.saved_at.0).collect();
    assert_eq!(order, [60, 50, 40, 30]);
    assert!(drafts.delete(&id("s", 7, 1)).unwrap());
    assert!(!drafts.delete(&id("s", 7, 1)).unwrap());
    assert_eq!(drafts.delete_own("s", &queue, Seq(7)).unwrap(), 2);
    assert_eq!(drafts.list().unwrap().len(), 1);
}

#[test]
fn a_damaged_draft_is_said_and_left_alone() {
    let (_dir, drafts) = folder();
    let id = id("s", 1, 0);
    drafts.save(&id, b"a long text", Timestamp(1)).unwrap();
    let path = drafts.path(&id);
    let whole = fs::read(&path).unwrap();
    for broken in [&whole[..whole.len() - 1], &whole[..5], b"", &[&whole[..], b"x"].concat()] {
        fs::write(&path, broken).unwrap();
        let error = drafts.load(&id).unwrap_err();
        assert!(matches!(error, DraftError::Damaged { .. }), "{error}");
    }
    fs::write(&path, b"no description").unwrap();
    assert!(drafts.list().unwrap().is_empty());
    assert_eq!(drafts.prune(Timestamp(u64::MAX)).unwrap(), 0);
    assert!(path.exists());
}

#[test]
fn a_failed_save_says_where_and_keeps_the_one_before() {
    let (dir, drafts) = folder();
    let blocked = Drafts::new(dir.path().join("a-file"));
    fs::write(&blocked.dir, b"").unwrap();
    let error = blocked.save(&id("s", 1, 0), b"x", Timestamp(1)).unwrap_err().to_string();
    assert!(error.starts_with("can't make the drafts' folder") && error.contains("a-file"));

    let id = id("s", 1, 0);
    drafts.save(&id, b"kept", Timestamp(1)).unwrap();
    let path = drafts.path(&id);
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).unwrap();
    // A folder in the file's place: the last step, the renaming, fails.
    fs::create_dir(&path).unwrap();
    let error = drafts.save(&id, b"new", Timestamp(2)).unwrap_err().to_string();
    assert!(error.starts_with("can't save the draft"), "{error}");
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_eq!(drafts.load(&id).unwrap().unwrap().bytes, b"kept");
}

#[test]
fn pruning_takes_the_old_and_the_many() {
    let (_dir, drafts) = folder();
    let now = Timestamp(MAX_AGE_MS * 2);
    drafts.save(&id("s", 0, 0), b"old", Timestamp(now.0 - MAX_AGE_MS - 1)).unwrap();
    drafts.save(&id("s", 1, 0), b"young", Timestamp(now.0 - MAX_AGE_MS)).unwrap();
    let left = drafts.path(&id("s", 0, 0)).with_file_name(format!("{TEMPORARY}x"));
    fs::write(&left, b"").unwrap();
    assert_eq!(drafts.prune(now).unwrap(), 1);
    assert!(left.exists(), "may be another console's save");
    assert!(drafts.load(&id("s", 1, 0)).unwrap().is_some());
    drafts.prune(modified(&left).plus_ms(MAX_TEMPORARY_MS + 1)).unwrap();
    assert!(!left.exists());
    assert_eq!(Drafts::new("/nowhere/at/all").prune(now).unwrap(), 0);
}

#[test]
fn any_store_gets_a_folder_of_its_own() {
    let long = "unix:/".to_owned() + &"x".repeat(300);
    let names = ["", ".", "..", "a/b", "a%2Fb", &long, &(long.clone() + "y")].map(folder_name);
    for (index, name) in names.iter().enumerate() {
        assert!(name.len() <= MAX_FOLDER_BYTES && !name.contains(['/', '.']), "{name}");
        assert!(!names[..index].contains(name), "{name}");
    }
}

#[test]
fn a_draft_is_of_the_console_that_lives() {
    let (dir, first) = folder();
    let second = Drafts::new(first.dir.clone());
    let id = id("s", 7, 1);
    first.save(&id, b"first", Timestamp(1)).unwrap();
    let newest = |drafts: &Drafts| drafts.newest("s", &id.queue, id.seq).unwrap().map(|d| d.bytes);
    assert_eq!(newest(&second), None);
    assert!(second.is_elsewhere("s", &id.queue, id.seq).unwrap());
    assert_eq!(second.kept("s").unwrap(), []);
    second.save(&id, b"second", Timestamp(2)).unwrap();
    assert_eq!(second.delete_own("s", &id.queue, id.seq).unwrap(), 1);
    assert_eq!(newest(&first).unwrap(), b"first");
    assert!(!first.is_elsewhere("s", &id.queue, id.seq).unwrap());

    // Once the first has ended, the next that reads it has it.
    drop(first);
    let third = Drafts::new(second.dir.clone());
    assert_eq!(second.kept("s").unwrap(), [(id.queue.clone(), id.seq)]);
    assert_eq!(newest(&second).unwrap(), b"first");
    assert_eq!(newest(&third), None);
    drop((second, third));
    let sessions = fs::read_dir(dir.path().join("console/drafts")).unwrap();
    let left = sessions.filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert_eq!(left, 0, "who ends leaves no file but drafts");
}

/// Consoles that have ended, each of which left one of these drafts.
fn left_by_the_dead(drafts: &Drafts, all: &[(&DraftId, &[u8], u64)]) {
    for (id, bytes, at) in all {
        Drafts::new(drafts.dir.clone()).save(id, bytes, Timestamp(*at)).unwrap();
    }
}

fn texts(drafts: &Drafts) -> Vec<Vec<u8>> {
    drafts.list().unwrap().iter().map(|entry| read(&entry.path).unwrap().unwrap().bytes).collect()
}

#[test]
fn a_draft_that_nobody_has_seen_is_not_removed_with_one_that_was_sent() {
    let (_dir, third) = folder();
    let (old, new) = (id("s", 7, 0), id("s", 7, 1));
    let newest = |drafts: &Drafts| drafts.newest("s", &old.queue, old.seq).unwrap();
    left_by_the_dead(&third, &[(&old, b"unseen", 1), (&new, b"seen", 2)]);
    assert_eq!(newest(&third).unwrap().bytes, b"seen");
    assert_eq!(third.delete_own("s", &old.queue, old.seq).unwrap(), 1);
    assert!(third.is_kept("s", &old.queue, old.seq).unwrap(), "it is told of");
    assert_eq!(newest(&third).unwrap().bytes, b"unseen", "and offered next");
    assert_eq!(third.delete_own("s", &old.queue, old.seq).unwrap(), 1);
    assert!(!third.is_kept("s", &old.queue, old.seq).unwrap());
}

#[test]
fn who_opened_a_message_beside_another_console_does_not_remove_its_draft_once_that_has_died() {
    let (_dir, first) = folder();
    let second = Drafts::new(first.dir.clone());
    let id = id("s", 7, 0);
    second.save(&id, b"typed elsewhere", Timestamp(1)).unwrap();
    assert!(first.newest("s", &id.queue, id.seq).unwrap().is_none());
    drop(second);
    assert_eq!(first.delete_own("s", &id.queue, id.seq).unwrap(), 0);
    assert_eq!(texts(&first), [b"typed elsewhere"]);
}

#[test]
fn a_draft_that_is_taken_over_takes_no_other_ones_place() {
    let (_dir, drafts) = folder();
    let id = id("s", 7, 0);
    let newest = |drafts: &Drafts| drafts.newest("s", &id.queue, id.seq).unwrap().unwrap().bytes;
    drafts.save(&id, b"own", Timestamp(1)).unwrap();
    left_by_the_dead(&drafts, &[(&id, b"a dead one's", 2)]);
    assert_eq!(newest(&drafts), b"own", "what was typed here comes first");
    assert_eq!(texts(&drafts).len(), 2);
    // Not even a damaged one's.
    fs::write(drafts.path(&id), b"no description").unwrap();
    assert_eq!(newest(&drafts), b"a dead one's");
    assert_eq!(fs::read(drafts.path(&id)).unwrap(), b"no description");
}

#[test]
fn a_damaged_draft_is_not_taken_over() {
    let (_dir, drafts) = folder();
    let id = id("s", 7, 0);
    left_by_the_dead(&drafts, &[(&id, b"a long text", 1)]);
    let path = drafts.list().unwrap().remove(0).path;
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = drafts.newest("s", &id.queue, id.seq).unwrap_err();
    assert!(matches!(error, DraftError::Damaged { .. }), "{error}");
    assert_eq!(drafts.delete_own("s", &id.queue, id.seq).unwrap(), 0);
    assert!(path.exists(), "it was left as it is");
    assert_eq!(drafts.throw_away("s", &id.queue, id.seq).unwrap(), 1);
    assert!(!path.exists(), "but it can be thrown away");
}

#[test]
fn a_draft_without_a_console_in_its_name_is_whose_who_reads_it_first() {
    let (_dir, drafts) = folder();
    let id = id("s", 7, 3);
    left_by_the_dead(&drafts, &[(&id, b"from before", 1)]);
    let path = drafts.list().unwrap().remove(0).path;
    fs::rename(&path, path.with_file_name("orders.eu:1@7.3.draft")).unwrap();
    assert_eq!(drafts.kept("s").unwrap(), [(id.queue.clone(), id.seq)]);
    assert_eq!(drafts.delete_own("s", &id.queue, id.seq).unwrap(), 0, "not seen yet");
    assert_eq!(drafts.newest("s", &id.queue, id.seq).unwrap().unwrap().bytes, b"from before");
    assert_eq!(drafts.delete_own("s", &id.queue, id.seq).unwrap(), 1);
}

#[test]
fn what_is_thrown_away_is_what_would_be_opened() {
    let (_dir, drafts) = folder();
    let (id, other) = (id("s", 7, 0), id("s", 71, 0));
    left_by_the_dead(&drafts, &[(&id, b"older", 1), (&id, b"newer", 2), (&other, b"other", 3)]);
    let living = Drafts::new(drafts.dir.clone());
    living.save(&id, b"living", Timestamp(4)).unwrap();
    assert_eq!(drafts.throw_away("s", &id.queue, id.seq).unwrap(), 1);
    let left: [&[u8]; 3] = [b"living", b"other", b"older"];
    assert_eq!(texts(&drafts), left);
    assert_eq!(drafts.newest("s", &id.queue, id.seq).unwrap().unwrap().bytes, b"older");
    assert_eq!(drafts.throw_away("s", &id.queue, id.seq).unwrap(), 1);
    assert_eq!(drafts.throw_away("s", &id.queue, id.seq).unwrap(), 0, "it is of one that lives");
}

#[test]
fn what_a_crash_left_of_a_session_is_pruned_and_a_living_one_is_not() {
    let (_dir, drafts) = folder();
    drafts.save(&id("s", 1, 0), b"x", Timestamp(1)).unwrap();
    let dead = drafts.dir.join("1-0.session");
    fs::write(&dead, b"").unwrap();
    let own = drafts.dir.join(format!("{}.session", drafts.session.token()));
    drafts.prune(modified(&dead).plus_ms(MAX_TEMPORARY_MS + 1)).unwrap();
    assert!(!dead.exists() && own.exists());
}
