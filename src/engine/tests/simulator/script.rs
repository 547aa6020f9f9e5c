//! What a run consists of: queues, and steps that mean something whatever came before.

use std::fmt;

use super::setup::QUEUES;
use crate::model::{NackAction, SagaAct};

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
    Nack(NackAction),
    Progress,
    /// A part of its reply.
    Partial,
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
    /// A dead letter of the queue goes back.
    Redrive,
}

/// How a producer hears of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// It waits.
    Call,
    /// In a queue.
    Reply,
}

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A producer puts a message on the wire: queue, id, what the header says, how it waits for the reply.
    Send(u8, u8, u8, Wish),
    /// The same for an event, and whether it has a key.
    Publish(u8, bool),
    /// The same for a message to several queues, whose replies are one answer: which gather, id, where the answer goes.
    Gather(u8, u8, Wish),
    /// The same for a saga: id, where it tells its end.
    Start(u8, Wish),
    /// An operator does something to a saga.
    SagaAct(u8, SagaAct),
    /// Somebody asks for a message: queue, and which one.
    Status(u8, u8),
    /// Somebody who waits goes away.
    CallerGone(u8),
    /// A door without answers refuses a message.
    Bury(u8),
    /// A subscription comes or goes.
    Subscribe(bool),
    /// The disk is full, or not any more.
    Full(bool),
    /// What is somewhere on the wire.
    Wire(u8, Fate),
    /// A worker has got something, and answers.
    Work(u8, Work),
    /// A worker answers what it was sent long ago, perhaps by the broker before.
    LateAck(u8),
    Ready(u8, u16, u8),
    /// A sink of the `pull` door, which answers nothing: of a queue.
    Sink(u8, u8),
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
    let at = |random: &mut fastrand::Rng| random.u8(0..QUEUES);
    let wish = |random: &mut fastrand::Rng| {
        [Wish::Nothing, Wish::Nothing, Wish::Nothing, Wish::Call, Wish::Reply][random.usize(0..5)]
    };
    match random.u16(0..1000) {
        0..130 => {
            let shape = if random.bool() { 0 } else { random.u8(..) };
            Step::Send(at(random), random.u8(0..80), shape, wish(random))
        }
        130..140 => Step::Publish(random.u8(0..80), random.bool()),
        140..150 => {
            let wish = if random.u8(0..3) == 0 { Wish::Reply } else { Wish::Call };
            Step::Gather(random.u8(..), random.u8(0..20), wish)
        }
        150..158 => Step::Start(random.u8(0..20), wish(random)),
        158..162 => {
            let acts = [SagaAct::Retry, SagaAct::Skip, SagaAct::Abort];
            Step::SagaAct(random.u8(0..6), acts[random.usize(0..3)])
        }
        162..168 => Step::Status(at(random), random.u8(..)),
        168..170 => Step::CallerGone(random.u8(..)),
        170..172 => Step::Bury(random.u8(0..80)),
        172..174 => Step::Subscribe(random.bool()),
        174..176 => Step::Full(random.u8(0..4) == 0),
        176..400 => {
            let fate = match random.u8(0..20) {
                0 => Fate::Lost,
                1 => Fate::Doubled,
                _ => Fate::Arrives,
            };
            Step::Wire(random.u8(..), fate)
        }
        400..560 => Step::Work(random.u8(..), work(random)),
        560..570 => Step::LateAck(random.u8(..)),
        570..588 => Step::Ready(random.u8(0..4), random.u16(..), random.u8(1..5)),
        588..590 => Step::Sink(at(random), random.u8(1..4)),
        590..600 if random.bool() => Step::Gone(random.u8(..)),
        590..600 => Step::Bye(random.u8(..)),
        600..645 => Step::Heard,
        645..700 => Step::Pass([1, 50, 300, 1_000, 2_000, 5_000][random.usize(0..6)]),
        700..850 => Step::Commit(random.u8(1..8)),
        850..855 => Step::Crash(random.u8(0..6)),
        855..940 => Step::Read(random.u8(..)),
        940..980 => Step::Repair(at(random), random.u8(..), verb(random)),
        980..990 => Step::Pause(at(random), random.u8(0..3) == 0),
        _ => Step::Hold(at(random), random.u8(..), [0, 400, 5_000][random.usize(0..3)]),
    }
}

fn work(random: &mut fastrand::Rng) -> Work {
    match random.u8(0..20) {
        0..12 => Work::Ack,
        12..14 => Work::Nack(NackAction::Retry),
        14 => Work::Nack(NackAction::Block),
        15 => Work::Nack(NackAction::DeadLetter),
        16 => Work::Progress,
        17..19 => Work::Partial,
        _ => Work::Hang,
    }
}

fn verb(random: &mut fastrand::Rng) -> Verb {
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
        Verb::Redrive,
        Verb::Redrive,
    ];
    verbs[random.usize(0..verbs.len())]
}

impl Step {
    /// The same with less chance in it, so that it doesn't matter how much came before.
    pub(super) fn plainer(self) -> Self {
        match self {
            Self::Send(at, id, _, _) => Self::Send(at, id, 0, Wish::Nothing),
            Self::Publish(id, _) => Self::Publish(id, false),
            Self::Gather(which, id, _) => Self::Gather(which, id, Wish::Call),
            Self::Start(id, _) => Self::Start(id, Wish::Nothing),
            Self::CallerGone(_) => Self::CallerGone(0),
            Self::Wire(_, _) => Self::Wire(0, Fate::Arrives),
            Self::Work(_, work) => Self::Work(0, work),
            Self::Ready(_, _, _) => Self::Ready(0, u16::MAX, 4),
            Self::Commit(_) => Self::Commit(u8::MAX),
            Self::Crash(_) => Self::Crash(0),
            Self::Read(_) => Self::Read(0),
            Self::Repair(at, _, verb) => Self::Repair(at, 0, verb),
            Self::Hold(at, _, ms) => Self::Hold(at, 0, ms),
            other @ (Self::SagaAct(_, _)
            | Self::Status(_, _)
            | Self::Bury(_)
            | Self::Subscribe(_)
            | Self::Full(_)
            | Self::LateAck(_)
            | Self::Sink(_, _)
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
