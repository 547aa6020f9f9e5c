//! Scenario scripts: `tests/scenarios/*.txt`, which a person can read. A line is something that happens; the lines that
//! begin with `>` say what came of it. `MUBROKER_SCENARIOS=write` writes these anew, to be read before they are kept.

mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::rig::{Delivered, Rig, content_with, deliveries, operator, queue};
use crate::engine::{CallSpec, Effect, EngineOptions, Event};
use crate::model::{
    Content, Edit, NackAction, OnError, Origin, QueueSettings, Repair, RepairAction, RepairRefusal,
    Revision, Seq, SettingChange, Subscription, TopicName, WorkError, WorkerId, WorkerInfo,
};

#[derive(Default)]
struct Stage {
    rig: Option<Rig>,
    options: EngineOptions,
    workers: BTreeMap<String, u64>,
    hands: Vec<Delivered>,
    /// What was handed out and is over, for late answers.
    late: Vec<Delivered>,
    repairs: u64,
}

#[test]
fn each_scenario_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let is_writing = std::env::var("MUBROKER_SCENARIOS").is_ok_and(|word| word == "write");
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).expect("the folder is there") {
        let path = file.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        let written = fs::read_to_string(&path).expect("readable");
        let played = play(&written);
        if is_writing {
            fs::write(&path, &played).expect("writable");
            continue;
        }
        assert_eq!(written, played, "{} goes otherwise", path.display());
    }
    for rule in 1..=12 {
        let of_rule = format!("rule-{rule:02}-");
        assert!(names.iter().any(|name| name.starts_with(&of_rule)), "rule {rule} has none");
    }
}

/// The scenario with what comes of each line below it.
fn play(text: &str) -> String {
    // Its workers are waited for until they are gone, however silent.
    let options = EngineOptions { suspect_ms: u64::MAX, ..EngineOptions::default() };
    let mut stage = Stage { options, ..Stage::default() };
    let mut played = String::new();
    for line in text.lines().filter(|line| !line.starts_with('>')) {
        played += line;
        played.push('\n');
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let outcome = stage.act(line).unwrap_or_else(|| panic!("not understood: {line}"));
        for line in outcome {
            played += &format!("> {line}\n");
        }
    }
    played
}

impl Stage {
    /// Does what a line says; `None` if it isn't understood.
    fn act(&mut self, line: &str) -> Option<Vec<String>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let told = match words.as_slice() {
            ["queue", name, settings @ ..] => {
                let settings = read_settings(settings)?;
                self.rig_made().put_queue(name, settings)
            }
            ["saga", ..] | ["start", ..] | ["gather", ..] => self.process(&words)?,
            ["show", "saga", id] => return Some(vec![self.show_saga(id)?]),
            ["operator", verb, "saga", id] => self.act_on_saga(verb, id)?,
            ["topic", topic, "goes", "to", queues @ ..] => queues
                .iter()
                .flat_map(|name| self.subscribe(topic, name.trim_end_matches(',')))
                .collect(),
            ["send", id, "to", name, fields @ ..] => self.send(name, id, fields, None)?,
            ["call", id, "to", name, "for", ms, "ms", fields @ ..] => {
                self.send(name, id, fields, Some(ms.parse().ok()?))?
            }
            ["publish", id, "to", topic] => {
                let content = content_with(id, Value::Object(Map::new()));
                let (origin, mandatory) = (Origin(1), false);
                let topic = TopicName::new(topic).ok()?;
                self.run(Event::Publish { origin, topic, content, mandatory })
            }
            ["worker", name, "on", queues @ ..] => self.ready(name, queues)?,
            ["worker", name, "dies"] => {
                let worker = *self.workers.get(*name)?;
                self.hands.retain(|one| one.worker != worker);
                self.rig()?.gone(worker)
            }
            ["wait", ms, "ms"] => self.wait(ms.parse().ok()?)?,
            ["restart"] => {
                self.rig()?.restart();
                self.late.append(&mut self.hands);
                self.workers.clear();
                Vec::new()
            }
            ["pause", name] => self.pause(name, true),
            ["resume", name] => self.pause(name, false),
            ["set", name, change] => {
                let changes = vec![read_change(change)?];
                let (origin, actor, queue) = (Origin(9), operator("ann"), queue(name));
                let reason = String::new();
                self.run(Event::SetQueue { origin, actor, queue, changes, reason })
            }
            ["show", name] => return Some(vec![self.show(name)?]),
            ["status", id, "in", name] => {
                let (origin, id) = (Origin(9), id.parse().ok()?);
                self.run(Event::Status { origin, id, queue: Some(queue(name)) })
            }
            ["operator", verb, id, "in", name] => self.repair(verb, id, name, None)?,
            ["operator", verb, id, "in", name, "as", "revision", n] => {
                self.repair(verb, id, name, n.parse().ok())?
            }
            [worker, verb, id] if self.workers.contains_key(*worker) => {
                self.answer(worker, verb, id)?
            }
            _ => return None,
        };
        self.hands.extend(told.iter().filter_map(in_hand));
        Some(told.iter().filter_map(|effect| self.words(effect)).collect())
    }

    fn rig(&mut self) -> Option<&mut Rig> {
        self.rig.as_mut()
    }

    fn rig_made(&mut self) -> &mut Rig {
        let options = &self.options;
        self.rig.get_or_insert_with(|| Rig::with_options(options.clone(), QueueSettings::default()))
    }

    fn run(&mut self, event: Event) -> Vec<Effect> {
        self.rig.as_mut().map_or_else(Vec::new, |rig| rig.run(event))
    }

    fn subscribe(&mut self, topic: &str, name: &str) -> Vec<Effect> {
        let subscription =
            Subscription { queue: queue(name), filter: None, on_error: OnError::default() };
        let topic = TopicName::new(topic).expect("a topic");
        let (origin, actor) = (Origin(0), operator("ann"));
        self.run(Event::Subscribe { origin, actor, topic, subscription });
        Vec::new()
    }

    fn send(
        &mut self,
        name: &str,
        id: &str,
        fields: &[&str],
        timeout_ms: Option<u64>,
    ) -> Option<Vec<Effect>> {
        let fields = fields.iter().map(|field| {
            let (name, value) = field.trim_end_matches(',').split_once('=')?;
            Some((name.to_owned(), value_of(value)))
        });
        let fields = fields.collect::<Option<Map<_, _>>>()?;
        let messages = vec![(queue(name), content_with(id, Value::Object(fields)))];
        let call = timeout_ms.map(|timeout_ms| CallSpec { timeout_ms, parts: false });
        Some(self.run(Event::Send { origin: Origin(1), messages, call }))
    }

    /// `worker w on a, b takes 2`
    fn ready(&mut self, name: &str, words: &[&str]) -> Option<Vec<Effect>> {
        let (queues, credit) = match words {
            [queues @ .., "takes", credit] => (queues, credit.parse().ok()?),
            queues => (queues, 1),
        };
        let count = self.workers.len() as u64 + 1;
        let worker = WorkerId(*self.workers.entry(name.to_owned()).or_insert(count));
        let queues = queues.iter().map(|name| queue(name.trim_end_matches(','))).collect();
        let info = WorkerInfo { name: name.to_owned(), ..WorkerInfo::default() };
        Some(self.run(Event::WorkerReady { worker, queues, credit, info }))
    }

    /// Time passes while all workers are heard.
    fn wait(&mut self, ms: u64) -> Option<Vec<Effect>> {
        let workers: Vec<u64> = self.workers.values().copied().collect();
        let mut told = Vec::new();
        let mut left = ms;
        while left > 0 {
            let step = left.min(1_000);
            for &worker in &workers {
                told.extend(self.run(Event::WorkerHeard { worker: WorkerId(worker) }));
            }
            told.extend(self.rig()?.pass(step));
            left -= step;
        }
        Some(told)
    }

    fn pause(&mut self, name: &str, paused: bool) -> Vec<Effect> {
        let (origin, actor, queue) = (Origin(9), operator("ann"), queue(name));
        self.run(Event::SetPaused { origin, actor, queue, paused, reason: String::new() })
    }

    fn answer(&mut self, worker: &str, verb: &str, id: &str) -> Option<Vec<Effect>> {
        let number = *self.workers.get(worker)?;
        let is_it = |one: &Delivered| one.worker == number && one.payload.starts_with(id);
        let one = match self.hands.iter().position(is_it) {
            Some(at) => self.hands.remove(at),
            None => self.late.iter().find(|one| one.payload.starts_with(id))?.clone(),
        };
        self.late.push(one.clone());
        let (worker, delivery) = (WorkerId(number), one.delivery);
        let nack = |action| Event::Nack {
            worker,
            delivery,
            error: WorkError::new("no", "it failed"),
            action,
            delay_ms: None,
        };
        let event = match verb {
            "does" => Event::Ack { worker, delivery, reply: Bytes::from(format!("{id} is done")) },
            "fails" => nack(NackAction::Retry),
            "blocks" => nack(NackAction::Block),
            "rejects" => nack(NackAction::DeadLetter),
            _ => return None,
        };
        Some(self.run(event))
    }

    fn repair(
        &mut self,
        verb: &str,
        id: &str,
        name: &str,
        seen_revision: Option<u32>,
    ) -> Option<Vec<Effect>> {
        let rig = self.rig.as_mut()?;
        let kept = rig.store.queue_named(name)?;
        let seq = kept.accepted.iter().rposition(|known| known.as_str() == id)? as u64 + 1;
        let message = kept.messages.get(&Seq(seq));
        let newest = message.map_or(0, |message| message.contents.len() as u32 - 1);
        let edit = || Edit { payload: format!("{id} edited").into(), header: None };
        let action = match verb {
            "retries" => RepairAction::Retry,
            "edits" => RepairAction::Save(edit()),
            "edits-and-retries" => RepairAction::SaveAndRetry(edit()),
            "cancels" => RepairAction::Cancel,
            "restores" => RepairAction::Restore,
            "dead-letters" => RepairAction::DeadLetter,
            "redrives" => RepairAction::Move(None),
            _ => return None,
        };
        self.repairs += 1;
        let queue_id = rig.engine.queue_id(&queue(name))?;
        let repair = Repair {
            key: format!("k{}", self.repairs).parse().ok()?,
            actor: operator("ann"),
            queue: queue(name),
            seq: Seq(seq),
            expect_revision: Revision(seen_revision.unwrap_or(newest)),
            seen: rig.store.content(queue_id, Seq(seq), Revision(newest)),
            action,
            reason: "because".to_owned(),
        };
        Some(self.run(Event::Repair { origin: Origin(9), repair }))
    }

    /// A queue and what waits in it.
    fn show(&mut self, name: &str) -> Option<String> {
        let rig = self.rig.as_mut()?;
        let Some(view) = rig.engine.queue_view(&queue(name)) else {
            return Some(format!("there is no queue {name}"));
        };
        let kept = rig.store.queue_named(name)?;
        let messages = kept.messages.iter().filter_map(|(&seq, message)| {
            let content: &Content = message.newest();
            let overlay = rig.engine.message_overlay(&queue(name), seq)?;
            let overlay = overlay.with_content(message.at, &content.header);
            let why = content.header.to_map().get("dead_letter").map(|it| {
                let reason = it["reason"].as_str().unwrap_or_default();
                let from = it["queue"].as_str().unwrap_or_default();
                format!(" ({reason}, from {from})")
            });
            Some(format!("{} {}{}", called(content), overlay.state, why.unwrap_or_default()))
        });
        let messages: Vec<String> = messages.collect();
        let messages = if messages.is_empty() { "empty".to_owned() } else { messages.join(", ") };
        Some(format!("{name} is {}: {messages}", view.state))
    }

    /// What somebody is told; `None` for what nobody but the store hears.
    fn words(&self, effect: &Effect) -> Option<String> {
        let who = |id: &WorkerId| {
            let found = self.workers.iter().find(|(_, number)| **number == id.0);
            found.map_or("?", |(name, _)| name)
        };
        Some(match effect {
            Effect::Deliver { worker, queue, attempt, content, .. } => {
                let again = if *attempt > 1 { format!(", try {attempt}") } else { String::new() };
                format!("{} gets {} of {queue}{again}", who(worker), called(content))
            }
            Effect::Accepted { accepted, .. } => {
                let one = accepted.first()?;
                if !one.duplicate {
                    return None;
                }
                format!("the producer hears: {} is a duplicate, it has place {}", one.id, one.seq)
            }
            Effect::Published { published, .. } => {
                format!("the producer hears: it went to {} queues", published.queues)
            }
            Effect::Rejected { rejection, .. } => {
                format!("refused, {}: {}", word(&rejection.code), rejection.reason)
            }
            Effect::CallEnded { reply, .. } => {
                let error = reply.error.as_ref().map(|it| format!(", {}", it.code));
                let payload = String::from_utf8_lossy(&reply.payload);
                let text = if payload.is_empty() { String::new() } else { format!(": {payload}") };
                let status = word(&reply.status);
                format!("the caller hears {status}{}{text}", error.unwrap_or_default())
            }
            Effect::Stale { worker, .. } => {
                format!("{} hears: stale, it was too late", who(worker))
            }
            Effect::Status { report, .. } => {
                let (id, state, queue) = (&report.id, report.state, &report.queue);
                format!("{id} is {state} in {queue}")
            }
            Effect::Refused { refusal, .. } => format!("refused: {}", refused(refusal)),
            Effect::Started { started, .. } if started.duplicate => {
                format!("the starter hears: {} had begun before", started.id)
            }
            Effect::Gathered { reply, .. } => processes::gathered(reply),
            _ => return None,
        })
    }
}

/// What a message is called: by its payload, which is its id, and says so if it was edited. What the broker sends itself has other
/// payloads, and is called by its id.
fn called(content: &Content) -> String {
    let payload = String::from_utf8_lossy(&content.payload);
    let id = content.id().as_str();
    if payload.starts_with(id) { payload.into_owned() } else { id.to_owned() }
}

/// What a delivery puts into a worker's hands.
fn in_hand(effect: &Effect) -> Option<Delivered> {
    let Effect::Deliver { content, .. } = effect else { return None };
    let delivered = deliveries(std::slice::from_ref(effect)).pop()?;
    Some(Delivered { payload: called(content), ..delivered })
}

/// The word on the wire.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).expect("it has JSON");
    value.as_str().unwrap_or_default().to_owned()
}

fn refused(refusal: &RepairRefusal) -> String {
    match refusal {
        RepairRefusal::Changed { expected, current, .. } => {
            format!("revision {expected} was seen, and it is {current} now")
        }
        RepairRefusal::State { state, reason } => format!("it is {state}: {reason}"),
        other => other.to_string(),
    }
}

fn read_settings(words: &[&str]) -> Option<QueueSettings> {
    let changes = words.iter().map(|word| read_change(word)).collect::<Option<Vec<_>>>()?;
    let plain = QueueSettings::default().changed(
        &[SettingChange { key: "retry.jitter".to_owned(), value: Some(0.into()) }],
        &QueueSettings::default(),
    );
    let settings = plain.and_then(|plain| plain.changed(&changes, &QueueSettings::default()));
    Some(settings.unwrap_or_else(|why| panic!("{words:?}: {why}")))
}

fn read_change(word: &str) -> Option<SettingChange> {
    let (key, value) = word.trim_end_matches(',').split_once('=')?;
    Some(SettingChange { key: key.to_owned(), value: Some(value_of(value)) })
}

fn value_of(word: &str) -> Value {
    serde_json::from_str(word).unwrap_or_else(|_| Value::String(word.to_owned()))
}

#[test]
fn a_line_that_means_nothing_is_no_scenario() {
    let panic = std::panic::catch_unwind(|| play("queue q\nsent a to q\n"));
    assert!(panic.is_err());
}
