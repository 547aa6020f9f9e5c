//! What nobody can be told of goes to a dead-letter queue when it is refused.

use serde_json::json;

use crate::model::{Content, Header, Origin, QueueName, Rejection, limits};

use super::dead_letter::{ERROR_BYTES, marked};
use super::{Effects, Engine};

/// Why a message that nobody could be told of is a dead letter.
const REFUSED: &str = "refused";

impl Engine {
    /// A message that nobody can be told of goes to a dead-letter queue. Its priority counted elsewhere.
    pub(super) fn handle_bury(
        &mut self,
        origin: Origin,
        to: QueueName,
        content: &Content,
        queue: Option<&QueueName>,
        rejection: &Rejection,
        out: &mut Effects,
    ) {
        let mut text = rejection.reason.clone();
        limits::clip(&mut text, ERROR_BYTES);
        let mut came_from = json!({
            "queue": queue,
            "reason": REFUSED,
            "at": self.now.to_string(),
            "code": rejection.code,
            "error": text,
        });
        let mut fields = content.header.to_map();
        if let (Some(priority), Some(came_from)) =
            (fields.remove("priority"), came_from.as_object_mut())
        {
            came_from.insert("priority".to_owned(), priority);
        }
        let header = Header::from_map(fields, || content.id().clone());
        let header = header.unwrap_or_else(|_| content.header.clone());
        let content = Content { header, payload: content.payload.clone() };
        self.dead_letter_queues.insert(to.clone());
        self.handle_send(origin, vec![(to, marked(&content, came_from))], None, out);
    }
}
