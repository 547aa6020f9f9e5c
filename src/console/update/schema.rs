//! The queue's schema while a payload is edited: read from the broker, asked about each text beside the keys; and the reason that
//! a miss needs.

use super::{Effects, edit, repair};
use crate::admin::dto::{QueueName, RepairVerb, Revision, SchemaText};
use crate::console::action::Failure;
use crate::console::effect::{Effect, Request, RequestId};
use crate::console::model::{
    Link, Model, Overlay, Purpose, ReasonForm, Standing, Submitted, Verdict,
};
use crate::schema::Miss;

/// Between two readings of a schema that didn't come.
const READ_AGAIN_MS: u64 = 2_000;
/// An answer that has not come by then was lost inside the console: a check ends within some seconds.
const LOST_AFTER_MS: u64 = 20_000;

/// After each action: reads the schema of what is edited, and asks it about the text as it is now, one text at a time. Of a long
/// text that is typed on it is asked when typing pauses, as its JSON is checked.
pub(super) fn follow(model: &mut Model, fx: &mut Effects) {
    let Some(edit) = model.edit.as_ref().filter(|edit| !edit.loading) else { return };
    let queue = edit.message.queue.clone();
    let Some(row) = model.queues.rows.get(&queue) else { return };
    let shown = row.view.settings.schema.clone();
    let (now, is_up) = (model.now, model.connection.link == Link::Up);
    let reads = model.awaits(&Purpose::Schema(queue.clone()));
    let Some(edit) = &mut model.edit else { return };
    let check = &mut edit.schema;
    if check.shown != shown {
        (check.shown, check.read_at) = (shown, None);
        check.forget();
    }
    if check.shown.is_empty() {
        return;
    }
    let Some(text) = check.text().cloned() else {
        let is_due = check.read_at.is_none_or(|at| now.since(at) >= READ_AGAIN_MS);
        if is_due && is_up && !reads {
            check.read_at = Some(now);
            model.ask(fx, Purpose::Schema(queue.clone()), Request::Schema(queue));
        }
        return;
    };
    let version = edit.draft.version;
    let is_told = check.told.as_ref().is_some_and(|(of, _)| *of == version);
    let is_asked = check.asked.is_some_and(|(_, _, at)| now.since(at) < LOST_AFTER_MS);
    if is_told || is_asked || !(edit.editor.is_checked() || edit.raw.is_some()) {
        return;
    }
    let payload = edit.bytes();
    let request = model.next_request();
    fx.push(Effect::CheckSchema { request, queue, schema: text, payload });
    if let Some(edit) = &mut model.edit {
        edit.schema.asked = Some((request, version, now));
    }
}

/// The schema's text was read.
pub(super) fn read(model: &mut Model, queue: &QueueName, text: Result<String, Failure>) {
    let Some(edit) = model.edit.as_mut().filter(|edit| edit.message.queue == *queue) else {
        return;
    };
    match text {
        Ok(text) => {
            let text = SchemaText::new(&text);
            let of = text.summary();
            edit.schema.known = Some((text, of));
        }
        // The broker will ask it.
        Err(Failure::Refused(problem)) => {
            edit.schema.told = Some((edit.draft.version, Verdict::Unknown(problem.detail)));
        }
        Err(Failure::NotSent(_) | Failure::Unknown(_)) => {}
    }
}

/// The schema was asked about a text.
pub(super) fn checked(model: &mut Model, request: RequestId, result: Result<Option<Miss>, String>) {
    let Some(edit) = &mut model.edit else { return };
    let Some((_, version, _)) = edit.schema.asked.filter(|(asked, ..)| *asked == request) else {
        return;
    };
    edit.schema.asked = None;
    let verdict = match result {
        Ok(None) => Verdict::Fits,
        Ok(Some(miss)) => Verdict::Misses(miss),
        Err(why) => Verdict::Unknown(why),
    };
    edit.schema.told = Some((version, verdict));
}

/// Sends what is edited; what misses the schema once there is a reason.
pub(super) fn submit(model: &mut Model, fx: &mut Effects, verb: RepairVerb, against: Revision) {
    let Some(edit) = &model.edit else { return };
    let miss = match edit.schema.standing(edit.draft.version) {
        Standing::NoSchema | Standing::Told(Verdict::Fits | Verdict::Unknown(_)) => None,
        Standing::Asking => {
            // While the broker can't be reached nothing is asked.
            if let Some(why) = model.why_unsendable() {
                return model.acts.refuse(format!("save {}", edit.message), why);
            }
            let text = "the queue's schema is just being asked about this text; press again";
            return model.acts.note(text);
        }
        Standing::Told(Verdict::Misses(miss)) => Some(miss.clone()),
    };
    let Some(miss) = miss else {
        send(model, fx, verb, against, String::new());
        return;
    };
    // Nobody types a reason for what can't be sent.
    if let Some(why) = model.why_unsendable() {
        return model.acts.refuse(format!("save {}", edit.message), why);
    }
    let typed = String::new();
    model.overlay = Overlay::Reason(ReasonForm { verb, against, miss, typed, complains: false });
}

/// The reason was typed, or not.
pub(super) fn accept(model: &mut Model, fx: &mut Effects, form: ReasonForm) {
    let reason = form.typed.trim().to_owned();
    if reason.is_empty() {
        model.overlay = Overlay::Reason(ReasonForm { complains: true, ..form });
        return;
    }
    if !send(model, fx, form.verb, form.against, reason) {
        // What was typed stays; why it is not sent stands where the notice does.
        if let Some(edit) = &mut model.edit {
            edit.notice = None;
        }
        model.overlay = Overlay::Reason(form);
    }
}

/// Whether it is on its way.
fn send(
    model: &mut Model,
    fx: &mut Effects,
    verb: RepairVerb,
    against: Revision,
    reason: String,
) -> bool {
    let Some(edit) = &model.edit else { return true };
    let message = edit.message.clone();
    let submitted = Submitted { bytes: edit.bytes(), version: edit.draft.version };
    let plain = repair::Wanted::plain(verb, against);
    let wanted = repair::Wanted { submitted: Some(submitted), reason, ..plain };
    let is_sent = repair::send(model, fx, message, wanted);
    if is_sent {
        model.overlay = Overlay::None;
        // The text is kept until the broker says that it has it.
        edit::park(model);
    }
    is_sent
}
