//! Rights, and the roles that bundle them.

use std::fmt;
use std::str::FromStr;

use crate::model::{QueueName, QueuePatterns};

/// What may be done. Each is asked for by itself: who may retry may not edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// See queues, messages with their payloads, workers, journal, events.
    Read,
    /// Pause, resume, hold; drain, restart and scale workers; redrive.
    Operate,
    /// Make a message ready again as it is.
    Retry,
    /// Save another payload or header.
    Edit,
    /// Take a message out, and put it back.
    Cancel,
    /// Send a message to another queue.
    Move,
    /// Send a message to the dead-letter queue.
    DeadLetter,
    /// Put messages into queues.
    Send,
    /// Work messages off.
    Consume,
    /// Change queues' settings and subscriptions.
    Settings,
    /// Delete queues with what is in them.
    Delete,
    /// Copy the store.
    Store,
    /// See and revoke tokens.
    Tokens,
}

impl Right {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::Read,
        Self::Operate,
        Self::Retry,
        Self::Edit,
        Self::Cancel,
        Self::Move,
        Self::DeadLetter,
        Self::Send,
        Self::Consume,
        Self::Settings,
        Self::Delete,
        Self::Store,
        Self::Tokens,
    ];

    /// As configuration and refusals call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Retry => "retry",
            Self::Edit => "edit",
            Self::Cancel => "cancel",
            Self::Move => "move",
            Self::DeadLetter => "dead-letter",
            Self::Send => "send",
            Self::Consume => "consume",
            Self::Settings => "settings",
            Self::Delete => "delete",
            Self::Store => "store",
            Self::Tokens => "tokens",
        }
    }

    /// What it allows, for the README's table.
    pub fn allows(self) -> &'static str {
        match self {
            Self::Read => "see queues, messages with payloads, workers, journal, events, metrics",
            Self::Operate => {
                "pause, drain and resume queues; hold a message; redrive; drain, restart and scale workers"
            }
            Self::Retry => "make a message ready again as it is; retry a saga's step",
            Self::Edit => {
                "save another payload or header, and undo that; a queue that the header names anew (`reply_to`) needs \
                 `send` there"
            }
            Self::Cancel => {
                "take a message out, restore it; purge a queue; skip a saga's step, abort a saga"
            }
            Self::Move => {
                "send a message to another queue, or a dead letter back; `to` of a redrive"
            }
            Self::DeadLetter => "send a message to the dead-letter queue",
            Self::Send => {
                "SEND, SENDMANY, CALL, PUBLISH, GATHER, START, STATUS at the clients' door"
            }
            Self::Consume => "READY at the workers' door",
            Self::Settings => {
                "make queues, and change their settings; subscribe and unsubscribe queues"
            }
            Self::Delete => "delete queues, with what is in them",
            Self::Store => "copy the store (backup)",
            Self::Tokens => "list and revoke tokens",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|right| right.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("there is no right {text:?}; there are {known}")
        })
    }
}

/// A bundle of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Is on call.
    Operator,
    /// Repairs what is in messages.
    Editor,
    /// May do everything.
    Admin,
    /// A program that sends.
    Producer,
    /// A program that works messages off.
    Worker,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Viewer, Self::Operator, Self::Editor, Self::Admin, Self::Producer, Self::Worker];

    /// As configuration and command line call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
            Self::Producer => "producer",
            Self::Worker => "worker",
        }
    }

    /// What it may do.
    pub fn rights(self) -> &'static [Right] {
        use Right::{Cancel, Consume, DeadLetter, Edit, Move, Operate, Read, Retry, Send};
        match self {
            Self::Viewer => &[Read],
            Self::Operator => &[Read, Operate, Retry],
            Self::Editor => &[Read, Operate, Retry, Edit, Cancel, Move, DeadLetter, Send],
            Self::Admin => &Right::ALL,
            Self::Producer => &[Send],
            Self::Worker => &[Consume],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("there is no role {text:?}; there are {known}")
        })
    }
}

/// What one token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// The bundle.
    pub role: Role,
    /// Rights of the role that this one has not.
    pub without: Vec<Right>,
    /// With which queues.
    pub queues: QueuePatterns,
}

impl Grants {
    /// Everything: the owner of the unix socket, who can read the store's files too.
    pub fn all() -> Self {
        Self { role: Role::Admin, without: Vec::new(), queues: QueuePatterns::all() }
    }

    /// Whether it has the right at all.
    pub fn has(&self, right: Right) -> bool {
        self.role.rights().contains(&right) && !self.without.contains(&right)
    }

    /// Refuses what it may not do, with what is missing.
    pub fn check(&self, right: Right) -> Result<(), String> {
        if self.has(right) {
            return Ok(());
        }
        let of_role = match self.without.contains(&right) {
            true => "is excepted from it",
            false => "is not in its role",
        };
        let role = self.role;
        Err(format!("the right `{right}` is needed, which {of_role} ({role})"))
    }

    /// The same, on one queue.
    pub fn check_queue(&self, right: Right, queue: &QueueName) -> Result<(), String> {
        self.check(right)?;
        if self.queues.have(queue) {
            return Ok(());
        }
        Err(format!("the queue {queue} is not among its queues ({})", self.queues))
    }

    /// The same, on what is not of one queue.
    pub fn check_all(&self, right: Right) -> Result<(), String> {
        self.check(right)?;
        if self.queues.are_all() {
            return Ok(());
        }
        let queues = &self.queues;
        Err(format!("this concerns all queues, and the token is for some only ({queues})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_edit_and_cancel_are_rights_of_their_own() {
        let operator = Grants { role: Role::Operator, ..Grants::all() };
        assert!(operator.check(Right::Retry).is_ok());
        let refused = operator.check(Right::Edit).expect_err("not an editor");
        assert_eq!(refused, "the right `edit` is needed, which is not in its role (operator)");
        let editor = Grants { role: Role::Editor, without: vec![Right::Cancel], ..Grants::all() };
        assert!(editor.has(Right::Edit) && editor.has(Right::Retry));
        let refused = editor.check(Right::Cancel).expect_err("excepted");
        assert_eq!(refused, "the right `cancel` is needed, which is excepted from it (editor)");
    }

    #[test]
    fn a_token_for_some_queues_is_for_no_others_and_not_for_all() {
        let queues = QueuePatterns::parse(["eu.*", "orders"]).expect("patterns");
        let grants = Grants { queues, ..Grants::all() };
        for (name, has) in
            [("eu.a", true), ("orders", true), ("orders.dead", false), ("us", false), ("eu", false)]
        {
            let queue = QueueName::new(name).expect("a name");
            assert_eq!(grants.check_queue(Right::Edit, &queue).is_ok(), has, "{name}");
        }
        let refused = grants.check_all(Right::Store).expect_err("some queues only");
        assert!(refused.contains("(eu.*, orders)"), "{refused}");
    }

    #[test]
    fn names_are_read_back_and_others_say_which_there_are() {
        for right in Right::ALL {
            assert_eq!(right.name().parse(), Ok(right));
        }
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        let error = "root".parse::<Role>().expect_err("no role");
        assert!(error.contains("viewer, operator, editor, admin"), "{error}");
    }
}
