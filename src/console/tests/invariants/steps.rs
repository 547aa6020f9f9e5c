//! What may happen to a console, in any order, and how it is done to it.

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;

use super::Watch;
use crate::admin::dto::{
    JournalKind, MessageState, Notice, Problem, QueueState, RepairOutcome, RepairRequest, Revision,
    SchemaText, Seq, StreamEvent, told,
};
use crate::console::action::{Action, Failure, Reply};
use crate::console::effect::{Effect, Request};
use crate::console::fixtures::{Stage, blocked, entry, head, id, message, missed, name, summary};
use crate::console::many::{Ending, How, Item, Job, Outcome, Progress, Told};
use crate::console::model::MessageRef;

/// One step of a random run.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Key(KeyEvent),
    /// A way that random keys seldom find: to a message, an edit up to its review, a retry.
    Way(&'static [&'static str]),
    Paste(String),
    Wait(u64),
    /// Answers a question that was asked at some time, perhaps long ago, perhaps before.
    Answer(usize, Kind),
    Lost(bool),
    Connected,
    Hear(Word),
    Resize(u16, u16),
}

impl Step {
    /// A way's keys one by one: what is looked at before a step is looked at before each key.
    pub(super) fn singly(self) -> Vec<Self> {
        match self {
            Self::Way(keys) => keys.chunks(1).map(Self::Way).collect(),
            step => vec![step],
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Good,
    Changed,
    Refused,
    Unknown,
    NotSent,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    Blocked(u64),
    Recovered(u64),
    Leased(u64),
    Empty,
    SavedByBob(u64),
    Lagged,
    /// `orders` has this schema from now on.
    Schema(&'static str),
}

/// None, one that takes anything, one that takes nothing that is typed here, and one that takes some of it.
const SCHEMAS: [&str; 4] = [
    "",
    "{}",
    r#"{"required":["never"]}"#,
    r#"{"properties":{"a":{"type":"number"}},"maxProperties":3}"#,
];

fn key() -> impl Strategy<Value = KeyEvent> {
    let plain = |code| KeyEvent::new(code, KeyModifiers::NONE);
    let ctrl = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    prop_oneof![
        6 => prop::sample::select(vec!['e', 'e', 'r', 'x', 'u', 'p', 'd', 'y', 'j', 'k', 'G', 'g', ':',
            'E', 'v', 'f', 'N', '[', ' ', 'V', 'U', 'R', 'J', 'm', 's', 'f', 'o',
            '/', '?', '1', '2', '3', '4', '5', '6', '7', 'l', 's', 'K', 'q', 'n', '{', '"', '0', '3', ' '])
            .prop_map(move |c| plain(KeyCode::Char(c))),
        4 => prop::sample::select(vec![KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab,
            KeyCode::Left, KeyCode::Right, KeyCode::Down, KeyCode::End, KeyCode::Backspace, KeyCode::Delete,
            KeyCode::F(5), KeyCode::F(8), KeyCode::F(4), KeyCode::F(3), KeyCode::PageDown])
            .prop_map(plain),
        3 => prop::sample::select(vec!['s', 's', 'u', 'r', 'f', 'c', 'l', 'd'])
            .prop_map(ctrl),
    ]
}

const WAYS: &[&[&str]] = &[
    &["1", "<Enter>", "<Enter>"],
    &["1", "r"],
    &["r"],
    &["e", "<End>", "<Left>", " "],
    &["^s", "<Tab>", "<Enter>"],
    &["^s", "<Tab>", "<Enter>", "why", "<Enter>"],
    &["x", "000003", "why", "<Enter>"],
    &["7", "h", "x", "000003", "why", "<Enter>"],
    &["1", "<Enter>", " ", " ", "R"],
    &["V", "j", "j", "j", "V", "J", ".a = 1", "<Enter>"],
    &["<Enter>", "2", "<Enter>"],
    &["2", "<Enter>"],
];

pub(super) fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        6 => Just(Kind::Good), 1 => Just(Kind::Changed), 1 => Just(Kind::Refused),
        2 => Just(Kind::Unknown), 1 => Just(Kind::NotSent),
    ];
    let word = prop_oneof![
        (3_u64..6).prop_map(Word::Blocked),
        (3_u64..6).prop_map(Word::Recovered),
        (3_u64..6).prop_map(Word::Leased),
        Just(Word::Empty),
        (3_u64..6).prop_map(Word::SavedByBob),
        Just(Word::Lagged),
        prop::sample::select(SCHEMAS.to_vec()).prop_map(Word::Schema),
    ];
    prop_oneof![
        10 => key().prop_map(Step::Key),
        4 => prop::sample::select(WAYS.to_vec()).prop_map(Step::Way),
        1 => "[a-z{}\\[\\]\",\r\n\u{1b}]{0,12}".prop_map(Step::Paste),
        2 => (0_u64..50_000).prop_map(Step::Wait),
        8 => (any::<usize>(), kind).prop_map(|(n, kind)| Step::Answer(n, kind)),
        1 => any::<bool>().prop_map(Step::Lost),
        1 => Just(Step::Connected),
        2 => word.prop_map(Step::Hear),
        1 => (1_u16..220, 1_u16..60).prop_map(|(w, h)| Step::Resize(w, h)),
    ]
}

fn outcome(message: &MessageRef, request: &RepairRequest) -> RepairOutcome {
    RepairOutcome {
        key: request.key.clone(),
        queue: message.queue.clone(),
        seq: message.seq,
        id: id(message.seq.0),
        revision: request.expect_revision.next(),
        state: MessageState::Ready,
        moved: None,
        journal: 8,
        repeated: false,
    }
}

fn problem(code: &str, status: u16) -> Failure {
    Failure::Refused(Box::new(Problem {
        code: code.to_owned(),
        status,
        title: code.to_owned(),
        detail: "no\u{1b}[2J".to_owned(),
        ..Problem::default()
    }))
}

fn reply(stage: &Stage, watch: &Watch, request: &Request, kind: Kind) -> Result<Reply, Failure> {
    match kind {
        // A schema that can't be read is left to the broker.
        Kind::Changed | Kind::Refused if matches!(request, Request::Schema(_)) => {
            Err(Failure::Unknown("lost".into()))
        }
        Kind::Changed => Err(problem("changed", 409)),
        Kind::Refused => Err(problem("not_found", 404)),
        Kind::Unknown => Err(Failure::Unknown("lost".into())),
        Kind::NotSent => Err(Failure::NotSent("nobody there".into())),
        Kind::Good => match request {
            Request::Repair(message, request) => Ok(Reply::Repaired(outcome(message, request))),
            Request::Outcome(key) => {
                let sent = watch.asked.iter().find_map(|effect| match effect {
                    Effect::Ask(_, Request::Repair(message, request)) if request.key == *key => {
                        Some(outcome(message, request))
                    }
                    _ => None,
                });
                Ok(Reply::Outcome(sent))
            }
            other => stage.reply(other).ok_or_else(|| problem("not_found", 404)),
        },
    }
}

fn word(stage: &Stage, word: Word) -> StreamEvent {
    let journal = |kind, seq| {
        let mut entry = entry(9, kind, "orders", Some(seq), "again");
        entry.actor.name = "bob".to_owned();
        told(Notice::Journal { entry })
    };
    match word {
        Word::Blocked(seq) => journal(JournalKind::Blocked, seq),
        Word::SavedByBob(seq) => journal(JournalKind::Saved, seq),
        Word::Recovered(seq) => {
            told(Notice::Recovered { queue: name("orders"), seq: Seq(seq), id: id(seq) })
        }
        Word::Leased(seq) => {
            let mut summary = summary(seq);
            summary.state = MessageState::Leased;
            let head = head(&summary);
            StreamEvent::Queues(vec![stage.orders(QueueState::Running, 9, Some(head))])
        }
        Word::Empty => StreamEvent::Queues(vec![stage.orders(QueueState::Running, 0, None)]),
        Word::Schema(_) => StreamEvent::Queues(vec![stage.orders(QueueState::Running, 1, None)]),
        Word::Lagged => StreamEvent::Lagged { missed: 3 },
    }
}

/// Does a step; returns the action if it was an answer that the broker has what was typed.
pub(super) fn take(stage: &mut Stage, watch: &Watch, step: Step) {
    match step {
        Step::Key(event) => stage.key(event),
        Step::Way(keys) => stage.press(keys),
        Step::Paste(text) => stage.act(Action::Paste(text)),
        Step::Wait(ms) => stage.wait(ms),
        Step::Lost(refused) => stage.act(Action::Lost {
            reason: "gone".into(),
            failures: 2,
            retry_in_ms: 500,
            refused,
        }),
        Step::Connected => stage.act(Action::Connected),
        Step::Hear(heard) => {
            if let Word::SavedByBob(seq) = heard {
                let mut view = message("orders", blocked(seq), b"{\"by\":\"bob\"}");
                view.summary.revision = Revision(4);
                stage.messages.insert(("orders".into(), seq), view);
            }
            if let Word::Schema(text) = heard {
                stage.schema = SchemaText::new(text);
            }
            let event = word(stage, heard);
            stage.hear(event);
        }
        Step::Resize(width, height) => stage.act(Action::Resize { width, height }),
        Step::Answer(n, kind) => {
            // Mostly one of the last questions, now and then one of long ago.
            let among = if n % 4 == 0 { watch.asked.len() } else { watch.asked.len().min(6) };
            let Some(back) = (n / 4).checked_rem(among) else { return };
            let effect = watch.asked[watch.asked.len() - 1 - back].clone();
            match effect {
                Effect::Ask(request, ref what) => {
                    let reply = reply(stage, watch, what, kind);
                    stage.act(Action::Reply { request, reply });
                }
                Effect::LoadDraft(message) => {
                    stage.act(Action::DraftLoaded { message, draft: Ok(None) });
                }
                Effect::SaveDraft { message, version, .. } => {
                    let result = match kind {
                        Kind::Good => Ok(()),
                        _ => Err("disk full".to_owned()),
                    };
                    stage.act(Action::DraftSaved { message, version, result });
                }
                Effect::CheckSchema { request, schema, payload, .. } => {
                    let result = match kind {
                        Kind::Good | Kind::Changed => Ok(missed(&schema, &payload)),
                        Kind::Refused | Kind::Unknown | Kind::NotSent => return,
                    };
                    stage.act(Action::SchemaChecked { request, result });
                }
                Effect::EditOutside(message, bytes) => {
                    let result = match kind {
                        Kind::Good => Ok(Bytes::from([&bytes[..], b" \n"].concat())),
                        Kind::Changed => Ok(Bytes::from_static(b"\xff")),
                        Kind::Refused | Kind::Unknown | Kind::NotSent => Err("no\u{1b}".into()),
                    };
                    stage.act(Action::EditedOutside { message, result });
                }
                Effect::Many(job) => {
                    if let Some((run, told)) = word_of_many(stage, &job, kind) {
                        stage.act(Action::Many { run, told: Box::new(told) });
                    }
                }
                _ => {}
            }
        }
    }
}

/// What is told of a job; of a lost one nothing.
fn word_of_many(stage: &Stage, job: &Job, kind: Kind) -> Option<(u64, Told)> {
    let progress = Told::Progress(Progress { tried: 1, failed: 1, of: Some(2), note: None });
    match (job, kind) {
        (Job::Groups { run, .. }, _) => Some((*run, Told::Groups(Err("no\u{1b}".into())))),
        (Job::Look(order, which), Kind::Good) => {
            Some((order.run, Told::Frozen(Ok(stage.looked(order, which)))))
        }
        (Job::Look(order, _), Kind::NotSent) => {
            Some((order.run, Told::Frozen(Err("no\u{1b}".into()))))
        }
        (Job::Do(order, _), Kind::Unknown) | (Job::Look(order, _), _) => {
            Some((order.run, progress))
        }
        (Job::Do(order, items), kind) => Some((order.run, Told::Ended(ending(items, kind)))),
        (Job::Stop(_), _) => None,
    }
}

fn ending(items: &[Item], kind: Kind) -> Ending {
    let (tried, how) = match kind {
        Kind::Changed => (items.len() / 2, How::Stopped("stopped".into())),
        Kind::Refused => (0, How::Lost("gone".into())),
        Kind::NotSent => (0, How::Failed("no".into())),
        Kind::Good | Kind::Unknown => (items.len(), How::Done),
    };
    let outcomes = items.iter().take(tried).map(|item| Outcome {
        row: item.row.clone(),
        result: match item.row.item.seq.0.is_multiple_of(2) {
            true => Err("no\u{1b}[2J".to_owned()),
            false => Ok((item.row.item.revision.next(), "ready".to_owned())),
        },
    });
    Ending { outcomes: outcomes.collect(), how }
}
