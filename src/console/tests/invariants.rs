//! Random keys and replies (late, lost, twice, out of order): what must hold whatever happens.

use std::collections::BTreeMap;

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;

use crate::admin::dto::{
    JournalKind, MessageState, Notice, Problem, QueueState, RepairOutcome, RepairRequest,
    RepairVerb, Revision, SchemaText, Seq, StreamEvent, told,
};
use crate::console::action::{Action, Failure, Reply};
use crate::console::effect::{Effect, Request, RequestId};
use crate::console::fixtures::{Stage, blocked, entry, head, id, message, missed, name, summary};
use crate::console::many::{Ending, How, Item, Job, Order, Outcome, Progress, Row, Told};
use crate::console::model::{ManyStage, MessageRef, Model};

/// One step of a random run.
#[derive(Debug, Clone)]
enum Step {
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
    fn singly(self) -> Vec<Self> {
        match self {
            Self::Way(keys) => keys.chunks(1).map(Self::Way).collect(),
            step => vec![step],
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Good,
    Changed,
    Refused,
    Unknown,
    NotSent,
}

#[derive(Debug, Clone, Copy)]
enum Word {
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

fn step() -> impl Strategy<Value = Step> {
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

/// What an outsider sees of the console.
#[derive(Default)]
struct Watch {
    /// Every question ever asked; asked again, it may be answered again.
    asked: Vec<Effect>,
    /// Repairs that the console has no answer to yet.
    open: BTreeMap<RequestId, MessageRef>,
    /// What was agreed to.
    agreed: Vec<Row>,
    /// What was typed and neither accepted by the broker nor undone by the operator.
    typed: BTreeMap<MessageRef, Bytes>,
}

fn texts(model: &Model) -> BTreeMap<MessageRef, Bytes> {
    let mut texts: BTreeMap<MessageRef, Bytes> = model
        .parked
        .iter()
        .map(|(message, parked)| (message.clone(), parked.bytes.clone()))
        .collect();
    if let Some(edit) = &model.edit {
        texts.remove(&edit.message);
        if edit.is_dirty() {
            texts.insert(edit.message.clone(), edit.bytes());
        }
    }
    texts
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
fn take(stage: &mut Stage, watch: &Watch, step: Step) {
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

/// What is shown and typed before a step.
fn agreeing(model: &Model) -> Option<(u64, String, Vec<Item>)> {
    let campaign = model.many.campaign.as_ref()?;
    let ManyStage::Ready(ready) = &campaign.stage else { return None };
    let items = ready.frozen.items.iter().filter(|item| item.found.counts());
    Some((campaign.run, ready.typed.clone(), items.cloned().collect()))
}

/// Several are changed only after they were looked at and their number was typed, as they were then; what is gone on with was
/// agreed to; and one such change runs at a time.
fn check_several(
    watch: &mut Watch,
    before: Option<&(u64, String, Vec<Item>)>,
    was_running: bool,
    asked: &[Effect],
) -> Result<(), TestCaseError> {
    for effect in asked {
        let Effect::Many(job) = effect else { continue };
        let (order, items): (&Order, _) = match &**job {
            Job::Do(order, items) => (order, items),
            Job::Look(..) => {
                prop_assert!(!was_running, "another one is looked at while one runs");
                continue;
            }
            Job::Groups { .. } | Job::Stop(_) => continue,
        };
        prop_assert!(!was_running, "two changes of several at once");
        match before {
            Some((run, typed, looked_at)) => {
                prop_assert_eq!(*run, order.run);
                prop_assert_eq!(typed.trim(), items.len().to_string());
                prop_assert_eq!(looked_at, items);
                watch.agreed = items.iter().map(|item| item.row.clone()).collect();
            }
            None => {
                let agreed = items.iter().all(|item| watch.agreed.contains(&item.row));
                prop_assert!(agreed, "what was not agreed to");
            }
        }
    }
    Ok(())
}

/// Checks what a step has asked for.
fn check_asked(watch: &mut Watch, stage: &mut Stage) -> Result<(), TestCaseError> {
    for effect in std::mem::take(&mut stage.effects) {
        if let Effect::Ask(request_id, Request::Repair(message, request)) = &effect {
            prop_assert!(
                watch.open.values().all(|open| open != message),
                "two repairs of {message} in flight"
            );
            watch.open.insert(*request_id, message.clone());
            let known = stage.messages.get(&("orders".into(), message.seq.0));
            let newest = known.map_or(Revision(0), |view| view.summary.revision);
            prop_assert!(
                request.expect_revision == Revision(0) || request.expect_revision <= newest,
                "a revision that nobody has shown"
            );
            let sent = request.payload.clone().and_then(|payload| payload.into_bytes().ok());
            let misses = sent.is_some_and(|sent| missed(&stage.schema, &sent).is_some());
            prop_assert!(
                !misses || !request.reason.is_empty(),
                "what misses the schema is sent without a reason"
            );
            let edits = matches!(request.action, RepairVerb::Save | RepairVerb::SaveAndRetry);
            prop_assert_eq!(edits, request.payload.is_some());
        }
        watch.asked.push(effect);
    }
    let in_flight = &stage.model.acts.in_flight;
    watch.open.retain(|_, message| in_flight.contains_key(message));
    Ok(())
}

/// What was typed is in the editor or parked, or the broker has it. Only undoing it, or F8 in the open
/// editor, makes a text clean that may then be left for good.
fn check_typed(watch: &mut Watch, before: &Step, stage: &Stage) -> Result<(), TestCaseError> {
    let now = texts(&stage.model);
    for (message, text) in &watch.typed {
        let kept = now.contains_key(message)
            || stage.model.edit.as_ref().is_some_and(|edit| edit.message == *message);
        let accepted = watch.asked.iter().any(|effect| match effect {
            Effect::Ask(_, Request::Repair(of, request)) => {
                let sent = request.payload.clone().and_then(|payload| payload.into_bytes().ok());
                of == message && sent.as_ref() == Some(text)
            }
            _ => false,
        });
        prop_assert!(kept || accepted, "{message} lost its text after {before:?}");
    }
    watch.typed = now;
    // What was left is on disk or on its way there; if the disk refused it, it is tried again and said.
    for (message, parked) in &stage.model.parked {
        let draft = &parked.draft;
        prop_assert!(
            !draft.is_unsaved() || draft.trouble.is_some(),
            "the draft of {message} is nowhere after {before:?}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 2_000, ..Default::default() })]

    #[test]
    fn whatever_is_pressed_and_answered(steps in prop::collection::vec(step(), 1..160)) {
        let mut stage = Stage::failing((80, 24), |_| {});
        let mut watch = Watch::default();
        check_asked(&mut watch, &mut stage)?;
        for step in steps.into_iter().flat_map(Step::singly) {
            let before = agreeing(&stage.model);
            let campaign = stage.model.many.campaign.as_ref();
            let was_running =
                campaign.is_some_and(|it| matches!(it.stage, ManyStage::Running { .. }));
            take(&mut stage, &watch, step.clone());
            let asked = stage.effects.clone();
            check_several(&mut watch, before.as_ref(), was_running, &asked)?;
            check_asked(&mut watch, &mut stage)?;
            check_typed(&mut watch, &step, &stage)?;
        }
        stage.screen();
    }
}
