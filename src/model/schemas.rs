//! What the API's specification says of values whose JSON form isn't their Rust form.

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{OneOfBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::limits::{MAX_MESSAGE_ID_BYTES, MAX_QUEUE_NAME_BYTES, MAX_TOPIC_NAME_BYTES};
use super::{
    Dedup, DeliveryId, ErrorGroupId, GatherName, Generation, HeaderTest, IdempotencyKey, MessageId,
    PathTest, QueueName, Revision, SagaName, Seq, Timestamp, TopicName,
};

/// Letters, digits and `. _ - :`.
const NAME: &str = "^[A-Za-z0-9._:-]+$";
/// Anything but control characters.
const ID: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";
/// Printable ASCII without spaces.
const KEY: &str = "^[!-~]+$";

fn text(pattern: &str, description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
}

/// Lengths are in bytes, as are these characters; of an id they are the most that there can be.
fn bounded(pattern: &str, max: usize, description: &str) -> RefOr<Schema> {
    text(pattern, description).min_length(Some(1)).max_length(Some(max)).into()
}

fn number(most: u64, description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0_u64))
        .maximum(Some(most))
        .description(Some(description))
        .into()
}

macro_rules! schemas {
    ($($type:ty = $schema:expr;)+) => {
        $(
            impl PartialSchema for $type {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }
            impl ToSchema for $type {}
        )+
    };
}

schemas! {
    QueueName = bounded(NAME, MAX_QUEUE_NAME_BYTES, "A queue's name.");
    TopicName = bounded(NAME, MAX_TOPIC_NAME_BYTES, "A topic's name.");
    SagaName = bounded(NAME, MAX_TOPIC_NAME_BYTES, "A saga's name.");
    GatherName = bounded(NAME, MAX_TOPIC_NAME_BYTES, "A gather's name.");
    MessageId = bounded(ID, MAX_MESSAGE_ID_BYTES, "A message's id, at most 256 bytes of UTF-8.");
    IdempotencyKey = bounded(KEY, 128, "Names one repair; sent twice, it acts once.");
    DeliveryId = text("^[0-9a-f]+\\.[0-9a-f]+$", "One lease of one message to one worker.").into();
    Timestamp = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("RFC 3339, UTC, with milliseconds."))
        .into();
    ErrorGroupId = text("^[0-9a-f]{12}$", "Names a group of errors.").into();
    HeaderTest = text("^[^=]+=", "A header field and its value, FIELD=VALUE.").into();
    PathTest = text("^[$.\\[A-Za-z_]", "A place in a JSON body, and =VALUE.").into();
    Seq = number(u64::MAX, "A message's place in its queue, from 1.");
    Generation = number(u64::MAX, "One run of the engine over a store.");
    Revision = number(u64::from(u32::MAX), "A message's content as of one edit; 0 is what was sent.");
    Dedup = OneOfBuilder::new()
        .item(text("^off$", "Every message is new."))
        .item(
            ObjectBuilder::new()
                .property("by", text("^count$", "The last so many messages."))
                .property("last", number(u64::from(u32::MAX), "How many ids are remembered."))
                .required("by")
                .required("last"),
        )
        .item(
            ObjectBuilder::new()
                .property("by", text("^time$", "What was accepted in the last so many milliseconds."))
                .property("window_ms", number(u64::MAX, "How long an id is remembered."))
                .property("last", number(u64::from(u32::MAX), "How many ids at most."))
                .required("by")
                .required("window_ms"),
        )
        .description(Some("Which ids are remembered for de-duplication."))
        .into();
}
