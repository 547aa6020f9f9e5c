//! Which messages a command means: by what they are, or by name.

use clap::Args;

use super::address::Addresses;
use crate::admin::client::{AdminClient, AdminError, MessageQuery};
use crate::admin::dto::{
    BulkItem, ErrorGroupId, Filter, HeaderTest, MessageFilter, MessageState, MessageSummary,
    PathTest, QueueName, Seq,
};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::model::limits::{MAX_BULK_ITEMS, MAX_PAGE};

/// Messages named one by one: more are a filter's.
const MAX_NAMED: usize = 1_000;

/// Some messages of a queue.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which messages")]
pub(super) struct FilterArgs {
    /// In this state only: scheduled, ready, leased, waiting, blocked, cancelled
    #[arg(long, value_parser = state)]
    pub(super) state: Option<MessageState>,
    /// With this header field; one of the producer's own by its name alone
    #[arg(long, value_name = "FIELD=VALUE")]
    header: Option<HeaderTest>,
    /// With this place in the JSON body, as $.customer.name=Ann or lines[0].sku
    #[arg(long, value_name = "PATH[=VALUE]")]
    path: Option<PathTest>,
    /// For which this expression in CEL over header and body is true
    #[arg(long, value_name = "CEL", value_parser = Filter::new)]
    filter: Option<Filter>,
    /// That failed last with an error of this group; `message groups` has them
    #[arg(long, value_name = "GROUP")]
    group: Option<ErrorGroupId>,
    /// Accepted at least so long ago: 90s, 15m, 2h, 3d
    #[arg(long, value_name = "AGE", value_parser = age_ms)]
    older: Option<u64>,
    /// Accepted less than so long ago
    #[arg(long, value_name = "AGE", value_parser = age_ms)]
    newer: Option<u64>,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> MessageFilter {
        let Self { state, header, path, filter, group, older, newer } = self.clone();
        MessageFilter { state, header, path, filter, group, older_ms: older, newer_ms: newer }
    }
}

/// Many messages at once, and how they are treated.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Over many")]
pub(super) struct ManyArgs {
    /// All messages of the queue
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many, the first
    #[arg(long, value_name = "COUNT", help_heading = "Over many",
          value_parser = clap::value_parser!(u64).range(1..=MAX_BULK_ITEMS as u64))]
    limit: Option<u64>,
    /// Only say what would be done
    #[arg(long, help_heading = "Over many")]
    pub(super) dry_run: bool,
    /// How many a second at most; 0: as fast as the store takes them
    #[arg(long, value_name = "PER SECOND", default_value_t = 100, help_heading = "Over many")]
    pub(super) rate: u32,
    /// Lines with tabs between what they say, uncut
    #[arg(long, conflicts_with = "json", help_heading = "Over many")]
    pub(super) plain: bool,
}

/// Messages as they were seen.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) queue: QueueName,
    pub(super) messages: Vec<Row>,
    /// There are more: those from this place on were not looked at.
    pub(super) more_from: Option<Seq>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) item: BulkItem,
    pub(super) id: String,
    /// Its state, and why it is there, or how it begins.
    pub(super) about: String,
}

impl ManyArgs {
    /// Whether more than one message is meant.
    pub(super) fn is_meant(&self, message: &Addresses) -> bool {
        self.all || self.filter.filter() != MessageFilter::default() || message.names_many()
    }

    /// The messages as they are now.
    pub(super) async fn choose(
        &self,
        client: &AdminClient,
        message: &Addresses,
    ) -> Result<Chosen, Failure> {
        let wrong = |text: &str| Failure::new(text).exit(Exit::Usage);
        let filter = self.filter.filter();
        let (queue, seqs) = message.queue_and_places()?;
        let is_filtered = self.all || filter != MessageFilter::default();
        match (is_filtered, seqs.is_empty()) {
            (true, true) => self.look_up(client, queue, filter).await,
            (false, false) => named(client, queue, &seqs).await,
            (true, false) => Err(wrong("give places (SEQ) or say which messages, not both")
                .advice("a count goes to --yes with `=`: --yes=3")),
            (false, true) => Err(wrong("which messages? Give --all, --state or another of them")),
        }
    }

    async fn look_up(
        &self,
        client: &AdminClient,
        queue: QueueName,
        filter: MessageFilter,
    ) -> Result<Chosen, Failure> {
        let most = self.limit.map_or(MAX_BULK_ITEMS, |limit| limit as usize);
        let mut chosen = Chosen { queue, messages: Vec::new(), more_from: None };
        let mut query = MessageQuery { from: Some(Seq(1)), limit: None, filter };
        loop {
            let room = most - chosen.messages.len();
            if room == 0 {
                // What was limited on purpose is not short of anything.
                chosen.more_from = query.from.filter(|_| self.limit.is_none());
                return Ok(chosen);
            }
            query.limit = Some(room.min(MAX_PAGE));
            let page = client.messages(&chosen.queue, &query).await?;
            chosen.messages.extend(page.messages.iter().map(|row| Row::new(row, &chosen.queue)));
            query.from = page.next;
            if page.next.is_none() {
                return Ok(chosen);
            }
        }
    }
}

async fn named(client: &AdminClient, queue: QueueName, seqs: &[Seq]) -> Result<Chosen, Failure> {
    if seqs.len() > MAX_NAMED {
        let text =
            format!("at most {MAX_NAMED} places can be named; say which messages by a filter");
        return Err(Failure::new(text).exit(Exit::Usage));
    }
    let mut messages = Vec::with_capacity(seqs.len());
    for &seq in seqs {
        match client.message(&queue, seq).await {
            Ok(view) => messages.push(Row::new(&view.summary, &queue)),
            // The broker says so of it among the others.
            Err(AdminError::Problem(problem)) if problem.code == "not_found" => {
                let item = BulkItem { seq, revision: crate::admin::dto::Revision(0) };
                messages.push(Row { item, id: String::new(), about: "not there".to_owned() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Chosen { queue, messages, more_from: None })
}

impl Row {
    pub(super) fn new(row: &MessageSummary, queue: &QueueName) -> Self {
        let why = super::what_is_wrong(row, queue).unwrap_or_else(|| row.preview.clone());
        Self {
            item: BulkItem { seq: row.seq, revision: row.revision },
            id: row.id.to_string(),
            about: format!("{} {why}", row.state),
        }
    }
}

pub(super) fn state(text: &str) -> Result<MessageState, String> {
    let all = [
        MessageState::Scheduled,
        MessageState::Ready,
        MessageState::Leased,
        MessageState::Waiting,
        MessageState::Blocked,
        MessageState::Cancelled,
    ];
    crate::cli::listing::one_of(&all, MessageState::as_str, text)
}

/// `90s`, `15m`, `2h`, `3d` in milliseconds.
fn age_ms(text: &str) -> Result<u64, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let parse = |(unit, ms): (&str, u64)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(ms)
    };
    units
        .into_iter()
        .find_map(parse)
        .ok_or_else(|| "a number with its unit is needed: 90s, 15m, 2h or 3d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit() {
        let ages = [
            ("500ms", 500),
            ("90s", 90_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("3d", 259_200_000),
        ];
        for (text, ms) in ages {
            assert_eq!(age_ms(text), Ok(ms));
        }
        for wrong in ["", "5", "s", "-1s", "1.5h", "1w", "18446744073709551615d"] {
            assert!(age_ms(wrong).unwrap_err().contains("15m"), "{wrong}");
        }
    }
}
