//! Several messages at once: the form, the dry run, the number that is typed, the run and its results.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::command::motion;
use super::{Effects, review};
use crate::admin::dto::{IdempotencyKey, QueueName, Seq};
use crate::console::command::Command;
use crate::console::effect::{Effect, RequestId};
use crate::console::layout;
use crate::console::many::{Found, How, Item, Job, Order, Progress, Row};
use crate::console::model::{
    Campaign, FilePrompt, FileUse, Many, ManyAct, ManyForm, ManyStage, Model, Motion, Over,
    Overlay, Scope,
};
use crate::console::text::diff::DiffLine;

/// `R`, `J`, and `x`, `D`, `m` with marks: the form; or what runs already.
pub(super) fn begin(model: &mut Model, fx: &mut Effects, act: ManyAct) {
    if has_another(model) {
        return;
    }
    let Some(queue) = model.selected_queue() else { return };
    if let Some(marks) = model.many.marks.get_mut(&queue) {
        marks.end_range();
    }
    let scopes = scopes(model, &queue);
    open(model, fx, queue, ManyForm::new(act, scopes));
}

/// Shows a change that runs, or that is not through and would be given up with its key: that once.
fn has_another(model: &mut Model) -> bool {
    let Some(campaign) = &mut model.many.campaign else { return false };
    let why = match &mut campaign.stage {
        ManyStage::Running { .. } => "one runs already: here it is; s stops it",
        ManyStage::Looking(_) => "one is looked at already: here it is; Esc gives it up",
        ManyStage::Over(over) if over.can_go_on() && !over.is_warned => {
            over.is_warned = true;
            "the last one is not through: r goes on; the next change gives it up"
        }
        _ => return false,
    };
    model.acts.note(why);
    model.overlay = Overlay::Many;
    true
}

fn open(model: &mut Model, fx: &mut Effects, queue: QueueName, form: ManyForm) {
    model.many.last_run += 1;
    let run = model.many.last_run;
    model.many.campaign = Some(Campaign::new(run, queue.clone(), form));
    model.overlay = Overlay::Many;
    push(fx, Job::Groups { run, queue });
}

/// A change of several is taken back: those that were done, by the act that undoes it, looked at and counted as any.
pub(super) fn undo(
    model: &mut Model,
    fx: &mut Effects,
    act: ManyAct,
    rows: Vec<Row>,
    queue: QueueName,
) {
    if has_another(model) {
        return;
    }
    if let Some(why) = model.why_unsendable() {
        return model.acts.refuse("undo", why);
    }
    let count = Some(rows.len() as u64);
    let form = ManyForm::new(act, vec![(Scope::Undone(rows), count)]);
    model.many.last_run += 1;
    model.many.campaign = Some(Campaign::new(model.many.last_run, queue, form));
    model.overlay = Overlay::Many;
    look(model, fx);
}

/// Which messages there are to choose from, the nearest at hand first.
fn scopes(model: &Model, queue: &QueueName) -> Vec<(Scope, Option<u64>)> {
    let mut scopes = Vec::new();
    let marked = model.many.marked(queue);
    if marked > 0 {
        scopes.push((Scope::Marked, Some(marked as u64)));
    }
    let view = model.queues.rows.get(queue).map(|row| &row.view);
    scopes.push((Scope::Blocked, view.map(|view| view.blocked)));
    if view.is_some_and(|view| view.waiting > 0) {
        scopes.push((Scope::Waiting, view.map(|view| view.waiting)));
    }
    scopes.push((Scope::All, view.map(|view| view.depth)));
    scopes
}

/// Shows what came of the last one.
pub(super) fn show_last(model: &mut Model) {
    if model.many.campaign.is_some() {
        model.overlay = Overlay::Many;
    } else {
        model.acts.note("no change of several messages was made");
    }
}

/// A command while it is shown.
pub(super) fn command(model: &mut Model, fx: &mut Effects, command: Command) {
    match command {
        Command::Accept => accept(model, fx),
        Command::Dismiss => dismiss(model, fx),
        Command::StopMany => stop(model, fx),
        Command::GoOn => go_on(model, fx),
        Command::SaveFailed if model.many.offers(command) => {
            model.overlay =
                Overlay::File(FilePrompt { what: FileUse::Failed, typed: String::new() });
        }
        Command::NextField | Command::Left | Command::Right => step(model, fx, command),
        Command::FailedOnly if model.many.offers(command) => {
            if let Some(over) = over(&mut model.many) {
                (over.failed_only, over.scroll) = (!over.failed_only, 0);
            }
        }
        other => {
            if let Some(motion) = motion(other) {
                scroll(model, motion);
            }
        }
    }
}

fn over(many: &mut Many) -> Option<&mut Over> {
    match &mut many.campaign.as_mut()?.stage {
        ManyStage::Over(over) => Some(over),
        ManyStage::Form
        | ManyStage::Looking(_)
        | ManyStage::Ready(_)
        | ManyStage::Running { .. } => None,
    }
}

fn step(model: &mut Model, fx: &mut Effects, command: Command) {
    let Some(campaign) = &mut model.many.campaign else { return };
    let by = if command == Command::Left { -1 } else { 1 };
    match (&mut campaign.stage, command) {
        (ManyStage::Form, Command::NextField) => campaign.form.next_field(),
        (ManyStage::Form, _) => campaign.form.step_act(by),
        (ManyStage::Ready(ready), Command::Left | Command::Right) => {
            let count = ready.edited().count();
            let at = ready.at.saturating_add_signed(by).min(count.saturating_sub(1));
            if at != ready.at {
                ready.at = at;
                show_difference(model, fx);
            }
        }
        _ => {}
    }
}

/// The difference of the message that is chosen among those that would be saved.
pub(super) fn show_difference(model: &mut Model, fx: &mut Effects) {
    let Some(ManyStage::Ready(ready)) = model.many.campaign.as_ref().map(|it| &it.stage) else {
        return;
    };
    let texts = ready.edited().nth(ready.at).and_then(|item| match &item.found {
        Found::Edited { old, new } => Some((old.clone(), new.clone())),
        Found::Possible | Found::Same | Found::Refused(_) => None,
    });
    let Some((old, new)) = texts else { return };
    let pane = review::compare(model, fx, old, new);
    if let Some(Campaign { stage: ManyStage::Ready(ready), .. }) = &mut model.many.campaign {
        ready.pane = pane;
    }
}

/// A long difference was made beside the keys.
pub(super) fn compared(
    model: &mut Model,
    request: RequestId,
    lines: Result<Vec<DiffLine>, String>,
) {
    if let Some(Campaign { stage: ManyStage::Ready(ready), .. }) = &mut model.many.campaign {
        ready.pane.made(request, lines);
    }
}

fn scroll(model: &mut Model, motion: Motion) {
    let height = usize::from(layout::main_area(model.size).height);
    let Some(campaign) = &mut model.many.campaign else { return };
    match &mut campaign.stage {
        ManyStage::Form => campaign.form.step_scope(motion),
        ManyStage::Ready(ready) if ready.edited().next().is_some() => ready.pane.go(motion),
        ManyStage::Ready(ready) => ready.scroll = motion.scrolled(ready.scroll, height),
        ManyStage::Over(over) => over.scroll = motion.scrolled(over.scroll, height),
        ManyStage::Looking(_) | ManyStage::Running { .. } => {}
    }
}

/// The line that is typed.
pub(super) fn typed_line(many: &mut Many) -> Option<&mut String> {
    let campaign = many.campaign.as_mut()?;
    match &mut campaign.stage {
        ManyStage::Form => {
            let form = &mut campaign.form;
            Some(form.typed.entry(form.field).or_default())
        }
        ManyStage::Ready(ready) => Some(&mut ready.typed),
        ManyStage::Looking(_) | ManyStage::Running { .. } | ManyStage::Over(_) => None,
    }
}

/// What the form put into a line itself is typed over, not typed on.
pub(super) fn replace_preset(many: &mut Many, overlay: &Overlay) {
    if let (Overlay::Many, Some(campaign)) = (overlay, &mut many.campaign)
        && matches!(campaign.stage, ManyStage::Form)
    {
        campaign.form.replace_preset();
    }
}

/// Something was typed.
pub(super) fn typed_changed(many: &mut Many) {
    let Some(campaign) = &mut many.campaign else { return };
    campaign.form.was_typed();
    if let ManyStage::Ready(ready) = &mut campaign.stage {
        ready.complaint = None;
    }
}

fn accept(model: &mut Model, fx: &mut Effects) {
    match model.many.campaign.as_ref().map(|campaign| &campaign.stage) {
        Some(ManyStage::Form) => look(model, fx),
        Some(ManyStage::Ready(_)) => agree(model, fx),
        Some(ManyStage::Looking(_) | ManyStage::Running { .. } | ManyStage::Over(_)) | None => {}
    }
}

/// The dry run: what would be done to each. It also freezes the list.
fn look(model: &mut Model, fx: &mut Effects) {
    let unsendable = model.why_unsendable();
    let key = model.next_key();
    let Some(campaign) = &mut model.many.campaign else { return };
    let checked = match unsendable {
        Some(why) => Err((campaign.form.field, why)),
        None => campaign.form.check(model.many.marks.get(&campaign.queue)),
    };
    match checked {
        Err((field, complaint)) => {
            (campaign.form.field, campaign.form.complaint) = (field, Some(complaint));
        }
        Ok((change, which)) => {
            let order = campaign.order(key, change);
            campaign.order = Some(order.clone());
            campaign.stage = ManyStage::Looking(Progress::default());
            push(fx, Job::Look(order, which));
        }
    }
}

/// The number was typed: what the dry run found possible is done.
fn agree(model: &mut Model, fx: &mut Effects) {
    let unsendable = model.why_unsendable();
    let Some(campaign) = &mut model.many.campaign else { return };
    let Campaign { stage: ManyStage::Ready(ready), order: Some(order), .. } = campaign else {
        return;
    };
    let shows = ready.edited().next().is_none() || ready.pane.is_ready();
    let complaint = if ready.count == 0 {
        Some("there is nothing to do; Esc goes back".to_owned())
    } else if ready.typed.trim() != ready.count.to_string() {
        Some(format!("type {} to do it, or Esc", ready.count))
    } else if !shows {
        Some("the difference is not there yet: nothing is sent unseen".to_owned())
    } else {
        unsendable
    };
    if complaint.is_some() {
        ready.complaint = complaint;
        return;
    }
    let items: Vec<Item> =
        ready.frozen.items.iter().filter(|item| item.found.counts()).cloned().collect();
    let order = order.clone();
    run(model, fx, order, items);
}

fn run(model: &mut Model, fx: &mut Effects, order: Order, items: Vec<Item>) {
    let Some(campaign) = &mut model.many.campaign else { return };
    let progress = Progress { of: Some(items.len() as u64), ..Progress::default() };
    campaign.stage = ManyStage::Running { progress, stopping: false };
    campaign.order = Some(order.clone());
    campaign.items = items.clone();
    let title = campaign.title();
    model.acts.note(format!("{title}: {} under way", items.len()));
    model.acts.undo = None;
    push(fx, Job::Do(order, items));
}

/// Those that were not tried: under the same key where it isn't known what became of them, else under a new one.
fn go_on(model: &mut Model, fx: &mut Effects) {
    let why = model.why_unsendable();
    let fresh = model.next_key();
    let Some(campaign) = &mut model.many.campaign else { return };
    let (ManyStage::Over(over), Some(order)) = (&mut campaign.stage, &campaign.order) else {
        return;
    };
    if !over.can_go_on() {
        return;
    }
    let title = campaign.form.act.title();
    if let Some(why) = why {
        return model.acts.refuse(title, why);
    }
    let key: IdempotencyKey = match over.ending.how {
        How::Lost(_) => order.key.clone(),
        How::Done | How::Stopped(_) | How::Failed(_) => fresh,
    };
    let order = Order { key, ..order.clone() };
    let outcomes = std::mem::take(&mut over.ending.outcomes);
    let known: BTreeSet<Seq> = outcomes.iter().map(|outcome| outcome.row.item.seq).collect();
    let left = campaign.items.iter().filter(|item| !known.contains(&item.row.item.seq));
    let left: Vec<Item> = left.cloned().collect();
    campaign.before = outcomes;
    run(model, fx, order, left);
}

fn stop(model: &mut Model, fx: &mut Effects) {
    let Some(campaign) = &mut model.many.campaign else { return };
    if let ManyStage::Running { stopping, .. } = &mut campaign.stage {
        *stopping = true;
        push(fx, Job::Stop(campaign.run));
    }
}

/// One step back. What runs goes on.
fn dismiss(model: &mut Model, fx: &mut Effects) {
    let Some(campaign) = &mut model.many.campaign else {
        model.overlay = Overlay::None;
        return;
    };
    let is_undo = campaign.form.act == ManyAct::Restore || campaign.form.act == ManyAct::TakeBack;
    match &campaign.stage {
        ManyStage::Looking(_) => {
            push(fx, Job::Stop(campaign.run));
            // What is still told of it is not awaited any more.
            model.many.last_run += 1;
            campaign.run = model.many.last_run;
            campaign.stage = ManyStage::Form;
        }
        ManyStage::Ready(_) => campaign.stage = ManyStage::Form,
        ManyStage::Form => {
            model.many.campaign = None;
            model.overlay = Overlay::None;
            return;
        }
        ManyStage::Running { .. } | ManyStage::Over(_) => {
            model.overlay = Overlay::None;
            return;
        }
    }
    // There is no form to go back to.
    if is_undo {
        model.many.campaign = None;
        model.overlay = Overlay::None;
    }
}

/// Writes what failed into a file.
pub(super) fn save_failed(model: &mut Model, fx: &mut Effects, path: PathBuf) {
    model.overlay = Overlay::Many;
    let Some(campaign) = &model.many.campaign else { return };
    if let ManyStage::Over(over) = &campaign.stage {
        let text = over.export(&campaign.queue);
        fx.push(Effect::WriteFile(path, Bytes::from(text)));
    }
}

fn push(fx: &mut Effects, job: Job) {
    fx.push(Effect::Many(Box::new(job)));
}
