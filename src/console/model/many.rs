//! One change of many messages: the form, the frozen list with what a dry run found, the run, and what came of each.

mod form;

use std::collections::BTreeMap;

pub use form::{ManyAct, ManyField, ManyForm, Scope};

use super::{DiffPane, Marks};
use crate::admin::dto::{IdempotencyKey, QueueName, Seq};
use crate::console::command::{Command, Mode};
use crate::console::many::{
    Change, Ending, Found, Frozen, How, Item, Order, Outcome, Progress, Row,
};

/// How far a change of many is.
#[derive(Debug)]
pub enum ManyStage {
    /// It is asked for.
    Form,
    /// The list is made and looked at.
    Looking(Progress),
    /// What would be done is shown; its number is typed.
    Ready(Ready),
    /// It is being done.
    Running {
        /// How far it is.
        progress: Progress,
        /// It was asked to stop.
        stopping: bool,
    },
    /// It is over.
    Over(Over),
}

/// A frozen list that waits for its number.
#[derive(Debug)]
pub struct Ready {
    /// The list.
    pub frozen: Frozen,
    /// How many would be done.
    pub count: usize,
    /// What is typed of that number.
    pub typed: String,
    /// What is wrong with it.
    pub complaint: Option<String>,
    /// The first row shown of the list.
    pub scroll: usize,
    /// Which of the differences is shown.
    pub at: usize,
    /// That difference.
    pub pane: DiffPane,
}

impl Ready {
    /// Nothing typed yet.
    pub fn new(frozen: Frozen) -> Self {
        let count = frozen.items.iter().filter(|item| item.found.counts()).count();
        Self {
            frozen,
            count,
            typed: String::new(),
            complaint: None,
            scroll: 0,
            at: 0,
            pane: DiffPane::default(),
        }
    }

    /// Messages that would be saved with another payload.
    pub fn edited(&self) -> impl Iterator<Item = &Item> {
        self.frozen.items.iter().filter(|item| matches!(item.found, Found::Edited { .. }))
    }

    /// Those that would not be done, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&Row, &str)> {
        self.frozen.items.iter().filter_map(|item| match &item.found {
            Found::Refused(why) => Some((&item.row, why.as_str())),
            Found::Possible | Found::Edited { .. } | Found::Same => None,
        })
    }

    /// Rows of the list: what would not be done, and what would.
    pub fn lines(&self) -> usize {
        self.frozen.items.iter().filter(|item| item.found != Found::Same).count()
    }

    /// Messages in which the expression changes nothing.
    pub fn same(&self) -> usize {
        self.frozen.items.iter().filter(|item| item.found == Found::Same).count()
    }
}

/// A run that is over.
#[derive(Debug)]
pub struct Over {
    /// What came of it.
    pub ending: Ending,
    /// How many were meant.
    pub of: usize,
    /// Only what failed is listed.
    pub failed_only: bool,
    /// The first row shown.
    pub scroll: usize,
    /// The operator was told that another change gives it up.
    pub is_warned: bool,
}

impl Over {
    /// How many were done.
    pub fn done(&self) -> usize {
        self.ending.outcomes.iter().filter(|outcome| outcome.result.is_ok()).count()
    }

    /// How many were not.
    pub fn failed(&self) -> usize {
        self.ending.outcomes.len() - self.done()
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let (done, failed) = (self.done(), self.failed());
        let left = self.of.saturating_sub(done + failed);
        let (word, why) = match &self.ending.how {
            How::Done => ("done", ""),
            How::Stopped(why) => ("STOPPED", why.as_str()),
            How::Failed(why) => ("FAILED", why.as_str()),
            How::Lost(why) => ("UNKNOWN", why.as_str()),
        };
        let left = if left > 0 { format!(", {left} not tried") } else { String::new() };
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        format!("{word}, {done} of {} done, {failed} refused{left}{why}", self.of)
    }

    /// What is listed.
    pub fn shown(&self) -> Vec<&Outcome> {
        let all = self.ending.outcomes.iter();
        all.filter(|outcome| !self.failed_only || outcome.result.is_err()).collect()
    }

    /// It didn't come to its end: the same can be sent again.
    pub const fn can_go_on(&self) -> bool {
        match self.ending.how {
            How::Done => false,
            How::Stopped(_) | How::Failed(_) | How::Lost(_) => true,
        }
    }

    /// Messages that were done, as they are now.
    pub fn done_rows(&self) -> Vec<Row> {
        let done = self.ending.outcomes.iter().filter_map(|outcome| {
            let (revision, _) = outcome.result.as_ref().ok()?;
            let mut row = outcome.row.clone();
            row.item.revision = *revision;
            Some(row)
        });
        done.collect()
    }

    /// What failed, one JSON object a line.
    pub fn export(&self, queue: &QueueName) -> String {
        let mut text = String::new();
        for outcome in &self.ending.outcomes {
            let Err(why) = &outcome.result else { continue };
            let Row { item, id } = &outcome.row;
            let line = serde_json::json!({"queue": queue.as_str(), "seq": item.seq.0,
                "id": id.as_str(), "revision": item.revision.0, "error": why});
            text.push_str(&line.to_string());
            text.push('\n');
        }
        text
    }
}

/// One change of many messages.
#[derive(Debug)]
pub struct Campaign {
    /// Names it in what its task tells.
    pub run: u64,
    /// The messages' queue.
    pub queue: QueueName,
    /// What was asked for; kept, so that `Esc` goes back to it.
    pub form: ManyForm,
    /// What was looked at.
    pub order: Option<Order>,
    /// What was agreed to, since it began or went on last.
    pub items: Vec<Item>,
    /// What came of those that were tried before it went on.
    pub before: Vec<Outcome>,
    /// How far it is.
    pub stage: ManyStage,
}

impl Campaign {
    /// A new one.
    pub fn new(run: u64, queue: QueueName, form: ManyForm) -> Self {
        Self {
            run,
            queue,
            form,
            order: None,
            items: Vec::new(),
            before: Vec::new(),
            stage: ManyStage::Form,
        }
    }

    /// It would end with the console: each payload is saved from here.
    pub fn needs_console(&self) -> bool {
        let edits =
            self.order.as_ref().is_some_and(|order| matches!(order.change, Change::Edit { .. }));
        edits && matches!(self.stage, ManyStage::Running { .. })
    }

    /// What is asked for; `key` names it.
    pub fn order(&self, key: IdempotencyKey, change: Change) -> Order {
        Order {
            run: self.run,
            queue: self.queue.clone(),
            key,
            change,
            rate: self.form.rate().unwrap_or_default(),
            reason: self.form.text(ManyField::Reason).trim().to_owned(),
        }
    }

    /// Its act and queue, as a sentence's beginning.
    pub fn title(&self) -> String {
        format!("{} several of {}", self.form.act.title(), self.queue)
    }
}

/// Rows of a list that waits for its number which are not the list: title, counts, a line between, and two to type.
const READY_ROWS: usize = 6;
/// Rows of the results that are not the list: title, the bar, a line between.
pub const OVER_ROWS: usize = 3;

/// The marks, and the one change of many.
#[derive(Debug, Default)]
pub struct Many {
    /// By queue.
    pub marks: BTreeMap<QueueName, Marks>,
    /// The one that is asked for, runs, or ran last.
    pub campaign: Option<Campaign>,
    /// Names were given up to here.
    pub last_run: u64,
}

impl Many {
    /// Which keys work on it.
    pub fn mode(&self) -> Mode {
        match self.campaign.as_ref().map(|campaign| &campaign.stage) {
            Some(ManyStage::Form) => Mode::Many,
            Some(ManyStage::Ready(_)) => Mode::Agree,
            None | Some(ManyStage::Looking(_) | ManyStage::Running { .. } | ManyStage::Over(_)) => {
                Mode::Bulk
            }
        }
    }

    /// Whether a key of the results does something now.
    pub fn offers(&self, command: Command) -> bool {
        match (self.campaign.as_ref().map(|campaign| &campaign.stage), command) {
            (Some(ManyStage::Running { stopping, .. }), Command::StopMany) => !stopping,
            (Some(ManyStage::Over(over)), Command::GoOn) => over.can_go_on(),
            (Some(ManyStage::Ready(ready)), Command::Right) => ready.edited().nth(1).is_some(),
            (Some(ManyStage::Form), Command::Right) => true,
            (Some(ManyStage::Over(over)), Command::FailedOnly | Command::SaveFailed) => {
                over.failed() > 0
            }
            _ => false,
        }
    }

    /// Fits what is shown into its area.
    pub fn settle(&mut self, width: usize, height: usize) {
        let Some(campaign) = &mut self.campaign else { return };
        match &mut campaign.stage {
            ManyStage::Ready(ready) => {
                let lines = ready.lines();
                ready.scroll = ready.scroll.min(lines.saturating_sub(1));
                ready.pane.settle(width, height.saturating_sub(READY_ROWS));
            }
            ManyStage::Over(over) => {
                let lines = over.shown().len();
                over.scroll =
                    over.scroll.min(lines.saturating_sub(height.saturating_sub(OVER_ROWS)));
            }
            ManyStage::Form | ManyStage::Looking(_) | ManyStage::Running { .. } => {}
        }
    }

    /// How many messages of a queue are marked.
    pub fn marked(&self, queue: &QueueName) -> usize {
        self.marks.get(queue).map_or(0, Marks::len)
    }

    /// Takes marks away from what is done.
    pub fn take_off(&mut self, queue: &QueueName, done: impl Iterator<Item = Seq>) {
        if let Some(marks) = self.marks.get_mut(queue) {
            marks.take_off(done);
        }
        self.marks.retain(|_, marks| !marks.is_empty());
    }
}
