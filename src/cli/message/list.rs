//! `mubroker message ls` and `mubroker message groups`

use std::collections::BTreeMap;

use clap::Args;

use super::choose::FilterArgs;
use super::what_is_wrong;
use crate::admin::client::{AdminClient, MessageQuery};
use crate::admin::dto::{ErrorGroupId, ErrorGroupView, MessagePage, QueueName, Seq, Timestamp};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::listing::all;
use crate::cli::output::{Column, age, json, print, table};
use crate::console::text::clean::clean;
use crate::model::limits::MAX_PAGE;

pub(super) const LS_HELP: &str = "\
A page looks at some thousand messages; `ls` asks for the next ones until it has as many as --limit says.

  mubroker message ls invoices --state blocked
  mubroker message ls invoices --header type=invoice --path '$.country=FR' --older 2h
  mubroker message ls invoices --filter 'body.total > 100 && size(body.lines) > 1' --plain
  mubroker message ls invoices --group 3f2a9c01b7de";

pub(super) const GROUPS_HELP: &str = "\
Errors are one group if they differ only in numbers, ids and what is quoted. A group's name is the same in all queues.

  mubroker message groups invoices
  mubroker message retry invoices --group 3f2a9c01b7de --dry-run";

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// The queue
    #[arg(add = crate::cli::completions::queues())]
    queue: QueueName,
    /// From this place on
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// How many
    #[arg(long, default_value_t = 50,
          value_parser = clap::value_parser!(u16).range(1..=MAX_PAGE as i64))]
    limit: u16,
    #[command(flatten)]
    filter: FilterArgs,
    /// As one JSON object: messages, and next for the next page
    #[arg(long)]
    json: bool,
    /// Lines with tabs between what they say, uncut: place, state, deliveries, revision, accepted at, id, error, payload
    #[arg(long, conflicts_with = "json")]
    plain: bool,
}

pub(super) async fn ls(client: &AdminClient, args: LsArgs) -> Result<Exit, Failure> {
    let limit = usize::from(args.limit);
    let mut query =
        MessageQuery { from: args.from.map(Seq), limit: None, filter: args.filter.filter() };
    let mut page = MessagePage { messages: Vec::new(), next: None };
    loop {
        query.limit = Some(limit - page.messages.len());
        let found = client.messages(&args.queue, &query).await?;
        page.messages.extend(found.messages);
        page.next = found.next;
        query.from = page.next;
        if page.next.is_none() || page.messages.len() >= limit {
            break;
        }
    }
    if args.json {
        json(&page)?;
    } else if args.plain {
        print(&plain(&page, &args.queue))?;
    } else {
        print(&list(&page, &args.queue, client.overview().await?.now))?;
    }
    Ok(Exit::Done)
}

fn plain(page: &MessagePage, queue: &QueueName) -> String {
    let mut out = String::new();
    for message in &page.messages {
        let cells = [
            message.seq.to_string(),
            message.state.to_string(),
            message.attempt.to_string(),
            message.revision.to_string(),
            message.accepted_at.to_string(),
            message.id.to_string(),
            what_is_wrong(message, queue).unwrap_or_default(),
            message.preview.clone(),
        ];
        let cells: Vec<_> = cells.iter().map(|cell| clean(cell)).collect();
        out += &(cells.join("\t") + "\n");
    }
    out
}

fn list(page: &MessagePage, queue: &QueueName, now: Timestamp) -> String {
    if page.messages.is_empty() {
        return "no such messages\n".to_owned();
    }
    let columns = [
        Column("SEQ", 10),
        Column("STATE", 9),
        Column("TRY", 4),
        Column("REV", 4),
        Column("AGE", 5),
        Column("ID", 20),
        Column("ERROR OR PAYLOAD", 80),
    ];
    let rows: Vec<_> = page
        .messages
        .iter()
        .map(|message| {
            vec![
                message.seq.to_string(),
                message.state.to_string(),
                message.attempt.to_string(),
                message.revision.to_string(),
                age(now.since_ms(message.accepted_at)),
                message.id.to_string(),
                what_is_wrong(message, queue).unwrap_or_else(|| message.preview.clone()),
            ]
        })
        .collect();
    let more = page.next.map_or(String::new(), |seq| format!("more: --from {seq}\n"));
    table(&columns, &rows) + &more
}

#[derive(Debug, Args)]
pub(super) struct GroupsArgs {
    /// The queue
    #[arg(add = crate::cli::completions::queues())]
    queue: QueueName,
    /// As a JSON array
    #[arg(long)]
    json: bool,
    /// Lines with tabs between what they say, uncut: group, messages, first place, last place, pattern
    #[arg(long, conflicts_with = "json")]
    plain: bool,
}

pub(super) async fn groups(client: &AdminClient, args: GroupsArgs) -> Result<Exit, Failure> {
    let parts = all(async |from| {
        let page = client.error_groups(&args.queue, from).await?;
        Ok((page.groups, page.next))
    });
    let groups = together(parts.await?);
    if args.json {
        json(&groups)?;
    } else if args.plain {
        let line = |group: &ErrorGroupView| {
            let ErrorGroupView { group, pattern, count, first, last, .. } = group;
            format!("{group}\t{count}\t{first}\t{last}\t{}\n", clean(pattern))
        };
        print(&groups.iter().map(line).collect::<String>())?;
    } else {
        print(&group_table(&groups, client.overview().await?.now))?;
    }
    Ok(Exit::Done)
}

/// A group may be on several pages.
fn together(parts: Vec<ErrorGroupView>) -> Vec<ErrorGroupView> {
    let mut groups: BTreeMap<ErrorGroupId, ErrorGroupView> = BTreeMap::new();
    for part in parts {
        match groups.get_mut(&part.group) {
            None => drop(groups.insert(part.group, part)),
            Some(known) => {
                known.count += part.count;
                known.last = known.last.max(part.last);
                known.first_at = known.first_at.into_iter().chain(part.first_at).min();
                known.last_at = known.last_at.into_iter().chain(part.last_at).max();
            }
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| (std::cmp::Reverse(group.count), group.first));
    groups
}

fn group_table(groups: &[ErrorGroupView], now: Timestamp) -> String {
    if groups.is_empty() {
        return "no message of it has failed\n".to_owned();
    }
    let columns = [
        Column("GROUP", 12),
        Column("COUNT", 7),
        Column("FIRST", 9),
        Column("LAST", 9),
        Column("AGE", 5),
        Column("ERROR", 80),
    ];
    let row = |group: &ErrorGroupView| {
        vec![
            group.group.to_string(),
            group.count.to_string(),
            group.first.to_string(),
            group.last.to_string(),
            group.last_at.map(|at| age(now.since_ms(at))).unwrap_or_default(),
            group.pattern.clone(),
        ]
    };
    table(&columns, &groups.iter().map(row).collect::<Vec<_>>())
}
