//! The task of a change of many: it asks the broker, and tells how far it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::{Change, Frozen, Group, How, Item, Job, Order, Progress, Row, Told, Which};
use super::{program, repair};
use crate::admin::client::{AdminClient, AdminError, MessageQuery};
use crate::admin::dto::{BulkItem, MAX_BULK_ITEMS, MAX_PAGE, MessageFilter, QueueName, Seq};
use crate::console::action::Action;

/// Before what had no answer is asked again.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// Groups that are listed: beyond, nobody chooses among them.
const MAX_GROUPS: usize = 200;

/// Does a job until it is over, or nobody listens any more.
pub(in crate::console) async fn run(
    client: AdminClient,
    own_program: PathBuf,
    job: Job,
    stop: watch::Receiver<bool>,
    actions: mpsc::Sender<Action>,
) {
    let task = |run| Task { client, own_program, actions, run, stop };
    match job {
        Job::Groups { run, queue } => {
            let task = task(run);
            let groups = task.groups(&queue).await.map_err(|error| with_cause(&error));
            task.tell(Told::Groups(groups)).await;
        }
        Job::Look(order, which) => {
            let task = task(order.run);
            let frozen = task.look(&order, which).await;
            task.tell(Told::Frozen(frozen)).await;
        }
        Job::Do(order, items) => {
            let task = task(order.run);
            let ending = task.carry_out(&order, items).await;
            task.tell(Told::Ended(ending)).await;
        }
        // The runner's own.
        Job::Stop(_) => {}
    }
}

pub(super) struct Task {
    pub(super) client: AdminClient,
    /// This binary, which runs expressions in a process of their own.
    pub(super) own_program: PathBuf,
    actions: mpsc::Sender<Action>,
    run: u64,
    stop: watch::Receiver<bool>,
}

impl Task {
    async fn tell(&self, told: Told) {
        // Nobody takes it when the console has ended.
        let _ = self.actions.send(Action::Many { run: self.run, told: Box::new(told) }).await;
    }

    pub(super) async fn progress(&self, progress: Progress) {
        self.tell(Told::Progress(progress)).await;
    }

    /// It is to stop.
    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits so long, or until it is to stop.
    pub(super) async fn pause(&self, time: Duration) {
        if self.is_stopped() {
            // It waits for an answer about what has begun: not in a circle.
            return sleep(time.min(PAUSE)).await;
        }
        tokio::select! {
            () = sleep(time) => {}
            () = self.stopped() => {}
        }
    }

    /// Waits until it is to stop.
    pub(super) async fn stopped(&self) {
        if self.stop.clone().wait_for(|stop| *stop).await.is_err() {
            // Nobody can stop it any more.
            std::future::pending::<()>().await;
        }
    }

    async fn groups(&self, queue: &QueueName) -> Result<Vec<Group>, AdminError> {
        let mut groups: BTreeMap<_, Group> = BTreeMap::new();
        let mut from = None;
        loop {
            let page = self.client.error_groups(queue, from).await?;
            for found in page.groups {
                let group = Group { id: found.group, pattern: found.pattern, count: 0 };
                groups.entry(found.group).or_insert(group).count += found.count;
            }
            // A page that doesn't go on would be asked for for ever.
            match page.next.filter(|next| from.is_none_or(|from| *next > from)) {
                Some(next) if !self.is_stopped() => from = Some(next),
                Some(_) | None => break,
            }
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.id.cmp(&b.id)));
        groups.truncate(MAX_GROUPS);
        Ok(groups)
    }

    async fn look(&self, order: &Order, which: Which) -> Result<Frozen, String> {
        let (rows, is_cut) = match which {
            Which::These(rows) => (rows, false),
            Which::Those(filter) => {
                self.choose(&order.queue, filter).await.map_err(|error| with_cause(&error))?
            }
        };
        let items = match &order.change {
            Change::Repair { verb, to } => repair::rehearse(self, order, rows, *verb, to).await?,
            Change::Edit { jq, .. } => program::plan(self, order, rows, jq).await?,
        };
        Ok(Frozen { items, is_cut })
    }

    /// The first of those that the filter takes, and whether there are more than one run takes.
    async fn choose(
        &self,
        queue: &QueueName,
        filter: MessageFilter,
    ) -> Result<(Vec<Row>, bool), AdminError> {
        let mut rows = Vec::new();
        let mut query = MessageQuery { from: Some(Seq(1)), limit: None, filter };
        loop {
            let room = MAX_BULK_ITEMS - rows.len();
            if room == 0 {
                return Ok((rows, true));
            }
            query.limit = Some(room.min(MAX_PAGE));
            let page = self.client.messages(queue, &query).await?;
            rows.extend(page.messages.into_iter().map(|found| Row {
                item: BulkItem { seq: found.seq, revision: found.revision },
                id: found.id,
            }));
            let next = page.next.filter(|next| query.from.is_none_or(|from| *next > from));
            if next.is_none() || self.is_stopped() {
                return Ok((rows, false));
            }
            query.from = next;
            self.progress(Progress { tried: rows.len() as u64, ..Progress::default() }).await;
        }
    }

    async fn carry_out(&self, order: &Order, items: Vec<Item>) -> super::Ending {
        match &order.change {
            Change::Repair { verb, to } => {
                repair::carry_out(self, order, items, *verb, to.clone()).await
            }
            Change::Edit { retry, .. } => program::save(self, order, items, *retry).await,
        }
    }
}

pub(super) fn with_cause(error: &AdminError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The end of a run that did nothing.
pub(super) fn not_begun(why: String) -> super::Ending {
    super::Ending { outcomes: Vec::new(), how: How::Failed(why) }
}
