//! A payload being edited, and edits that were left.

use bytes::Bytes;

use super::{MessageRef, Millis};
use crate::admin::dto::{MessageId, MessageView, Revision};
use crate::console::effect::SavedDraft;
use crate::console::text::editor::{Editor, NotText};

/// The repair hold of an edit.
#[derive(Debug, Clone, PartialEq)]
pub enum HoldState {
    /// Not held: not asked for yet, or lost.
    Free,
    /// Asked for.
    Asked(Millis),
    /// Held, since this time; to be renewed.
    Held(Millis),
    /// The broker said no.
    Refused(String),
}

/// What of an edit is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftState {
    /// Counts the text's changes.
    pub version: u64,
    /// The newest version that is on disk.
    pub saved: u64,
    /// The version that is being written.
    pub saving: Option<u64>,
    /// Why the last write failed.
    pub trouble: Option<String>,
}

/// An open editor.
#[derive(Debug)]
pub struct EditSession {
    /// Which message.
    pub message: MessageRef,
    /// Its id.
    pub id: MessageId,
    /// The revision that the edit began from.
    pub base: Revision,
    /// Its bytes.
    pub base_bytes: Bytes,
    /// The payload must be JSON.
    pub json: bool,
    /// The text.
    pub editor: Editor,
    /// What `F8` put aside: the draft, or the broker's text.
    pub other: Option<Editor>,
    /// The hold on the message.
    pub hold: HoldState,
    /// What is on disk.
    pub draft: DraftState,
    /// The disk is being asked for an earlier draft; nothing is typed before it has answered.
    pub loading: bool,
    /// What the operator should know: an earlier draft, a change by somebody else.
    pub notice: Option<String>,
}

/// An edit that was left, or that was sent and has no answer yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The text.
    pub bytes: Bytes,
    /// The revision that it began from.
    pub base: Revision,
    /// What is on disk.
    pub draft: DraftState,
}

impl EditSession {
    /// Opens the editor over `view`, whose payload is `payload`; with the text of an edit that was left.
    pub fn open(
        message: MessageRef,
        view: &MessageView,
        payload: &Bytes,
        parked: Option<&Parked>,
    ) -> Result<Self, NotText> {
        let mut session = Self {
            message,
            id: view.summary.id.clone(),
            base: view.summary.revision,
            base_bytes: payload.clone(),
            json: is_json(view),
            editor: Editor::from_bytes(payload)?,
            other: None,
            hold: HoldState::Free,
            draft: DraftState::default(),
            loading: parked.is_none(),
            notice: None,
        };
        if let Some(parked) = parked {
            session.editor = Editor::with_draft(payload, &parked.bytes)?;
            session.draft = parked.draft.clone();
            session.take_base(parked.base);
        }
        Ok(session)
    }

    /// Puts an earlier draft into the editor, which has not been typed in yet.
    pub fn recall(&mut self, draft: &SavedDraft) -> Result<(), NotText> {
        self.editor = Editor::with_draft(&self.base_bytes, &draft.bytes)?;
        self.draft = DraftState { version: 1, saved: 1, saving: None, trouble: None };
        self.take_base(draft.base);
        Ok(())
    }

    fn take_base(&mut self, base: Revision) {
        self.notice = Some(if base == self.base {
            "your draft from before is here; F8 discards it".to_owned()
        } else {
            format!(
                "your draft began from revision {base}, the message is at {}: ^S shows both",
                self.base
            )
        });
        self.base = base;
    }

    /// The text was changed.
    pub fn touched(&mut self) {
        self.draft.version += 1;
    }

    /// Something typed is not on disk yet, and nothing is being written.
    pub fn must_save(&self) -> bool {
        self.editor.is_dirty()
            && self.draft.version > self.draft.saved
            && self.draft.saving.is_none()
    }

    /// The text as it is kept.
    pub fn saved_form(&self) -> SavedDraft {
        SavedDraft { bytes: Bytes::from(self.editor.bytes()), base: self.base }
    }

    /// Leaves the editor; the text stays.
    pub fn park(self) -> Parked {
        Parked { bytes: Bytes::from(self.editor.bytes()), base: self.base, draft: self.draft }
    }
}

/// The protocol's default content type is JSON; another one is the producer's word that it isn't.
fn is_json(view: &MessageView) -> bool {
    match view.header.get("content_type") {
        Some(serde_json::Value::String(kind)) => kind.to_ascii_lowercase().contains("json"),
        Some(_) | None => true,
    }
}
