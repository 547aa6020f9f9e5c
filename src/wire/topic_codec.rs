//! The verbs of topics: frames to commands and back.

use bytes::Bytes;
use serde_json::Value;

use super::client::ClientRequest;
use super::client_codec::content_of;
use super::frames::{Fields, bad_field, envelope, envelope_with, flag, json};
use crate::model::{Content, Filter, MessageId, Rejection, Subscription, TopicName};

/// PUBLISH's frames. The topic stays in the message's header, so that a worker knows which one it was.
pub(super) fn publish(topic: &TopicName, content: &Content, mandatory: bool) -> Vec<Bytes> {
    let mut header = content.header.to_map();
    header.insert("topic".to_owned(), topic.as_str().into());
    if mandatory {
        header.insert("mandatory".to_owned(), true.into());
    }
    envelope_with("PUBLISH", json(&header), content.payload.clone())
}

/// SUBSCRIBE's frames.
pub(super) fn subscribe(topic: &TopicName, subscription: &Subscription) -> Vec<Bytes> {
    let Subscription { queue, filter, on_error } = subscription;
    let mut header = serde_json::json!({ "topic": topic, "queue": queue, "on_error": on_error });
    if let (Some(filter), Some(fields)) = (filter, header.as_object_mut()) {
        fields.insert("filter".to_owned(), filter.text().into());
    }
    envelope("SUBSCRIBE", json(&header))
}

pub(super) fn publish_of(
    header: &Bytes,
    payload: Bytes,
    new_id: &mut impl FnMut() -> MessageId,
) -> Result<ClientRequest, Rejection> {
    let (content, [mandatory]) = content_of(header, payload, ["mandatory"], new_id)?;
    let of = |rejection: Rejection| rejection.of(content.id().clone());
    let mandatory = flag("mandatory", mandatory).map_err(of)?;
    let topic = match content.header.to_map().get("topic") {
        Some(Value::String(name)) => {
            TopicName::new(name).map_err(|error| of(bad_field("topic", error)))?
        }
        Some(_) => return Err(of(bad_field("topic", "a string is needed"))),
        None => return Err(of(bad_field("topic", "is missing"))),
    };
    Ok(ClientRequest::Publish { topic, content, mandatory })
}

pub(super) fn subscribe_of(header: &[u8]) -> Result<ClientRequest, Rejection> {
    let mut fields = Fields::parse(header)?;
    let filter = fields.text("filter")?.map(Filter::new).transpose();
    let subscription = Subscription {
        queue: fields.id("queue")?,
        filter: filter.map_err(|error| bad_field("filter", error))?,
        on_error: fields.of("on_error")?,
    };
    Ok(ClientRequest::Subscribe { topic: fields.id("topic")?, subscription })
}

pub(super) fn unsubscribe_of(header: &[u8]) -> Result<ClientRequest, Rejection> {
    let fields = Fields::parse(header)?;
    Ok(ClientRequest::Unsubscribe { topic: fields.id("topic")?, queue: fields.id("queue")? })
}
