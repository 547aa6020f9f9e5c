//! Segments that sled would not see any more, in part or at all.

use std::io::Write as _;

use super::*;
use crate::mailbox::conformance::sample;
use crate::mailbox::sled::damage::{copy, zero};
use crate::mailbox::sled::raw::{Item, SegmentStart};

const SEGMENT: u64 = SLED_SEGMENT_BYTES as u64;

fn zero_header(log: &Path, offset: u64) {
    zero(log, offset, 20);
}

/// From a message in the middle of the segment on there is nothing any more.
fn zero_end(log: &Path, offset: u64) {
    let mut file = LogFile::open(log.parent().unwrap(), SLED_SEGMENT_BYTES).unwrap();
    let start = file.segments().unwrap()[(offset / SEGMENT) as usize];
    let mut boundaries = Vec::new();
    file.walk(start, u64::MAX, |item| {
        if let Item::Message { offset, .. } = item {
            boundaries.push(offset);
        }
    })
    .unwrap();
    let at = boundaries[boundaries.len() / 3];
    zero(log, at, offset + SEGMENT - at);
}

/// The segment comes last in the file, which ends in it.
fn cut_in(log: &Path, offset: u64) {
    let bytes = fs::read(log).unwrap();
    let (before, rest) = bytes.split_at(offset as usize);
    let (segment, after) = rest.split_at(SLED_SEGMENT_BYTES);
    let mut padded = after.to_vec();
    padded.resize(after.len().next_multiple_of(SLED_SEGMENT_BYTES), 0);
    let cut = &segment[..SLED_SEGMENT_BYTES / 2];
    fs::write(log, [before, &padded, cut].concat()).unwrap();
}

#[test]
fn a_segment_whose_header_became_zeroes_is_damage_if_it_is_needed() {
    spoilt_segments_are_told_from_unneeded_ones(zero_header);
}

#[test]
fn a_segment_whose_end_became_zeroes_is_damage_if_it_is_needed() {
    spoilt_segments_are_told_from_unneeded_ones(zero_end);
}

#[test]
fn a_file_that_ends_in_the_middle_of_its_log_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original");
    let generation = Generation::open(original.clone(), 1, 1 << 20).unwrap();
    let mut rewriting = Rewriting::default();
    rewriting.go_on(&generation, 300);
    for _ in 0..6 {
        rewriting.go_on(&generation, 100);
        // sled reads no further than that, even if nothing in it is needed.
        let (unneeded, damaged) = rewriting.spoil_each(&original, folder.path(), cut_in);
        assert!(unneeded == 0 && damaged > 0);
    }
}

/// The segments of the store's log, in the log's order.
fn segments(folder: &Path) -> Vec<SegmentStart> {
    let log = LogFile::open(&database(folder), SLED_SEGMENT_BYTES).unwrap();
    let order = Order::of(log.segments().unwrap(), 0, log.segment_bytes());
    order.segments.into_values().collect()
}

/// sled's snapshot is removed: so was the store before it was ever opened again.
fn unopened_store(folder: &Path) {
    store(folder);
    for entry in fs::read_dir(database(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::remove_file(path).unwrap();
        }
    }
}

fn open(folder: &Path) -> SledMailbox {
    SledMailbox::open(&folder.join("store"), SledOptions::default()).unwrap()
}

fn is_paused(mailbox: &SledMailbox) -> bool {
    mailbox.recover().unwrap().queues[0].record.paused.is_some()
}

#[test]
fn a_log_without_one_of_its_segments_is_damaged_and_its_queues_are_paused() {
    let folder = tempfile::tempdir().unwrap();
    unopened_store(folder.path());
    let log = database(folder.path()).join("db");
    let bytes = fs::read(&log).unwrap();
    let lost = segments(folder.path())[1];
    let (start, end) = (lost.offset as usize, lost.offset as usize + SLED_SEGMENT_BYTES);
    let gone = [&bytes[..start], &bytes[end..]].concat();
    let zeroes = [&bytes[..start], &vec![0; SLED_SEGMENT_BYTES], &bytes[end..]].concat();
    fs::write(&log, &bytes).unwrap();
    zero_end(&log, lost.offset);
    let without_end = fs::read(&log).unwrap();
    for bytes in [gone, zeroes, without_end] {
        fs::write(&log, bytes).unwrap();
        assert!(matches!(scan(folder.path()).verdict, Verdict::Damaged(_)));
        let check = crate::mailbox::check_store(&folder.path().join("store")).unwrap();
        assert!(!check.sound && check.problems.iter().any(|p| p.contains("pauses")), "{check:?}");
    }
    assert!(is_paused(&open(folder.path())));
}

#[test]
fn nothing_is_lost_with_the_header_of_the_last_segment() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    drop(open(folder.path()));
    let last = *segments(folder.path()).last().unwrap();
    zero_header(&database(folder.path()).join("db"), last.offset);
    let check = crate::mailbox::check_store(&folder.path().join("store")).unwrap();
    assert!(!check.sound, "{check:?}");
    let mailbox = open(folder.path());
    assert!(!is_paused(&mailbox));
    let next = mailbox.recover().unwrap().queues[0].next_seq.0;
    mailbox.append(&sample::batch([append(Q, next, "it is found again")])).unwrap();
    drop(mailbox);
    let there = open(folder.path()).read(Q, crate::model::Seq(next), 9, 9_999).unwrap();
    assert_eq!(there[0].content.payload, "it is found again");
}

#[test]
fn nothing_is_lost_with_the_header_of_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    unopened_store(folder.path());
    let there = |zeroed: Option<SegmentStart>| {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        if let Some(start) = zeroed {
            zero_header(&database(copied.path()).join("db"), start.offset);
        }
        let mailbox = open(copied.path());
        let read = mailbox.read(Q, crate::model::Seq(1), usize::MAX, usize::MAX).unwrap();
        assert!(read.iter().all(|message| message.unreadable.is_none()));
        (read.iter().map(|message| message.seq).collect::<Vec<_>>(), is_paused(&mailbox))
    };
    let segments = segments(folder.path());
    assert!(segments.len() > 2);
    for start in segments {
        assert!(there(Some(start)) == there(None), "{start:?}");
    }
}

#[test]
fn zeroes_behind_the_end_of_a_log_are_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    drop(open(folder.path()));
    let mut file = fs::File::options().append(true).open(database(folder.path()).join("db"));
    file.as_mut().unwrap().write_all(&[0; 100]).unwrap();
    assert_eq!(scan(folder.path()).verdict, Verdict::Sound);
}
