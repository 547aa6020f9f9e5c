//! Random keys and replies (late, lost, twice, out of order): what must hold whatever happens.

mod steps;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use steps::{Step, step, take};

use crate::admin::dto::{RepairVerb, Revision};
use crate::console::effect::{Effect, Request, RequestId};
use crate::console::fixtures::{Stage, missed};
use crate::console::many::{Item, Job, Order, Row};
use crate::console::model::{ManyStage, MessageRef, Model};

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
