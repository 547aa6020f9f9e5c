//! `mubroker topic`

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;
use super::listing::all;
use super::output::{Column, json, print, table};
use super::target::Target;
use crate::admin::client::AdminClient;
use crate::admin::dto::{
    OnError, QueueName, SubscriptionChange, SubscriptionRequest, SubscriptionView, TopicDetail,
    TopicName, TopicView,
};
use crate::console::text::clean::clean;

/// See topics, subscribe queues to them
#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// List all topics
    Ls {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one topic with its subscriptions
    Show {
        /// The topic
        #[arg(add = crate::cli::completions::topics())]
        topic: TopicName,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give a queue a topic's events from now on, after a restart too
    #[command(after_help = FILTER_HELP)]
    Subscribe {
        #[command(flatten)]
        of: Of,
        /// Only events for which this CEL expression is true
        #[arg(long, value_name = "CEL")]
        filter: Option<String>,
        /// What if the filter fails on an event: dead-letter, deliver, skip or reject
        #[arg(long, default_value = "dead-letter", value_parser = on_error)]
        on_error: OnError,
    },
    /// Take a subscription back that was made at run time; what waits in the queue stays
    Unsubscribe {
        #[command(flatten)]
        of: Of,
    },
}

const FILTER_HELP: &str = "\
A filter sees `header`, `body` (the payload as JSON) and `topic`:

  mubroker topic subscribe order.created billing
  mubroker topic subscribe order.created large --filter 'has(body.total) && body.total > 1000'
  mubroker topic subscribe order.created fr --filter \"header.headers.country == 'FR'\"";

#[derive(Debug, Args)]
struct Of {
    /// The topic
    #[arg(add = crate::cli::completions::topics())]
    topic: TopicName,
    /// The queue
    #[arg(add = crate::cli::completions::queues())]
    queue: QueueName,
    /// Print what changed as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: TopicArgs) -> Result<Exit, Failure> {
    let client = args.target.admin()?;
    match args.command {
        TopicCommand::Ls { json: as_json } => {
            let page = async |after: Option<TopicName>| {
                let page = client.topics(after.as_ref()).await?;
                Ok((page.topics, page.next_after))
            };
            let topics = all(page).await?;
            if as_json { json(&topics)? } else { print(&list(&topics))? }
        }
        TopicCommand::Show { topic, json: as_json } => {
            let topic = whole_topic(&client, &topic).await?;
            if as_json { json(&topic)? } else { print(&show(&topic))? }
        }
        TopicCommand::Subscribe { of, filter, on_error } => {
            let request = SubscriptionRequest { filter, on_error };
            let change = client.subscribe(&of.topic, &of.queue, &request).await?;
            tell(&of, &change, "is subscribed", "was so already")?;
        }
        TopicCommand::Unsubscribe { of } => {
            let change = client.unsubscribe(&of.topic, &of.queue).await?;
            tell(&of, &change, "is not subscribed any more", "was not")?;
        }
    }
    Ok(Exit::Done)
}

fn on_error(text: &str) -> Result<OnError, String> {
    let words = [OnError::DeadLetter, OnError::Deliver, OnError::Skip, OnError::Reject];
    let found = words.into_iter().find(|word| word.as_str() == text);
    found.ok_or_else(|| "give dead-letter, deliver, skip or reject".to_owned())
}

async fn whole_topic(client: &AdminClient, name: &TopicName) -> Result<TopicDetail, Failure> {
    let mut topic = client.topic(name, 0).await?;
    while let Some(from) = topic.next.take() {
        let page = client.topic(name, from).await?;
        topic.subscriptions.extend(page.subscriptions);
        topic.next = page.next;
    }
    Ok(topic)
}

fn tell(of: &Of, change: &SubscriptionChange, done: &str, already: &str) -> Result<(), Failure> {
    if of.json {
        return json(change);
    }
    let said = if change.changed { done.to_owned() } else { format!("{done} ({already})") };
    print(&format!("{} {said} to {}\n", change.queue, change.topic))
}

fn list(topics: &[TopicView]) -> String {
    if topics.is_empty() {
        return "no topics yet; `mubroker topic subscribe TOPIC QUEUE` makes one\n".to_owned();
    }
    let columns = [
        Column("TOPIC", 28),
        Column("MATCH", 5),
        Column("QUEUES", 6),
        Column("PUBLISHED", 9),
        Column("UNMATCHED", 9),
        Column("ERRORS", 6),
    ];
    let row = |topic: &TopicView| {
        vec![
            topic.name.to_string(),
            topic.settings.matching.as_str().to_owned(),
            topic.subscriptions.to_string(),
            topic.published.to_string(),
            topic.unmatched.to_string(),
            topic.filter_errors.to_string(),
        ]
    };
    table(&columns, &topics.iter().map(row).collect::<Vec<_>>())
}

fn show(detail: &TopicDetail) -> String {
    let topic = &detail.topic;
    let mut text = format!(
        "{}: match {}, {} published, {} without a queue, {} filter errors since start\n",
        topic.name,
        topic.settings.matching.as_str(),
        topic.published,
        topic.unmatched,
        topic.filter_errors,
    );
    if let Some(queue) = &topic.settings.otherwise {
        text.push_str(&format!("otherwise: {queue}\n"));
    }
    let columns = [
        Column("QUEUE", 24),
        Column("FROM", 8),
        Column("MATCHED", 8),
        Column("ERRORS", 6),
        Column("FILTER", 80),
    ];
    let row = |subscription: &SubscriptionView| {
        vec![
            subscription.queue.to_string(),
            if subscription.configured { "config" } else { "run time" }.to_owned(),
            subscription.matched.to_string(),
            subscription.filter_errors.to_string(),
            subscription.filter.clone().unwrap_or_default(),
        ]
    };
    text.push_str(&table(&columns, &detail.subscriptions.iter().map(row).collect::<Vec<_>>()));
    for subscription in &detail.subscriptions {
        if let Some(error) = &subscription.last_error {
            let line = format!("{} failed last: {error}\n", subscription.queue);
            text.push_str(&clean(&line));
            text.push('\n');
        }
    }
    text
}
