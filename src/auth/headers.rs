//! What a message's header names decides where other messages go: a token for some queues reaches no others by it.

use serde_json::{Map, Value};

use super::grants::{Grants, Right};
use crate::model::{QueueName, dead_letter_queue, reply_to};

/// A queue that a header names.
type Named = fn(&Map<String, Value>) -> Option<QueueName>;

/// By field: where the reply goes; where a dead letter came from, and so where it is brought back to.
const NAMED: [(&str, Named); 2] =
    [("reply_to", |header| reply_to(header).ok()), ("dead_letter", dead_letter_queue)];

impl Grants {
    /// Refuses a header that names a queue which the token may not send to, unless `before`, the header that it takes the
    /// place of, named the same one. What is no queue's name is not refused here.
    pub fn check_header(
        &self,
        header: &Map<String, Value>,
        before: Option<&Map<String, Value>>,
    ) -> Result<(), String> {
        for (field, named) in NAMED {
            let Some(queue) = named(header) else { continue };
            if before.and_then(named).as_ref() == Some(&queue) {
                continue;
            }
            let refused = |why| format!("header field `{field}`: {why}");
            self.check_queue(Right::Send, &queue).map_err(refused)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Role;
    use super::*;
    use crate::model::QueuePatterns;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn a_header_names_no_queue_that_the_token_may_not_send_to() {
        let queues = QueuePatterns::parse(["eu.*"]).expect("patterns");
        let editor = Grants { role: Role::Editor, without: Vec::new(), queues };
        let reply_to = |queue: &str| object(json!({"reply_to": queue}));
        let came_from = |queue: &str| object(json!({"dead_letter": {"queue": queue}}));
        for header in [reply_to("eu.a"), came_from("eu.a"), Map::new(), reply_to("no name?")] {
            assert_eq!(editor.check_header(&header, None), Ok(()), "{header:?}");
        }
        for (field, header) in [("reply_to", reply_to("us.a")), ("dead_letter", came_from("us.a"))]
        {
            let refused = editor.check_header(&header, Some(&Map::new())).expect_err("not its own");
            let text = format!("header field `{field}`: the queue us.a is not among its queues");
            assert!(refused.starts_with(&text), "{refused}");
            assert_eq!(editor.check_header(&header, Some(&header)), Ok(()), "it was there before");
            assert_eq!(Grants::all().check_header(&header, None), Ok(()));
        }
        let without = vec![Right::Send];
        let mute = Grants { role: Role::Editor, without, ..Grants::all() };
        let refused = mute.check_header(&reply_to("us.a"), None).expect_err("a reply is sent");
        assert!(refused.contains("the right `send` is needed"), "{refused}");
    }
}
