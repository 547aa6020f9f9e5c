//! What is found in raw bytes, and what of it is lost.

use std::fs;

use super::*;
use crate::mailbox::sled::codec::seal;
use crate::mailbox::sled::generation::Generation;
use crate::mailbox::sled::layout::{SLED_SEGMENT_BYTES, log_key};
use crate::mailbox::sled::scan::tests::{database, store};

#[test]
fn the_raw_bytes_hold_what_sled_holds() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    let scan = Scan::of(&database(folder.path()), SLED_SEGMENT_BYTES, 0).unwrap();
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
        let scan = Scan {
            verdict: Verdict::Damaged("for this test".to_owned()),
            bad: Vec::new(),
            end: u64::MAX,
            unneeded: BTreeSet::new(),
        };
        let gathered = Gathered::of(&mut log, None, &scan).unwrap();
        gathered.lost().map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    assert_eq!(lost(b"jthere"), [b"kthere".to_vec()]);
    assert_eq!(lost(b"jgone"), [b"kgone".to_vec()]);
    for n in 0..100 {
        put(b"jother", n);
    }
    assert_eq!(lost(b"jgone"), Vec::<Vec<u8>>::new());
}
