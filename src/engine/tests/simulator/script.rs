//! What a run consists of: queues, and steps that mean something whatever came before.

use std::fmt;

use crate::model::{AckMode, Dedup, OnFailure, Ordering, Overflow, QueueSettings, Resend, Retry};

/// The queues of every run: one for each way in which a queue may behave.
pub(super) fn queues() -> Vec<(&'static str, QueueSettings)> {
    let retry = |attempts| Retry { attempts, jitter: 0.0, ..Retry::default() };
    let plain = QueueSettings { dedup: Dedup::Count { last: 16 }, ..QueueSettings::default() };
    let of =
        |ordering, attempts| QueueSettings { ordering, retry: retry(attempts), ..plain.clone() };
    vec![
        ("order", of(Ordering::Queue, 2)),
        ("order.ttl", QueueSettings { ttl_ms: 15_000, ..of(Ordering::Queue, 1) }),
        ("order.once", QueueSettings { ack: AckMode::OnDelivery, ..of(Ordering::Queue, 1) }),
        ("key", of(Ordering::Key, 2)),
        ("key.buries", QueueSettings { on_failure: OnFailure::DeadLetter, ..of(Ordering::Key, 1) }),
        ("free", QueueSettings { priority: true, ..of(Ordering::None, 2) }),
        ("free.drops", QueueSettings { on_failure: OnFailure::Drop, ..of(Ordering::None, 1) }),
        (
            "bounded",
            QueueSettings {
                max_messages: 6,
                overflow: Overflow::DeadLetterOldest,
                ..of(Ordering::Queue, 1)
            },
        ),
        ("again", QueueSettings { resend: Resend { keep_ms: 2_000 }, ..of(Ordering::None, 3) }),
    ]
}

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) window_messages: usize,
    pub(super) total_window_bytes: usize,
}

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    /// And will come again.
    Doubled,
    Lost,
}

/// What a worker does with what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Ack,
    Nack(crate::model::NackAction),
    Progress,
    /// It never answers; or much later.
    Hang,
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    Save,
    SaveAndRetry,
    Cancel,
    Restore,
    DeadLetter,
    Move,
}

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A producer puts a message on the wire: queue, id, what the header says, whether it calls.
    Send(u8, u8, u8, bool),
    /// The same for an event, which two queues get.
    Publish(u8),
    /// What is somewhere on the wire.
    Wire(u8, Fate),
    /// A worker has got something, and answers.
    Work(u8, Work),
    /// A worker answers what it was sent long ago, perhaps by the broker before.
    LateAck(u8),
    Ready(u8, u16, u8),
    Gone(u8),
    Bye(u8),
    /// All workers are heard.
    Heard,
    Pass(u16),
    /// So many batches are synced in one, and then told.
    Commit(u8),
    /// The broker dies. So many batches were synced, of which nobody was told; what comes after is lost.
    Crash(u8),
    /// One of the reads under way is answered.
    Read(u8),
    Repair(u8, u8, Verb),
    Pause(u8, bool),
    Hold(u8, u8, u16),
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

impl Script {
    pub(super) fn random(seed: u64, steps: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let setup = Setup {
            seed,
            window_messages: [1, 2, 5, 64][random.usize(0..4)],
            total_window_bytes: [0, 2_000, 1 << 20][random.usize(0..3)],
        };
        Self { setup, steps: (0..steps).map(|_| step(&mut random)).collect() }
    }
}

fn step(random: &mut fastrand::Rng) -> Step {
    use crate::model::NackAction;
    let at = |random: &mut fastrand::Rng| random.u8(0..9);
    match random.u8(0..100) {
        0..14 => {
            let shape = if random.bool() { 0 } else { random.u8(..) };
            Step::Send(at(random), random.u8(0..80), shape, random.u8(0..5) == 0)
        }
        14..15 => Step::Publish(random.u8(0..80)),
        15..39 => {
            let fate = match random.u8(0..20) {
                0 => Fate::Lost,
                1 => Fate::Doubled,
                _ => Fate::Arrives,
            };
            Step::Wire(random.u8(..), fate)
        }
        39..55 => {
            let work = match random.u8(0..20) {
                0..12 => Work::Ack,
                12..16 => Work::Nack(NackAction::Retry),
                16 => Work::Nack(NackAction::Block),
                17 => Work::Nack(NackAction::DeadLetter),
                18 => Work::Progress,
                _ => Work::Hang,
            };
            Step::Work(random.u8(..), work)
        }
        55..56 => Step::LateAck(random.u8(..)),
        56..58 => Step::Ready(random.u8(0..4), random.u16(..), random.u8(1..5)),
        58..59 if random.bool() => Step::Gone(random.u8(..)),
        58..59 => Step::Bye(random.u8(..)),
        59..64 => Step::Heard,
        64..70 => Step::Pass([1, 50, 300, 1_000, 2_000, 5_000][random.usize(0..6)]),
        70..85 => Step::Commit(random.u8(1..8)),
        85..86 => Step::Crash(random.u8(0..6)),
        86..94 => Step::Read(random.u8(..)),
        94..98 => {
            let verbs = [
                Verb::Retry,
                Verb::Retry,
                Verb::Retry,
                Verb::Save,
                Verb::SaveAndRetry,
                Verb::Cancel,
                Verb::Restore,
                Verb::DeadLetter,
                Verb::Move,
            ];
            Step::Repair(at(random), random.u8(..), verbs[random.usize(0..verbs.len())])
        }
        98 => Step::Pause(at(random), random.u8(0..3) == 0),
        _ => Step::Hold(at(random), random.u8(..), [0, 400, 5_000][random.usize(0..3)]),
    }
}

impl Step {
    /// The same with less chance in it, so that it doesn't matter how much came before.
    pub(super) fn plainer(self) -> Self {
        match self {
            Self::Send(at, id, _, _) => Self::Send(at, id, 0, false),
            Self::Wire(_, _) => Self::Wire(0, Fate::Arrives),
            Self::Work(_, work) => Self::Work(0, work),
            Self::Ready(_, _, _) => Self::Ready(0, u16::MAX, 4),
            Self::Commit(_) => Self::Commit(u8::MAX),
            Self::Crash(_) => Self::Crash(0),
            Self::Read(_) => Self::Read(0),
            Self::Repair(at, _, verb) => Self::Repair(at, 0, verb),
            Self::Hold(at, _, ms) => Self::Hold(at, 0, ms),
            other @ (Self::Publish(_)
            | Self::LateAck(_)
            | Self::Gone(_)
            | Self::Bye(_)
            | Self::Heard
            | Self::Pass(_)
            | Self::Pause(_, _)) => other,
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.setup)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}
