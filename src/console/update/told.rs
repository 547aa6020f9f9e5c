//! What is told of a change of several messages: how far it is, what a dry run found, and its end.

use super::many::show_difference;
use super::{Effects, follow};
use crate::console::many::{Ending, Frozen, Progress, Told};
use crate::console::model::{ManyStage, MessageRef, Model, Over, Ready, Undoable};

/// Something was told of a run.
pub(super) fn take(model: &mut Model, fx: &mut Effects, run: u64, told: Told) {
    let Some(campaign) = model.many.campaign.as_mut().filter(|campaign| campaign.run == run) else {
        return;
    };
    match told {
        Told::Groups(groups) => campaign.form.take_groups(groups),
        Told::Progress(new) => match &mut campaign.stage {
            ManyStage::Looking(progress) => *progress = new,
            ManyStage::Running { progress, .. } => {
                let before = campaign.before.len() as u64;
                let failed = campaign.before.iter().filter(|it| it.result.is_err()).count() as u64;
                *progress = Progress {
                    tried: new.tried + before,
                    failed: new.failed + failed,
                    of: new.of.map(|of| of + before),
                    note: new.note,
                };
            }
            ManyStage::Form | ManyStage::Ready(_) | ManyStage::Over(_) => {}
        },
        Told::Frozen(found) => frozen(model, fx, found),
        Told::Ended(ending) => ended(model, fx, ending),
    }
}

fn frozen(model: &mut Model, fx: &mut Effects, found: Result<Frozen, String>) {
    let Some(campaign) = &mut model.many.campaign else { return };
    if !matches!(campaign.stage, ManyStage::Looking(_)) {
        return;
    }
    match found {
        Ok(frozen) if frozen.items.is_empty() => {
            campaign.stage = ManyStage::Form;
            campaign.form.complaint = Some("there are no such messages".to_owned());
        }
        Ok(frozen) => {
            campaign.stage = ManyStage::Ready(Ready::new(frozen));
            show_difference(model, fx);
        }
        Err(why) => {
            campaign.stage = ManyStage::Form;
            campaign.form.complaint = Some(why);
        }
    }
}

fn ended(model: &mut Model, fx: &mut Effects, ending: Ending) {
    let Some(campaign) = &mut model.many.campaign else { return };
    if !matches!(campaign.stage, ManyStage::Running { .. }) {
        return;
    }
    let of = campaign.items.len() + campaign.before.len();
    let mut outcomes = std::mem::take(&mut campaign.before);
    outcomes.extend(ending.outcomes);
    let ending = Ending { outcomes, how: ending.how };
    let over = Over { ending, of, failed_only: false, scroll: 0, is_warned: false };
    let text = format!("{}: {}", campaign.title(), over.summary());
    let (rows, queue) = (over.done_rows(), campaign.queue.clone());
    let undone_by = campaign.form.act.undone_by();
    campaign.stage = ManyStage::Over(over);
    model.many.take_off(&queue, rows.iter().map(|row| row.item.seq));
    model.acts.undo = undone_by.zip(rows.last().cloned()).map(|(act, last)| Undoable::Several {
        act,
        last: MessageRef { queue: queue.clone(), seq: last.item.seq },
        rows,
        offer: None,
    });
    follow::catch_up(model, fx);
    model.acts.note(text);
    if let Some(screen) = model.queue.as_mut().filter(|screen| screen.name == queue) {
        screen.outdated = true;
    }
    if let Some(screen) = model.message.as_mut().filter(|it| it.message.queue == queue) {
        screen.outdated = true;
    }
}
