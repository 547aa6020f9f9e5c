//! The broker itself, and messages for it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Generation, Payload, StoreHealth};

/// `GET /v1/config`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigView {
    /// What the broker runs with, defaults too, by the names of the configuration file; without secrets.
    #[cfg_attr(test, schema(value_type = Object))]
    pub settings: Map<String, Value>,
    /// Settings that were found changed by a reload and count after a restart only, by their names.
    pub waiting: Vec<String>,
}

/// `GET /v1/store`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreView {
    /// The folder that it is in.
    pub data_dir: String,
    /// How often it was opened.
    pub generation: Generation,
    /// Whether it can be written.
    pub health: StoreHealth,
    /// Its disk; absent if that doesn't answer in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskView>,
    /// Batches made durable since the broker started.
    pub commits: Timed,
    /// The part of that in which the disk was waited for (fsync).
    pub syncs: Timed,
    /// Operations in those batches: a message accepted, acknowledged or changed is one.
    pub operations: u64,
}

/// A store's disk.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskView {
    /// What the store takes of it.
    pub store_bytes: u64,
    /// Free, as an ordinary user may use it.
    pub free_bytes: u64,
    /// In all.
    pub total_bytes: u64,
}

/// How often something was done, and how long it took.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// How often.
    pub count: u64,
    /// All together, in milliseconds.
    pub sum_ms: u64,
}

/// `POST /v1/queues/{queue}/publish`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessageRequest {
    /// As SEND's, without the queue. With an `id` it is safe to repeat; one without gets one.
    #[cfg_attr(test, schema(value_type = Object))]
    pub header: Map<String, Value>,
    /// The payload's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Or JSON of any kind, which is the payload as it is written here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<Value>))]
    pub json: Option<Box<RawValue>>,
}

/// `POST /v1/topics/{topic}/publish`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventRequest {
    /// As PUBLISH's, without the topic.
    #[cfg_attr(test, schema(value_type = Object))]
    pub header: Map<String, Value>,
    /// The payload's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Or JSON of any kind, which is the payload as it is written here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<Value>))]
    pub json: Option<Box<RawValue>>,
    /// Refuse it if no subscription takes it.
    pub mandatory: bool,
}
