//! The review: what would be sent, and the three buttons.

use super::{Effects, draft, edit, repair};
use crate::admin::dto::RepairVerb;
use crate::console::model::{Button, Model, Overlay, Review, Submitted};
use crate::console::text::diff;

/// Equal lines around each change.
pub(super) const DIFF_CONTEXT: usize = 3;

/// `^S`: the difference to what the broker has now. Broken JSON isn't let through.
pub(super) fn open(model: &mut Model, fx: &mut Effects) {
    draft::save_now(model, fx);
    let Some(edit) = model.edit.as_mut().filter(|edit| !edit.loading) else { return };
    let Some(screen) = model.message.as_ref().filter(|screen| screen.message == edit.message)
    else {
        return;
    };
    let Some(view) = &screen.view else { return };
    if edit.json && edit.raw.is_some() {
        edit.notice = Some("not UTF-8, so it can't be JSON; F8 discards it".to_owned());
        return;
    }
    if edit.json
        && let Some(fault) = edit.editor.recheck().cloned()
    {
        edit.editor.jump_to_fault();
        edit.notice = Some(format!("not JSON at {fault}; mend it first"));
        return;
    }
    let text = edit.bytes();
    model.overlay = Overlay::Review(Review {
        lines: diff::unified(&screen.payload, &text, DIFF_CONTEXT),
        unchanged: screen.payload == text,
        against: view.summary.revision,
        scroll: 0,
        button: Button::Back,
    });
}

/// A button of the review.
pub(super) fn press(model: &mut Model, fx: &mut Effects) {
    let Overlay::Review(review) = &model.overlay else { return };
    let (button, against, unchanged) = (review.button, review.against, review.unchanged);
    let verb = match (button, unchanged) {
        (Button::Back, _) => {
            model.overlay = Overlay::None;
            return;
        }
        (Button::Retry, false) => RepairVerb::SaveAndRetry,
        (Button::Retry, true) => RepairVerb::Retry,
        (Button::Save, false) => RepairVerb::Save,
        (Button::Save, true) => {
            model.overlay = Overlay::None;
            return model.acts.note("nothing was changed, so there is nothing to save");
        }
    };
    let Some(edit) = &model.edit else { return };
    let message = edit.message.clone();
    let submitted = if unchanged {
        None
    } else {
        Some(Submitted { bytes: edit.bytes(), version: edit.draft.version })
    };
    let wanted = repair::Wanted { verb, expect: against, reason: String::new(), submitted };
    if repair::send(model, fx, message, wanted) {
        model.overlay = Overlay::None;
        // The text is kept until the broker says that it has it.
        edit::park(model);
    }
}
