//! Gathers and sagas: lists that are read state by state, those first that need somebody.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::admin::dto::{
    GatherState, GatherView, MessageId, RecipientState, SagaState, SagaView, StepState,
};
use crate::console::filter::Filter;
use crate::console::model::lists::{Cursor, Motion, take_over};
use crate::console::model::{MessageRef, PAGE};

/// Rows kept: a saga with its steps takes some 2 KiB.
const MAX_ROWS: usize = 1_000;

/// A gather or a saga.
pub trait Process: Debug {
    /// How far it is.
    type State: Debug + Copy + PartialEq + 'static;
    /// The states in the order of the list.
    const ORDER: &'static [Self::State];

    /// Its id.
    fn id(&self) -> &MessageId;
    /// It goes on.
    fn is_open(&self) -> bool;
    /// What a filter looks at.
    fn texts(&self) -> Vec<&str>;
    /// The message that it waits for, or that holds it up.
    fn message(&self) -> Option<MessageRef>;
}

impl Process for GatherView {
    type State = GatherState;
    const ORDER: &'static [GatherState] = &GatherState::ALL;

    fn id(&self) -> &MessageId {
        &self.id
    }

    fn is_open(&self) -> bool {
        self.state == GatherState::Running
    }

    fn texts(&self) -> Vec<&str> {
        let name = self.gather.as_ref().map_or("", |name| name.as_str());
        let mut texts = vec![self.id.as_str(), name, self.state.as_str()];
        for recipient in &self.recipients {
            texts.extend([recipient.queue.as_str(), recipient.state.as_str()]);
            texts.extend(recipient.error.iter().map(|error| error.message.as_str()));
        }
        texts
    }

    fn message(&self) -> Option<MessageRef> {
        let of = |state| self.recipients.iter().find(move |recipient| recipient.state == state);
        let recipient = of(RecipientState::Blocked)
            .or_else(|| of(RecipientState::Failed))
            .or_else(|| of(RecipientState::NoReply))?;
        Some(MessageRef { queue: recipient.queue.clone(), seq: recipient.seq })
    }
}

impl Process for SagaView {
    type State = SagaState;
    const ORDER: &'static [SagaState] = &[
        SagaState::Parked,
        SagaState::Compensating,
        SagaState::Running,
        SagaState::Aborted,
        SagaState::Compensated,
        SagaState::Completed,
    ];

    fn id(&self) -> &MessageId {
        &self.id
    }

    fn is_open(&self) -> bool {
        !self.state.is_end()
    }

    fn texts(&self) -> Vec<&str> {
        let mut texts = vec![self.id.as_str(), self.saga.as_str(), self.state.as_str()];
        let errors = self.error.iter().chain(self.steps.iter().filter_map(|s| s.error.as_ref()));
        texts.extend(errors.flat_map(|error| [error.code.as_str(), error.message.as_str()]));
        for step in &self.steps {
            texts.extend([step.name.as_str(), step.state.as_str(), step.queue.as_str()]);
        }
        texts
    }

    fn message(&self) -> Option<MessageRef> {
        let is_stuck = |state| matches!(state, StepState::Stuck | StepState::Failed);
        let step = self.steps.iter().filter(|step| step.seq.is_some());
        let step = step.min_by_key(|step| !is_stuck(step.state))?;
        Some(MessageRef { queue: step.queue.clone(), seq: step.seq? })
    }
}

/// Where a page begins: which of the states, and after which one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadFrom {
    state: usize,
    /// The number in the broker's list.
    pub after: Option<u64>,
}

/// Gathers or sagas.
#[derive(Debug)]
pub struct ProcessList<T> {
    /// What was read, in the order of [`Process::ORDER`].
    pub rows: Vec<T>,
    /// What is read anew; takes the rows' place when it is as long, or at its end.
    fresh: Option<Vec<T>>,
    next: ReadFrom,
    /// It is to be read anew.
    outdated: bool,
    /// Something has happened since it was read.
    moved: bool,
    /// A first page has come.
    pub loaded: bool,
    /// Why it can't be read.
    pub trouble: Option<String>,
    /// Where the cursor is.
    pub cursor: Cursor,
    /// What is under the cursor, once it was moved.
    pub at: Option<MessageId>,
    /// What is to be shown: read on for until it is found.
    sought: Option<Sought>,
}

/// One that somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// What was read doesn't have it; there is more.
    For(MessageId),
    /// It is not among what the broker has, or what is read of that.
    InVain(MessageId),
}

impl<T> Default for ProcessList<T> {
    fn default() -> Self {
        let (next, cursor) = Default::default();
        Self {
            rows: Vec::new(),
            fresh: None,
            next,
            outdated: true,
            moved: false,
            loaded: false,
            trouble: None,
            cursor,
            at: None,
            sought: None,
        }
    }
}

impl<T: Process> ProcessList<T> {
    /// To be read again.
    pub fn outdate(&mut self) {
        self.outdated = true;
    }

    /// Something has happened: it is to be read again before long.
    pub(super) fn note(&mut self) {
        self.moved = true;
    }

    /// Whether it isn't as it was when it was read, or may not be.
    pub(super) fn moves(&self) -> bool {
        self.moved || self.rows.iter().any(Process::is_open)
    }

    /// Puts the cursor on one, once it is read.
    pub(super) fn seek(&mut self, id: MessageId) {
        self.at = None;
        self.sought = Some(Sought::For(id));
        self.find();
    }

    /// What is wanted and isn't there.
    pub fn sought(&self) -> Option<&Sought> {
        self.sought.as_ref()
    }

    fn find(&mut self) {
        let Some(Sought::For(id)) = &self.sought else { return };
        if self.rows.iter().any(|row| row.id() == id) {
            self.at = Some(id.clone());
            self.sought = None;
        } else if self.loaded && self.fresh.is_none() && !self.outdated && !self.reads_on() {
            self.sought = Some(Sought::InVain(id.clone()));
        }
    }

    fn reads_on(&self) -> bool {
        self.has_more() && self.rows.len() < MAX_ROWS && self.trouble.is_none()
    }

    /// The state that a page is asked for; `None` after the last one.
    pub fn state(from: ReadFrom) -> Option<T::State> {
        T::ORDER.get(from.state).copied()
    }

    /// There may be more than was read.
    pub fn has_more(&self) -> bool {
        Self::state(self.next).is_some()
    }

    /// The page to ask for next. One at a time: the caller asks when none is awaited.
    pub fn wanted(&mut self) -> Option<ReadFrom> {
        // What is being read is read to its end: else nothing ever would be where much happens.
        if self.fresh.is_none() && std::mem::take(&mut self.outdated) {
            self.moved = false;
            self.fresh = Some(Vec::new());
            self.next = ReadFrom::default();
            self.trouble = None;
            return Some(self.next);
        }
        let is_sought = matches!(self.sought, Some(Sought::For(_)));
        let near_end = is_sought || self.cursor.at + PAGE / 4 >= self.rows.len();
        let wants = self.fresh.is_some() || (near_end && self.rows.len() < MAX_ROWS);
        (wants && self.trouble.is_none() && self.has_more()).then_some(self.next)
    }

    /// Takes the page that was read from `from` on.
    pub fn take(&mut self, from: ReadFrom, page: Vec<T>, next: Option<u64>) {
        if from != self.next {
            return;
        }
        self.next = match next.filter(|next| from.after.is_none_or(|after| *next > after)) {
            Some(next) => ReadFrom { after: Some(next), ..from },
            None => ReadFrom { state: from.state + 1, after: None },
        };
        let rows = self.fresh.as_mut().unwrap_or(&mut self.rows);
        let known: BTreeSet<MessageId> = rows.iter().map(|row| row.id().clone()).collect();
        // One that has gone on meanwhile would be there twice.
        rows.extend(page.into_iter().filter(|row| !known.contains(row.id())));
        rows.truncate(MAX_ROWS);
        let is_whole = !self.has_more();
        self.loaded |= take_over(&mut self.rows, &mut self.fresh, is_whole);
        self.find();
    }

    /// It can't be read.
    pub fn fail(&mut self, why: String) {
        self.fresh = None;
        self.trouble = Some(why);
    }

    /// The rows that the filter lets through.
    pub fn shown(&self, filter: &Filter) -> Vec<&T> {
        self.rows.iter().filter(|row| filter.lets_through(row.texts())).collect()
    }

    /// The row under the cursor; none while another one is looked for.
    pub fn selected(&self, filter: &Filter) -> Option<&T> {
        if self.sought.is_some() {
            return None;
        }
        self.shown(filter).get(self.cursor.at).copied()
    }

    /// The row of an id, whatever the filter.
    pub fn row(&self, id: &MessageId) -> Option<&T> {
        self.rows.iter().find(|row| row.id() == id)
    }

    /// The cursor stays with this row, wherever it goes in the list.
    pub fn stay_with(&mut self, id: MessageId) {
        self.at = Some(id);
    }

    /// Moves the cursor.
    pub(super) fn go(&mut self, motion: Motion, filter: &Filter, height: usize) {
        let len = self.shown(filter).len();
        self.sought = None;
        self.cursor.go(motion, len, height);
        self.at = self.selected(filter).map(|row| row.id().clone());
    }

    /// Keeps the cursor with its row.
    pub(super) fn settle(&mut self, filter: &Filter, height: usize) {
        let (len, at) = {
            let shown = self.shown(filter);
            let at = self.at.as_ref();
            (shown.len(), at.and_then(|id| shown.iter().position(|row| row.id() == id)))
        };
        self.cursor.keep(at, len, height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixtures::saga;

    fn sagas(from: u64, state: SagaState, n: u64) -> Vec<SagaView> {
        (from..from + n).map(|number| saga(number, state)).collect()
    }

    /// Answers what is wanted until nothing is.
    fn read(list: &mut ProcessList<SagaView>, parked: u64, completed: u64) -> usize {
        for asked in 0..100 {
            let Some(from) = list.wanted() else { return asked };
            let state = ProcessList::<SagaView>::state(from).unwrap();
            let (first, all) = match state {
                SagaState::Parked => (1, parked),
                SagaState::Completed => (10_000, completed),
                _ => (0, 0),
            };
            let done = from.after.unwrap_or(0);
            let page = (all - done).min(100);
            let next = (done + page < all).then_some(done + page);
            list.take(from, sagas(first + done, state, page), next);
        }
        panic!("it asks for ever");
    }

    #[test]
    fn those_that_need_somebody_come_first_and_no_more_is_read_than_is_shown() {
        let mut list = ProcessList::<SagaView>::default();
        read(&mut list, 3, 450);
        let states: Vec<SagaState> = list.rows.iter().take(4).map(|saga| saga.state).collect();
        assert_eq!(states[..3], [SagaState::Parked; 3]);
        assert_eq!((states[3], list.rows.len()), (SagaState::Completed, 103));
        list.go(Motion::Last, &Filter::default(), 10);
        read(&mut list, 3, 450);
        assert_eq!(list.rows.len(), 203);
    }

    #[test]
    fn one_that_is_wanted_is_read_on_for_and_nothing_else_is_shown_in_its_place() {
        let mut list = ProcessList::<SagaView>::default();
        read(&mut list, 3, 450);
        let filter = Filter::default();
        let last = saga(10_449, SagaState::Completed).id;
        list.seek(last.clone());
        assert!(list.selected(&filter).is_none());
        read(&mut list, 3, 450);
        list.settle(&filter, 10);
        assert_eq!(list.selected(&filter).map(|saga| &saga.id), Some(&last));
        let gone = saga(20_000, SagaState::Completed).id;
        list.seek(gone.clone());
        assert_eq!(list.sought(), Some(&Sought::InVain(gone)));
        assert!(list.selected(&filter).is_none());
        list.go(Motion::First, &filter, 10);
        assert_eq!(list.selected(&filter).map(|saga| saga.state), Some(SagaState::Parked));
    }

    #[test]
    fn what_happens_while_it_is_read_does_not_begin_it_again() {
        let mut list = ProcessList::<SagaView>::default();
        let mut asked = Vec::new();
        while let Some(from) = list.wanted().filter(|_| asked.len() < 20) {
            asked.push(from);
            list.outdate();
            list.take(from, Vec::new(), None);
            if list.loaded {
                break;
            }
        }
        assert_eq!(asked.len(), SagaView::ORDER.len(), "{asked:?}");
        assert_eq!(list.wanted(), Some(ReadFrom::default()), "and then once more");
    }

    #[test]
    fn a_list_that_is_read_anew_keeps_its_rows_until_it_is_as_long() {
        let mut list = ProcessList::<SagaView>::default();
        read(&mut list, 3, 20);
        assert_eq!(list.rows.len(), 23);
        list.at = Some(saga(2, SagaState::Parked).id);
        list.outdate();
        let from = list.wanted().unwrap();
        list.take(from, sagas(2, SagaState::Parked, 2), None);
        assert_eq!(list.rows.len(), 23, "still those from before");
        read(&mut list, 2, 20);
        assert_eq!(list.rows.len(), 22);
        list.settle(&Filter::default(), 10);
        assert_eq!(list.cursor.at, 0, "the cursor goes with its saga");
    }

    #[test]
    fn a_failure_is_not_asked_for_again_by_itself() {
        let mut list = ProcessList::<SagaView>::default();
        list.wanted();
        list.fail("gone".to_owned());
        assert_eq!(list.wanted(), None);
        list.outdate();
        assert_eq!(list.wanted(), Some(ReadFrom::default()));
    }
}
