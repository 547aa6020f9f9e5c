//! Random runs: whatever happens, the engine does what the model says.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::world::{Answer, QUEUES, Verb, World};
use crate::model::NackAction;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Send(Vec<(usize, u8)>, bool),
    Ready(usize, BTreeSet<usize>, u32),
    Gone(usize),
    Bye(usize),
    Heard,
    Answer(usize, Answer),
    LateAnswer(usize, Answer),
    Progress(usize),
    Advance(u64),
    /// Time passes while all workers are heard.
    Linger,
    ClockBack(u64),
    Pause(usize, bool),
    Hold(usize, usize, &'static str, u64),
    Repair(usize, usize, u8, bool, Verb),
    Commit(usize),
    FailCommit,
    AnswerLoad(usize),
    Add(usize, Vec<u8>),
    Arrive(usize, u64),
    Reach(bool),
}

impl Step {
    fn run(self, world: &mut World) {
        match self {
            Self::Send(messages, call) => world.send(&messages, call),
            Self::Ready(pick, queues, credit) => world.ready(pick, &queues, credit),
            Self::Gone(pick) => world.gone(pick),
            Self::Bye(pick) => world.bye(pick),
            Self::Heard => world.heard(),
            Self::Answer(pick, answer) => world.answer(pick, answer),
            Self::LateAnswer(pick, answer) => world.late_answer(pick, answer),
            Self::Progress(pick) => world.progress(pick),
            Self::Advance(ms) => world.advance(ms),
            Self::Linger => world.linger(),
            Self::ClockBack(ms) => world.clock_back(ms),
            Self::Pause(at, paused) => world.pause(at, paused),
            Self::Hold(at, pick, who, ms) => world.hold(at, pick, who, ms),
            Self::Repair(at, pick, key, stale, verb) => world.repair(at, pick, key, stale, verb),
            Self::Commit(batches) => world.commit(batches),
            Self::FailCommit => world.fail_commit(),
            Self::AnswerLoad(pick) => world.answer_load(pick),
            Self::Add(at, ids) => world.add(at, &ids),
            Self::Arrive(at, gap) => world.arrive(at, gap),
            Self::Reach(is_down) => world.reach(is_down),
        }
    }
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Ack),
        2 => select(vec![None, Some(0), Some(300)])
            .prop_map(|delay| Answer::Nack(NackAction::Retry, delay)),
        1 => select(vec![NackAction::Block, NackAction::DeadLetter])
            .prop_map(|action| Answer::Nack(action, None)),
    ]
}

fn verbs() -> impl Strategy<Value = Verb> {
    prop_oneof![
        any::<u8>().prop_map(Verb::Save),
        any::<u8>().prop_map(Verb::SaveAndRetry),
        Just(Verb::Retry),
        Just(Verb::Cancel),
        Just(Verb::Restore),
        Just(Verb::Undo),
        Just(Verb::DeadLetter),
        (0..QUEUES.len()).prop_map(Verb::Move),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let at = || 0..QUEUES.len();
    let pick = || 0..12usize;
    prop_oneof![
        8 => (prop::collection::vec((at(), 0..20u8), 1..5), prop::bool::weighted(0.2))
            .prop_map(|(messages, call)| Step::Send(messages, call)),
        3 => (0..4usize, prop::collection::btree_set(at(), 1..=3), 1..4u32)
            .prop_map(|(pick, queues, credit)| Step::Ready(pick, queues, credit)),
        1 => (0..4usize).prop_map(Step::Gone),
        1 => (0..4usize).prop_map(Step::Bye),
        4 => Just(Step::Heard),
        10 => (pick(), answers()).prop_map(|(pick, answer)| Step::Answer(pick, answer)),
        1 => (pick(), answers()).prop_map(|(pick, answer)| Step::LateAnswer(pick, answer)),
        1 => pick().prop_map(Step::Progress),
        4 => select(vec![0, 1, 50, 300, 1_000, 2_000, 4_000, 8_000, 31_000])
            .prop_map(Step::Advance),
        2 => Just(Step::Linger),
        1 => select(vec![1, 500, 1_001, 5_000, 100_000]).prop_map(Step::ClockBack),
        1 => (at(), any::<bool>()).prop_map(|(at, paused)| Step::Pause(at, paused)),
        1 => (at(), pick(), select(vec!["ann", "bob"]), select(vec![0, 500, 10_000]))
            .prop_map(|(at, pick, who, ms)| Step::Hold(at, pick, who, ms)),
        5 => (at(), pick(), 0..30u8, prop::bool::weighted(0.1), verbs())
            .prop_map(|(at, pick, key, stale, verb)| Step::Repair(at, pick, key, stale, verb)),
        12 => (1..6usize).prop_map(Step::Commit),
        1 => Just(Step::FailCommit),
        6 => pick().prop_map(Step::AnswerLoad),
        2 => (at(), prop::collection::vec(0..20u8, 1..4)).prop_map(|(at, ids)| Step::Add(at, ids)),
        3 => (at(), prop_oneof![3 => Just(0u64), 1 => 1..3u64])
            .prop_map(|(at, gap)| Step::Arrive(at, gap)),
        1 => any::<bool>().prop_map(Step::Reach),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// FIFO for each queue, at most one in flight, no message lost or invented, nothing told before its
    /// commit, each repair once, counters as they should be: see `World`.
    #[test]
    fn whatever_happens_the_rules_hold(
        window in select(vec![1usize, 2, 4, 64]),
        budget in select(vec![0usize, 2_000, 1 << 20]),
        steps in prop::collection::vec(steps(), 1..250),
    ) {
        let mut world = World::new(window, budget);
        for step in steps {
            step.run(&mut world);
        }
        world.settle();
    }
}
