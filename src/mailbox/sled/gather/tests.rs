//! What is found in raw bytes, and what of it is lost.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::*;
use crate::mailbox::sled::codec::{seal, unseal};
use crate::mailbox::sled::generation::Generation;
use crate::mailbox::sled::layout::{SLED_SEGMENT_BYTES, log_key};
use crate::mailbox::sled::scan::tests::{database, store};
use crate::mailbox::sled::scan::{Confirmed, Verdict};
use crate::mailbox::sled::segment::{encode_part, is_value_of};

#[test]
fn the_raw_bytes_hold_what_sled_holds() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    let scan =
        Scan::of(&database(folder.path()), SLED_SEGMENT_BYTES, Confirmed::Closed(0)).unwrap();
    let mut log = LogFile::open(&database(folder.path()), SLED_SEGMENT_BYTES).unwrap();
    let gathered = Gathered::of(&mut log, None, &scan).unwrap();
    assert!(!gathered.has_unknown);
    let config = ::sled::Config::new().path(database(folder.path()));
    let db = config.segment_size(SLED_SEGMENT_BYTES).open().unwrap();
    let read = |place: Place| log.read(place.offset, place.bytes).unwrap();
    let found: Vec<_> = gathered
        .log_values()
        .map(|(id, place)| (log_key(id, VALUE_SLOT).to_vec(), read(place)))
        .collect();
    let there = |tree: &str| {
        let items = db.open_tree(tree).unwrap().iter().map(Result::unwrap);
        items.map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>()
    };
    let expected: Vec<_> =
        there("log").into_iter().filter(|(_, value)| !value.is_empty()).collect();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "log");
    let found: Vec<_> = (b'a'..=b'z')
        .flat_map(|letter| gathered.state_values(letter))
        .map(|(key, place)| (key.to_vec(), read(place)))
        .collect();
    let expected = there("state");
    let keys = |items: &[(Vec<u8>, Vec<u8>)]| {
        items.iter().map(|(key, _)| super::super::codec::hex(key)).collect::<Vec<_>>()
    };
    assert_eq!(keys(&found), keys(&expected));
    assert!(found == expected, "state");
}

/// Damage in what sled has no use for any more, of a key that has gone too.
#[test]
fn what_was_damaged_of_a_page_before_it_was_written_anew_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("gen-1");
    let generation = Generation::open(database.clone(), 1, 1 << 20).unwrap();
    let value = |key: &[u8], fill: u8| {
        let mut value = vec![fill; 1_000];
        seal(key, &mut value);
        value
    };
    let put = |key: &[u8], fill| {
        generation.insert(&generation.state, key, value(key, fill)).unwrap();
    };
    put(b"jthere", 0xd1);
    put(b"jgone", 0xd2);
    generation.remove(&generation.state, b"jgone").unwrap();
    let lost = |key: &[u8]| {
        generation.sync().unwrap();
        let copy = folder.path().join("copy");
        fs::create_dir_all(&copy).unwrap();
        let mut bytes = fs::read(database.join("db")).unwrap();
        // Of its removal too nothing is left.
        for at in 0..bytes.len() - key.len() {
            if bytes[at..].starts_with(key) {
                bytes[at] ^= 1;
            }
        }
        fs::write(copy.join("db"), bytes).unwrap();
        let mut log = LogFile::open(&copy, SLED_SEGMENT_BYTES).unwrap();
        let gathered = Gathered::of(&mut log, None, &damaged()).unwrap();
        gathered.lost().map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    assert_eq!(lost(b"jthere"), [b"kthere".to_vec()]);
    assert_eq!(lost(b"jgone"), [b"kgone".to_vec()]);
    for n in 0..100 {
        put(b"jother", n);
    }
    assert_eq!(lost(b"jgone"), Vec::<Vec<u8>>::new());
}

fn damaged() -> Scan {
    Scan {
        verdict: Verdict::Damaged("for this test".to_owned()),
        bad: Vec::new(),
        end: u64::MAX,
        unneeded: BTreeSet::new(),
        needed: BTreeSet::new(),
    }
}

/// Where the last message that `is_wanted` is in the file.
fn find(database: &Path, is_wanted: impl Fn(&RawMessage<'_>) -> bool) -> Range<u64> {
    let mut log = LogFile::open(database, SLED_SEGMENT_BYTES).unwrap();
    let (start, mut found) = (log.segments().unwrap()[0], None);
    log.walk(start, u64::MAX, |item| {
        if let Item::Message { offset, message } = item
            && is_wanted(&message)
        {
            found = Some(offset..offset + message.bytes as u64);
        }
    })
    .unwrap();
    found.expect("it is in the log")
}

/// Flips a bit in each byte, and looks at what is found then.
fn flip_each(database: &Path, places: Range<u64>, mut look: impl FnMut(&Gathered)) {
    let file = fs::File::options().read(true).write(true).open(database.join("db")).unwrap();
    let mut random = fastrand::Rng::with_seed(places.start);
    for at in places {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ (1 << random.u32(..8))], at).unwrap();
        let mut log = LogFile::open(database, SLED_SEGMENT_BYTES).unwrap();
        look(&Gathered::of(&mut log, None, &damaged()).unwrap());
        file.write_all_at(&byte, at).unwrap();
    }
}

#[test]
fn a_damaged_message_never_brings_back_what_was_there_before_it_unsaid() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("gen-1");
    let generation = Generation::open(database.clone(), 1, 1 << 20).unwrap();
    let put = |key: &[u8], text: &str| {
        let mut value = text.as_bytes().to_vec();
        seal(key, &mut value);
        generation.insert(&generation.state, key, value).unwrap();
    };
    let keys = [b"r1changed", b"r2removed", b"r3as it w"];
    keys.iter().for_each(|key| put(*key, "before"));
    put(keys[0], "the newest");
    generation.remove(&generation.state, keys[1]).unwrap();
    generation.insert(&generation.log, &log_key(1, 0), b"".as_slice()).unwrap();
    generation.sync().unwrap();
    let look = |gathered: &Gathered| {
        let log = LogFile::open(&database, SLED_SEGMENT_BYTES).unwrap();
        let text = |key: &[u8]| {
            let value = gathered.read(&log, gathered.value(key)?).unwrap();
            Some(unseal(key, &value).unwrap().to_vec())
        };
        let is_newest = text(keys[0]).is_some_and(|text| text == b"the newest")
            && text(keys[1]).is_none()
            && text(keys[2]).is_some_and(|text| text == b"before");
        assert!(is_newest || gathered.has_unknown, "{:?}", gathered.bad);
        u32::from(is_newest)
    };
    let has = |message: &RawMessage<'_>, text: &[u8]| {
        message.body.windows(text.len()).any(|window| window == text)
    };
    let changed = find(&database, |m| m.kind == Kind::Link && has(m, b"the newest"));
    let mut newest = 0;
    flip_each(&database, changed, |gathered| newest += look(gathered));
    let removed = find(
        &database,
        |m| matches!(Update::decode(m), Some(Update::Del(k)) if b"r2removed".ends_with(k)),
    );
    flip_each(&database, removed, |gathered| newest += look(gathered));
    // All of it anew, in one message.
    (0..20).for_each(|n| put(b"r4other", &n.to_string()));
    generation.insert(&generation.log, &log_key(1, 1), b"".as_slice()).unwrap();
    generation.sync().unwrap();
    let leaf = find(&database, |m| m.kind == Kind::Node && has(m, b"the newest"));
    flip_each(&database, leaf, |gathered| assert!(gathered.has_unknown));
    // A flip in the checksum of a message, for one.
    assert!(newest > 0);
}

#[test]
fn a_damaged_log_value_hides_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("gen-1");
    let generation = Generation::open(database.clone(), 1, 1 << 20).unwrap();
    for id in 1..=3 {
        let part = encode_part(id, id, &[b'x'; 100]);
        generation.insert(&generation.log, &log_key(id, VALUE_SLOT), part).unwrap();
    }
    generation.sync().unwrap();
    let is_second = |message: &RawMessage<'_>| match Update::decode(message) {
        Some(Update::Set(_, value)) => is_value_of(2, value),
        _ => false,
    };
    let second = find(&database, is_second);
    // Of what stands before its payload some says what the message is.
    flip_each(&database, second.end - 90..second.end, |gathered| {
        assert!(!gathered.has_unknown);
        assert_eq!(gathered.lost().collect::<Vec<_>>(), [log_key(2, VALUE_SLOT)]);
    });
}
