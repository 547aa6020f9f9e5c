//! Pools without processes: when what is started.

use std::collections::BTreeMap;

use super::*;
use crate::model::{QueueName, RestartPolicy};

const SHORT: Duration = Duration::from_millis(1);

fn pool(count: u32, restart: RestartPolicy) -> Pool {
    let spec = WorkerPool {
        name: "p".to_owned(),
        queues: vec![QueueName::new("q").expect("valid")],
        by: WorkedBy::Exec(vec!["true".to_owned()]),
        count,
        credit: 1,
        max_execution_ms: 1,
        overrun_grace_ms: 0,
        stop_grace_ms: 0,
        env: BTreeMap::new(),
        cwd: None,
        health: false,
        restart,
    };
    Pool::new(spec, fastrand::Rng::with_seed(7))
}

fn pause(events: &[SupervisorEvent]) -> Option<u64> {
    events.iter().find_map(|event| match event {
        SupervisorEvent::Exited { again_in_ms, .. } => *again_in_ms,
        SupervisorEvent::Started { .. } | SupervisorEvent::GivenUp { .. } => None,
    })
}

#[test]
fn pauses_double_up_to_their_bound_and_begin_anew_after_a_good_run() {
    let policy = RestartPolicy { max_restarts: 99, ..RestartPolicy::default() };
    let mut pool = pool(1, policy);
    let now = Instant::now();
    let within = Duration::from_millis(policy.within_ms);
    for expected in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        let pause = pause(&pool.ended(0, "exit status 1", SHORT, now)).expect("again");
        assert!((expected / 2..=expected).contains(&pause), "{pause} of {expected}");
    }
    let pause = pause(&pool.ended(0, "exit status 1", within, now)).expect("again");
    assert!((250..=500).contains(&pause), "{pause}");
    assert_eq!(pool.view(now).restarts, 9);
}

#[test]
fn too_many_ends_in_too_short_a_time_give_the_pool_up_until_an_operator_restarts_it() {
    let policy = RestartPolicy { max_restarts: 3, within_ms: 1_000, ..RestartPolicy::default() };
    let mut pool = pool(2, policy);
    let began = Instant::now();
    let at = |ms| began + Duration::from_millis(ms);
    for ms in [0, 600, 1_200, 1_800] {
        let events = pool.ended(0, "x", SHORT, at(ms));
        assert!(pause(&events).is_some(), "{ms}: the first ones are long ago");
    }
    assert!(pause(&pool.ended(1, "x", SHORT, at(1_800))).is_some());
    let events = pool.ended(1, "the last", SHORT, at(1_800));
    assert_eq!(pause(&events), None);
    assert!(
        matches!(&events[1], SupervisorEvent::GivenUp { restarts: 4, how, .. } if how == "the last")
    );
    let now = at(1_800);
    assert_eq!(pool.view(now).state, PoolState::GivenUp);
    assert_eq!((pool.due(now), pool.next_due()), (vec![], None));
    pool.act(PoolAct::Restart, now);
    assert_eq!((pool.view(now).state, pool.due(now)), (PoolState::Running, vec![0, 1]));
}

#[test]
fn a_pool_is_drained_and_scaled() {
    let mut pool = pool(1, RestartPolicy::default());
    let now = Instant::now();
    assert_eq!(pool.due(now), [0]);
    assert_eq!(pool.worker_of(0), "p");
    pool.act(PoolAct::Scale(3), now);
    assert_eq!(pool.due(now).len(), 3);
    assert_eq!(pool.worker_of(2), "p-2");
    pool.act(PoolAct::Drain, now);
    assert!(pool.due(now).is_empty());
    pool.act(PoolAct::Scale(1), now);
    assert_eq!(pool.due(now), [0]);
}

#[test]
fn a_drained_place_stays_empty_until_it_or_its_pool_is_restarted() {
    let mut pool = pool(2, RestartPolicy::default());
    let now = Instant::now();
    assert_eq!((pool.place_of("p-1"), pool.place_of("p-2")), (Some(1), None));
    pool.act_on(1, Some(PoolAct::Drain), now);
    assert_eq!(pool.due(now), [0]);
    assert_eq!(pool.view(now).processes[1].state, ProcessState::Drained);
    pool.act_on(1, Some(PoolAct::Restart), now);
    assert_eq!(pool.due(now), [0, 1]);
    pool.act_on(0, Some(PoolAct::Drain), now);
    pool.act(PoolAct::Restart, now);
    assert_eq!(pool.due(now), [0, 1]);
    pool.act_on(0, Some(PoolAct::Drain), now);
    pool.act(PoolAct::Scale(1), now);
    assert_eq!(pool.due(now), [0]);
    assert_eq!(pool.view(now).restarts, 0);
}

#[test]
fn what_was_due_is_not_once_the_pool_is_given_up() {
    let mut pool = pool(3, RestartPolicy { max_restarts: 0, ..RestartPolicy::default() });
    let now = Instant::now();
    let due = pool.due(now);
    assert_eq!(due, [0, 1, 2]);
    pool.ended(0, "it can't be started", Duration::ZERO, now);
    assert!(!due.iter().any(|&place| pool.is_due(place, now)));
}
