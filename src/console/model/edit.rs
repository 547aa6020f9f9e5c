//! A payload being edited, and edits that were left.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{MessageRef, Millis, Model, Review, SchemaCheck};
use crate::admin::dto::{MessageId, MessageView, Revision};
use crate::console::action::Action;
use crate::console::command::{Command, Mode};
use crate::console::effect::SavedDraft;
use crate::console::keymap::Keymap;
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

/// How the operator's own editor stands to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// It gets the text once the disk has said whether there is a draft.
    Wanted,
    /// It has the text.
    Has,
}

/// What of an edit is on disk. Versions are unique in a run of the console, so that a late answer for an
/// edit from before says nothing about this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftState {
    /// Grows with each change of the text.
    pub version: u64,
    /// The newest version that is on disk.
    pub saved: u64,
    /// The newest version that is being written.
    pub saving: Option<u64>,
    /// Why the last write failed.
    pub trouble: Option<String>,
}

impl DraftState {
    /// There is a version that is neither on disk nor on its way there.
    pub fn is_unsaved(&self) -> bool {
        self.version > self.saved.max(self.saving.unwrap_or(0))
    }
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
    /// Its bytes; none for a payload that is no text.
    pub base_bytes: Bytes,
    /// The header then.
    pub base_header: serde_json::Map<String, serde_json::Value>,
    /// The payload must be JSON.
    pub json: bool,
    /// The payload is no text, so that only what comes from a file or a draft takes its place.
    pub binary: bool,
    /// The text.
    pub editor: Editor,
    /// Bytes from a file that are no text: they are reviewed and sent, but nothing is typed in them.
    pub raw: Option<Bytes>,
    /// What `F8` put aside: the draft, or the broker's text.
    pub other: Option<(Editor, Option<Bytes>)>,
    /// The hold on the message.
    pub hold: HoldState,
    /// What is on disk.
    pub draft: DraftState,
    /// The queue's schema, and what it says.
    pub schema: SchemaCheck,
    /// The disk is being asked for an earlier draft; what is typed before it has answered waits.
    pub loading: bool,
    /// What was typed meanwhile, in order.
    pub ahead: Vec<Action>,
    /// The operator's own editor is to have the text, or has it.
    pub outside: Option<Outside>,
    /// The review was asked for while the message was being read again: it opens then, unless a key came.
    pub review_when_read: bool,
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
        keys: Keymap,
    ) -> Result<Self, NotText> {
        let binary = std::str::from_utf8(payload).is_err();
        let base_bytes = if binary { Bytes::new() } else { payload.clone() };
        let mut session = Self {
            message,
            id: view.summary.id.clone(),
            base: view.summary.revision,
            base_header: view.header.clone(),
            json: is_json(view) && !binary,
            binary,
            editor: Editor::from_bytes(&base_bytes)?,
            raw: None,
            base_bytes,
            other: None,
            hold: HoldState::Free,
            draft: DraftState::default(),
            schema: SchemaCheck::default(),
            loading: parked.is_none(),
            ahead: Vec::new(),
            outside: None,
            review_when_read: false,
            notice: None,
        };
        if let Some(parked) = parked {
            session.put(&parked.bytes)?;
            session.draft = parked.draft.clone();
            session.take_base(parked.base, keys);
        }
        Ok(session)
    }

    /// Puts an earlier draft into the editor, which has not been typed in yet.
    pub fn recall(&mut self, draft: &SavedDraft, keys: Keymap) -> Result<(), NotText> {
        self.put(&draft.bytes)?;
        self.draft = DraftState::default();
        self.take_base(draft.base, keys);
        Ok(())
    }

    /// Puts a file's bytes into the editor; a draft that was there is put aside.
    pub fn replace(
        &mut self,
        bytes: &Bytes,
        revision: Revision,
        keys: Keymap,
    ) -> Result<(), NotText> {
        let had = self.is_dirty().then(|| self.bytes());
        self.put(bytes)?;
        self.loading = false;
        self.base = revision;
        let shows = keys.hint(Mode::Editor, Command::Review, "; {} shows the difference");
        self.notice = Some(format!("read from the file{shows}"));
        if let Some(had) = had {
            let editor = Editor::with_draft(&self.base_bytes, &had);
            // Bytes that are no text stand beside an editor of what they replace.
            self.other = Some(match editor {
                Ok(editor) => (editor, None),
                Err(_) => (Editor::from_bytes(&self.base_bytes)?, Some(had)),
            });
            let back = "; {} brings back what was typed before";
            let back = keys.hint(Mode::Editor, Command::Discard, back);
            self.notice = Some(format!("read from the file{back}"));
        }
        Ok(())
    }

    fn put(&mut self, bytes: &Bytes) -> Result<(), NotText> {
        self.schema.forget();
        match Editor::with_draft(&self.base_bytes, bytes) {
            Ok(editor) => (self.editor, self.raw) = (editor, None),
            Err(NotText::NotUtf8 { .. }) => self.raw = Some(bytes.clone()),
            Err(why @ (NotText::TooLong { .. } | NotText::TooStrange)) => return Err(why),
        }
        Ok(())
    }

    fn take_base(&mut self, base: Revision, keys: Keymap) {
        self.notice = Some(if base == self.base {
            let discards = keys.hint(Mode::Editor, Command::Discard, "; {} discards it");
            format!("your draft from before is here{discards}")
        } else {
            let both = keys.hint(Mode::Editor, Command::Review, ": {} shows both");
            let now = self.base;
            // As short as it can be said: that another console edits it, too, may have to stand beside it.
            format!("your draft began at revision {base}, now {now}{both}")
        });
        self.base = base;
    }

    /// `payload` as it is typed in: a payload that is no text isn't.
    pub fn text_of<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        if self.binary { b"" } else { payload }
    }

    /// What would be sent.
    pub fn bytes(&self) -> Bytes {
        self.raw.clone().unwrap_or_else(|| Bytes::from(self.editor.bytes()))
    }

    /// It is another than what the edit began from.
    pub fn is_dirty(&self) -> bool {
        self.raw.is_some() || self.editor.is_dirty()
    }

    /// The text as it is kept.
    pub fn saved_form(&self) -> SavedDraft {
        SavedDraft { bytes: self.bytes(), base: self.base }
    }

    /// Leaves the editor; the text stays.
    pub fn park(self) -> Parked {
        Parked { bytes: self.bytes(), base: self.base, draft: self.draft }
    }
}

impl Model {
    /// Is there a draft of this message, which isn't open?
    pub fn has_draft(&self, message: &MessageRef) -> bool {
        let is_open = self.edit.as_ref().is_some_and(|edit| edit.message == *message);
        !is_open && (self.parked.contains_key(message) || self.kept.contains(message))
    }

    /// The messages of which there are drafts, beside the one that is open.
    pub fn drafts(&self) -> impl Iterator<Item = &MessageRef> {
        let all: BTreeSet<_> = self.parked.keys().chain(&self.kept).collect();
        all.into_iter().filter(|message| self.has_draft(message))
    }

    /// Why a draft can't be written: what was typed is in memory alone.
    pub fn draft_trouble(&self) -> Option<&str> {
        let parked = self.parked.values().map(|parked| &parked.draft);
        let mut all = self.edit.iter().map(|edit| &edit.draft).chain(parked);
        all.find_map(|draft| draft.trouble.as_deref())
    }

    /// What an operator must know before a button of the review is pressed, a row for each.
    pub fn review_warnings(&self, review: &Review) -> Vec<String> {
        let Some(session) = &self.edit else { return Vec::new() };
        let mut warnings = Vec::new();
        if review.against != session.base {
            let view = self.message.as_ref().and_then(|screen| screen.view.as_ref());
            let newest = view.and_then(|view| view.revisions.last());
            let by = newest.map_or(String::new(), |newest| format!(" by {}", newest.by.name));
            let against = match review.against {
                Revision(0) => "the original".to_owned(),
                revision => format!("revision {revision}"),
            };
            let base = session.base;
            warnings.push(format!(
                "CHANGED MEANWHILE: you began from revision {base}; this replaces {against}{by}"
            ));
        }
        if let Some(why) = self.why_unsendable() {
            warnings.push(format!("RETRY AND SAVE ARE OFF: {why}"));
        }
        warnings
    }
}

/// The protocol's default content type is JSON; another one is the producer's word that it isn't.
fn is_json(view: &MessageView) -> bool {
    match view.header.get("content_type") {
        Some(serde_json::Value::String(kind)) => kind.to_ascii_lowercase().contains("json"),
        Some(_) | None => true,
    }
}
