//! Processes' records and bounds.

use super::*;
use crate::engine::tests::rig::Rig;
use crate::model::{ProcessId, QueueSettings};

fn key(id: &str) -> ProcessKey {
    ProcessKey { kind: ProcessKind::Gather, id: ProcessId::new(id).unwrap() }
}

fn start(rig: &mut Rig, id: &str, bytes: usize) -> ProcessNumber {
    let mut out = Effects::default();
    let number = rig.engine.start_process(key(id), vec![b'x'; bytes].into(), &mut out);
    rig.store.commit(out.ops);
    number
}

#[test]
fn a_process_is_there_after_a_restart_until_it_ends() {
    let mut rig = Rig::new(QueueSettings::default());
    let number = start(&mut rig, "a", 5);
    let mut out = Effects::default();
    rig.engine.put_process(number, 1, Bytes::from_static(b"part"), &mut out);
    rig.engine.put_process(number, 0, Bytes::from_static(b"new"), &mut out);
    rig.store.commit(out.ops);
    assert_eq!(rig.engine.processes.bytes, 7);
    rig.restart();
    assert_eq!(rig.engine.processes.bytes, 7);
    let counts = rig.engine.counts();
    assert_eq!(counts.unreadable_processes, 1, "these bytes are no gather");
    let number = rig.engine.processes.find(&key("a")).unwrap();
    let mut out = Effects::default();
    rig.engine.end_process(number, &mut out);
    rig.store.commit(out.ops);
    assert_eq!((rig.engine.processes.bytes, rig.store.processes.len()), (0, 0));
}

#[test]
fn what_would_be_more_than_the_bounds_is_refused_as_busy() {
    let mut rig = Rig::new(QueueSettings::default());
    for n in 0..3 {
        start(&mut rig, &format!("large-{n}"), MAX_PROCESS_PART_BYTES);
    }
    let refused = rig.engine.admit_process(1).unwrap_err();
    assert_eq!(refused.code, RejectCode::Busy, "{refused:?}");
    assert!(rig.engine.has_process_room(1_000_000), "what runs goes on");
    let mut rig = Rig::new(QueueSettings::default());
    for n in 0..MAX_PROCESSES {
        rig.engine.admit_process(1).unwrap();
        start(&mut rig, &n.to_string(), 1);
    }
    let refused = rig.engine.admit_process(1).unwrap_err();
    assert_eq!(refused.code, RejectCode::Busy, "{refused:?}");
    let too_large = rig.engine.admit_process(MAX_PROCESS_PART_BYTES + 1);
    assert!(too_large.is_err());
}
