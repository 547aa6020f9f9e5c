//! How a message is named on the command line.

use clap::Args;

use crate::admin::client::AdminClient;
use crate::admin::dto::{MessageId, QueueName, Seq};
use crate::cli::Exit;
use crate::cli::failure::Failure;

/// Which message.
#[derive(Debug, Args)]
pub(super) struct Address {
    /// QUEUE SEQ, or the message's id
    #[arg(value_names = ["QUEUE|ID", "SEQ"], num_args = 1..=2, required = true, add = crate::cli::completions::queues())]
    message: Vec<String>,
}

/// Which messages.
#[derive(Debug, Args)]
pub(super) struct Addresses {
    /// QUEUE SEQ, or the message's id; over many QUEUE alone, or with several SEQ
    #[arg(value_names = ["QUEUE|ID", "SEQ"], num_args = 1.., required = true, add = crate::cli::completions::queues())]
    messages: Vec<String>,
}

impl Address {
    /// Its queue and place; an id is looked up.
    pub(super) async fn find(&self, client: &AdminClient) -> Result<(QueueName, Seq), Failure> {
        find(client, &self.message).await
    }
}

impl Addresses {
    /// Whether several places are named.
    pub(super) fn names_many(&self) -> bool {
        self.messages.len() > 2
    }

    /// The queue and place of the one that is named.
    pub(super) async fn find(&self, client: &AdminClient) -> Result<(QueueName, Seq), Failure> {
        find(client, &self.messages).await
    }

    /// The queue, and the places in it if any are named.
    pub(super) fn queue_and_places(&self) -> Result<(QueueName, Vec<Seq>), Failure> {
        let (queue, seqs) = self.messages.split_first().expect("clap asks for one");
        let queue = QueueName::new(queue).map_err(|error| wrong(error.to_string()))?;
        let mut places = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let place = place(seq)?;
            if places.contains(&place) {
                return Err(wrong(format!("{place} is named twice")));
            }
            places.push(place);
        }
        Ok((queue, places))
    }
}

async fn find(client: &AdminClient, words: &[String]) -> Result<(QueueName, Seq), Failure> {
    match words {
        [queue, seq] => {
            let queue = QueueName::new(queue).map_err(|error| wrong(error.to_string()))?;
            Ok((queue, place(seq)?))
        }
        [id] => {
            let id = MessageId::new(id).map_err(|error| wrong(error.to_string()))?;
            let found = client.locate(&id).await?;
            Ok((found.queue, found.seq))
        }
        _ => Err(wrong("QUEUE SEQ or a message's id is needed".to_owned())),
    }
}

fn place(text: &str) -> Result<Seq, Failure> {
    text.parse().map(Seq).map_err(|_| wrong(format!("{text:?} is not a place (SEQ)")))
}

fn wrong(text: String) -> Failure {
    Failure::new(text).exit(Exit::Usage)
}
