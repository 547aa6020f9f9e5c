//! What is asked for before a saga is skipped or given up, or a subscription is made or taken back.

use crate::admin::dto::{
    MessageId, OnError, QueueName, SagaAct, SagaActRequest, SagaState, SagaView,
    SubscriptionRequest, SubscriptionView, TopicName,
};

/// How many characters of a saga's id are typed.
const SHORT_ID_CHARS: usize = 6;

/// What is done on screen 7.
#[derive(Debug, Clone, PartialEq)]
pub enum PatternAct {
    /// Something to a saga.
    Saga {
        /// Which.
        id: MessageId,
        /// What, and why.
        request: SagaActRequest,
    },
    /// A queue gets a topic's events from now on, or by another filter.
    Subscribe {
        /// The topic.
        topic: TopicName,
        /// The queue.
        queue: QueueName,
        /// Which of them, and what if the filter fails.
        request: SubscriptionRequest,
    },
    /// A queue gets them no more.
    Unsubscribe {
        /// The topic.
        topic: TopicName,
        /// The queue.
        queue: QueueName,
    },
}

impl PatternAct {
    /// What, on what.
    pub fn text(&self) -> String {
        match self {
            Self::Saga { id, request } => Self::saga_text(request.act, id),
            Self::Subscribe { topic, queue, .. } => format!("subscribe {queue} to {topic}"),
            Self::Unsubscribe { topic, queue } => format!("unsubscribe {queue} from {topic}"),
        }
    }

    /// An act on a saga, which is named as its list does: by the end of its id.
    pub fn saga_text(act: SagaAct, id: &MessageId) -> String {
        let id = id.as_str();
        let tail = id.char_indices().rev().nth(7).map_or(id, |(at, _)| &id[at..]);
        format!("{} saga {tail}", act.as_str())
    }

    /// The same thing would be changed by both: the answer of one is waited for before the other is sent.
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Saga { id, .. }, Self::Saga { id: other, .. }) => id == other,
            (
                Self::Subscribe { topic, queue, .. } | Self::Unsubscribe { topic, queue },
                Self::Subscribe { topic: other_topic, queue: other, .. }
                | Self::Unsubscribe { topic: other_topic, queue: other },
            ) => topic == other_topic && queue == other,
            (Self::Saga { .. }, _) | (_, Self::Saga { .. }) => false,
        }
    }
}

/// What a form is for.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Saga { id: MessageId, act: SagaAct, short_id: String, state: SagaState },
    Subscribe,
    Unsubscribe { topic: TopicName, queue: QueueName },
}

/// A line that is typed.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternField {
    /// What it is.
    pub label: &'static str,
    /// So far.
    pub typed: String,
    /// What stands there while it is empty.
    pub hint: &'static str,
}

/// What is asked for, and what is typed of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternForm {
    wanted: Wanted,
    /// What it is about; not cleaned.
    pub title: String,
    /// What will be done, and what is to be typed; not cleaned.
    pub says: [String; 2],
    /// The lines that are typed.
    pub fields: Vec<PatternField>,
    /// Which of them is typed.
    pub at: usize,
    /// What is missing.
    pub complaint: Option<String>,
}

const fn field(label: &'static str, hint: &'static str) -> PatternField {
    PatternField { label, typed: String::new(), hint }
}

/// What an operator types to name a saga: the end of its id, or its name where that can't be typed.
fn short_id(saga: &SagaView) -> String {
    let text = saga.id.as_str();
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return saga.saga.to_string();
    }
    let end = &text[text.len().saturating_sub(SHORT_ID_CHARS)..];
    match end.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()) {
        "" => saga.saga.to_string(),
        end => end.to_owned(),
    }
}

impl PatternForm {
    fn new(wanted: Wanted, title: String, says: [String; 2], fields: Vec<PatternField>) -> Self {
        Self { wanted, title, says, fields, at: 0, complaint: None }
    }

    /// Before something that can't be taken back is done to a saga.
    pub fn saga(saga: &SagaView, act: SagaAct) -> Self {
        let short_id = short_id(saga);
        let what = match (act, saga.state) {
            (SagaAct::Retry, _) => "The compensation that failed is tried again.",
            (SagaAct::Skip, _) => "It goes on as if what failed had been done.",
            (SagaAct::Abort, SagaState::Running) => "What it has done is taken back.",
            (SagaAct::Abort, _) => "It is given up: what isn't taken back yet stays.",
        };
        let says = [what.to_owned(), format!("Type its short id {short_id} and a reason.")];
        let title = format!("{} {} {}", act.as_str(), saga.saga, saga.id);
        let fields = vec![field("short id  ", ""), field("reason    ", "needed; for the journal")];
        let (id, state) = (saga.id.clone(), saga.state);
        Self::new(Wanted::Saga { id, act, short_id, state }, title, says, fields)
    }

    /// A new subscription, or another filter for one.
    pub fn subscribe(topic: Option<&TopicName>, of: Option<&SubscriptionView>) -> Self {
        let mut fields = vec![
            field("topic     ", "order.created"),
            field("queue     ", "billing"),
            field("filter    ", "all of them; or CEL: body.total > 100"),
            field("if it fails ", "dead-letter; or deliver, skip, reject"),
        ];
        if let Some(topic) = topic {
            fields[0].typed = topic.to_string();
        }
        if let Some(of) = of {
            fields[1].typed = of.queue.to_string();
            fields[2].typed = of.filter.clone().unwrap_or_default();
            fields[3].typed = of.on_error.as_str().to_owned();
        }
        let says = [
            "From now on the queue gets the topic's events;".to_owned(),
            "if it is subscribed already, by this filter.".to_owned(),
        ];
        let at = fields.iter().position(|field| field.typed.is_empty()).unwrap_or(2);
        let form = Self::new(Wanted::Subscribe, "subscribe".to_owned(), says, fields);
        Self { at, ..form }
    }

    /// Before a subscription is taken back.
    pub fn unsubscribe(topic: &TopicName, queue: &QueueName) -> Self {
        let says = [
            format!("Type the queue's name {queue}"),
            "It gets no more of these events; what waits in it stays.".to_owned(),
        ];
        let wanted = Wanted::Unsubscribe { topic: topic.clone(), queue: queue.clone() };
        let title = format!("unsubscribe {queue} from {topic}");
        Self::new(wanted, title, says, vec![field("queue     ", "")])
    }

    /// The line that is typed.
    pub fn typed(&mut self) -> Option<&mut String> {
        self.complaint = None;
        Some(&mut self.fields.get_mut(self.at)?.typed)
    }

    /// To the next line.
    pub fn next_field(&mut self) {
        self.at = (self.at + 1).checked_rem(self.fields.len()).unwrap_or(0);
    }

    /// Something was typed: from an id that is right it goes on with the next line.
    pub fn was_typed(&mut self) {
        if let Wanted::Saga { short_id, .. } = &self.wanted
            && self.at == 0
            && self.fields[0].typed == *short_id
        {
            self.at = 1;
        }
    }

    /// The saga that it is about, what is to be done, and in which state that was asked.
    pub const fn saga_as_seen(&self) -> Option<(&MessageId, SagaAct, SagaState)> {
        match &self.wanted {
            Wanted::Saga { id, act, state, .. } => Some((id, *act, *state)),
            Wanted::Subscribe | Wanted::Unsubscribe { .. } => None,
        }
    }

    fn text(&self, n: usize) -> &str {
        self.fields.get(n).map_or("", |field| field.typed.trim())
    }

    /// What is to be done; or what is missing, and in which line.
    pub fn check(&self) -> Result<PatternAct, (usize, String)> {
        match &self.wanted {
            Wanted::Saga { id, act, short_id, state } => {
                if self.text(0) != short_id {
                    return Err((0, "the id is not the one that is asked for".to_owned()));
                }
                let reason = self.text(1);
                if reason.is_empty() {
                    return Err((1, "a reason is needed".to_owned()));
                }
                let expect_state = Some(*state);
                let reason = reason.to_owned();
                let request = SagaActRequest { act: *act, expect_state, reason };
                Ok(PatternAct::Saga { id: id.clone(), request })
            }
            Wanted::Unsubscribe { topic, queue } => {
                if self.text(0) != queue.as_str() {
                    return Err((0, "the name is not the one that is asked for".to_owned()));
                }
                Ok(PatternAct::Unsubscribe { topic: topic.clone(), queue: queue.clone() })
            }
            Wanted::Subscribe => {
                let topic = TopicName::new(self.text(0)).map_err(|e| (0, e.to_string()))?;
                let queue = QueueName::new(self.text(1)).map_err(|e| (1, e.to_string()))?;
                let filter = Some(self.text(2)).filter(|text| !text.is_empty()).map(str::to_owned);
                let on_error = match self.text(3) {
                    "" => OnError::default(),
                    typed => {
                        let all =
                            [OnError::DeadLetter, OnError::Deliver, OnError::Skip, OnError::Reject];
                        let known = all.into_iter().find(|word| word.as_str() == typed);
                        let words = "type dead-letter, deliver, skip or reject";
                        known.ok_or_else(|| (3, words.to_owned()))?
                    }
                };
                let request = SubscriptionRequest { filter, on_error };
                Ok(PatternAct::Subscribe { topic, queue, request })
            }
        }
    }
}
