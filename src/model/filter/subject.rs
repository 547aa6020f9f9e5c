//! What filters look at: parsed when the first filter asks for it, and once for all of them.

use std::cell::OnceCell;

use serde_json::Value as Json;

use crate::model::limits::MAX_FILTER_BODY_BYTES;
use crate::model::message::Content;

/// A message as filters see it.
#[derive(Debug)]
pub struct Subject<'a> {
    topic: &'a str,
    content: &'a Content,
    header: OnceCell<Json>,
    body: OnceCell<Result<Json, String>>,
    parts: Option<&'a Json>,
}

impl<'a> Subject<'a> {
    /// `content` as it was published to `topic`. Nothing is parsed yet.
    pub fn new(topic: &'a str, content: &'a Content) -> Self {
        Self { topic, content, header: OnceCell::new(), body: OnceCell::new(), parts: None }
    }

    /// What a gather's condition looks at: the request's header, and the parts so far.
    pub fn of_parts(request: &'a Content, parts: &'a Json) -> Self {
        Self { parts: Some(parts), ..Self::new("", request) }
    }

    pub(super) fn parts(&self) -> Result<&Json, String> {
        self.parts.ok_or_else(|| "there are no parts".to_owned())
    }

    pub(super) fn topic(&self) -> &str {
        self.topic
    }

    pub(super) fn header(&self) -> &Json {
        self.header.get_or_init(|| Json::Object(self.content.header.to_map()))
    }

    /// The payload as JSON, or why it can't be looked into.
    pub(super) fn body(&self) -> Result<&Json, String> {
        let body = self.body.get_or_init(|| {
            let payload = &self.content.payload;
            if payload.len() > MAX_FILTER_BODY_BYTES {
                return Err(format!(
                    "the body has {} bytes; filters look into at most {MAX_FILTER_BODY_BYTES}",
                    payload.len()
                ));
            }
            serde_json::from_slice(payload)
                .map_err(|error| format!("the body is not JSON: {error}"))
        });
        body.as_ref().map_err(Clone::clone)
    }
}
