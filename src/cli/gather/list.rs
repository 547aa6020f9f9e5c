//! `mubroker gather ls` and `show`

use crate::admin::client::AdminClient;
use crate::admin::dto::{
    GatherDetail, GatherName, GatherState, GatherView, MessageId, Payload, RecipientState,
    RecipientView, Timestamp,
};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::listing::all;
use crate::cli::output::{Column, age, json, print, table};
use crate::console::text::clean::{clean, clean_lines};

pub(super) async fn list(
    client: &AdminClient,
    state: Option<GatherState>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let page = async |after| {
        let page = client.gathers(after, state).await?;
        Ok((page.gathers, page.next))
    };
    let gathers = all(page).await?;
    if as_json {
        json(&gathers)?;
    } else {
        print(&rows(&gathers, client.overview().await?.now))?;
    }
    Ok(Exit::Done)
}

pub(super) async fn show(
    client: &AdminClient,
    id: &MessageId,
    name: Option<&GatherName>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let detail = client.gather(id, name).await?;
    if as_json {
        json(&detail)?;
    } else {
        print(&text(&detail, client.overview().await?.now))?;
    }
    Ok(Exit::Done)
}

fn rows(gathers: &[GatherView], now: Timestamp) -> String {
    if gathers.is_empty() {
        return "no such gathers\n".to_owned();
    }
    let columns = [
        Column("GATHER", 20),
        Column("STATE", 8),
        Column("REPLIED", 7),
        Column("LEFT", 5),
        Column("ID", 36),
        Column("MISSING", 80),
    ];
    let row = |gather: &GatherView| {
        vec![
            name(gather),
            gather.state.as_str().to_owned(),
            format!("{}/{}", replied(gather), gather.recipients.len()),
            left(gather, now).unwrap_or_default(),
            gather.id.to_string(),
            missing(gather),
        ]
    };
    table(&columns, &gathers.iter().map(row).collect::<Vec<_>>())
}

fn name(gather: &GatherView) -> String {
    gather.gather.as_ref().map_or_else(|| "-".to_owned(), GatherName::to_string)
}

fn replied(gather: &GatherView) -> usize {
    gather.recipients.iter().filter(|one| one.state == RecipientState::Replied).count()
}

fn missing(gather: &GatherView) -> String {
    let missing = gather.recipients.iter().filter(|one| one.state != RecipientState::Replied);
    missing.map(|one| one.queue.to_string()).collect::<Vec<_>>().join(" ")
}

/// Of one that runs, how long it waits on.
fn left(gather: &GatherView, now: Timestamp) -> Option<String> {
    match gather.state {
        GatherState::Running => Some(age(gather.until?.since_ms(now))),
        GatherState::Complete | GatherState::Quorum | GatherState::Partial => None,
    }
}

fn text(detail: &GatherDetail, now: Timestamp) -> String {
    let gather = &detail.gather;
    let mut text = match &gather.gather {
        Some(name) => format!("{name} {} is {}", gather.id, gather.state.as_str()),
        None => format!("{} is {}", gather.id, gather.state.as_str()),
    };
    if let Some(began) = gather.began_at {
        text += &format!(", began {} ago", age(now.since_ms(began)));
    }
    if let Some(left) = left(gather, now) {
        text += &format!(", {left} left");
    }
    let complete =
        gather.complete.as_str().map_or_else(|| gather.complete.to_string(), str::to_owned);
    text += &format!(
        "; {} of {} replied, over at: {complete}",
        replied(gather),
        gather.recipients.len()
    );
    if let Some(queue) = &gather.reply_to {
        text += &format!("; answered in {queue}");
    }
    let mut text = clean(&text).into_owned();
    if let Some(error) = &gather.condition_error {
        text += &format!("\nits condition could not be told: {}", clean(error));
    }
    text.push('\n');
    let columns = [
        Column("QUEUE", 32),
        Column("SEQ", 9),
        Column("STATE", 8),
        Column("BYTES", 9),
        Column("ERROR", 80),
    ];
    let row = |one: &RecipientView| {
        vec![
            one.queue.to_string(),
            one.seq.to_string(),
            one.state.as_str().to_owned(),
            one.bytes.map_or_else(String::new, |bytes| bytes.to_string()),
            one.error
                .as_ref()
                .map_or_else(String::new, |it| format!("{}: {}", it.code, it.message)),
        ]
    };
    text += &table(&columns, &gather.recipients.iter().map(row).collect::<Vec<_>>());
    for reply in &detail.replies {
        text += &format!("== {}\n", reply.queue);
        match &reply.payload {
            Payload::Utf8(reply) => text += &clean_lines(reply),
            Payload::Base64(reply) => text += reply,
        }
        text.push('\n');
    }
    text
}
