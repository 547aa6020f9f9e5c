//! How a message is named on the command line.

use clap::Args;

use crate::admin::client::AdminClient;
use crate::admin::dto::{MessageId, QueueName, Seq};
use crate::cli::Exit;
use crate::cli::failure::Failure;

/// Which message.
#[derive(Debug, Args)]
pub(super) struct Address {
    /// QUEUE SEQ, or the message's id; over many QUEUE alone, or with several SEQ
    #[arg(value_names = ["QUEUE|ID", "SEQ"], num_args = 1.., required = true, add = crate::cli::completions::queues())]
    message: Vec<String>,
}

impl Address {
    /// Whether several places are named.
    pub(super) fn names_many(&self) -> bool {
        self.message.len() > 2
    }

    /// The queue, and the places in it if any are named.
    pub(super) fn queue_and_places(&self) -> Result<(QueueName, Vec<Seq>), Failure> {
        let wrong = |text: String| Failure::new(text).exit(Exit::Usage);
        let (queue, seqs) = self.message.split_first().expect("clap asks for one");
        let queue = QueueName::new(queue).map_err(|error| wrong(error.to_string()))?;
        let mut places = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let place = seq.parse().map(Seq);
            let place = place.map_err(|_| wrong(format!("{seq:?} is not a place (SEQ)")))?;
            if places.contains(&place) {
                return Err(wrong(format!("{place} is named twice")));
            }
            places.push(place);
        }
        Ok((queue, places))
    }

    /// Its queue and place; an id is looked up.
    pub(super) async fn find(&self, client: &AdminClient) -> Result<(QueueName, Seq), Failure> {
        let wrong = |text: String| Failure::new(text).exit(Exit::Usage);
        match &self.message[..] {
            [_, _] => {
                let (queue, places) = self.queue_and_places()?;
                Ok((queue, places[0]))
            }
            [id] => {
                let id = MessageId::new(id).map_err(|error| wrong(error.to_string()))?;
                let found = client.locate(&id).await?;
                Ok((found.queue, found.seq))
            }
            _ => Err(wrong("QUEUE SEQ or a message's id is needed".to_owned())),
        }
    }
}
