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

impl Address {
    /// Its queue and place; an id is looked up.
    pub(super) async fn find(&self, client: &AdminClient) -> Result<(QueueName, Seq), Failure> {
        let wrong = |text: String| Failure::new(text).exit(Exit::Usage);
        match &self.message[..] {
            [queue, seq] => {
                let queue = QueueName::new(queue).map_err(|error| wrong(error.to_string()))?;
                let seq =
                    seq.parse().map_err(|_| wrong(format!("{seq:?} is not a place (SEQ)")))?;
                Ok((queue, Seq(seq)))
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
