//! Routes of topics and subscriptions.

use axum::extract::State;
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;

use super::dto::{SubscriptionChange, SubscriptionRequest, TopicDetail, TopicName, TopicPage};
use super::failure::Failure;
use super::peer::Acting;
use super::request::{Asked, Body, PageAsked, Path, page};
use crate::broker::BrokerHandle;
use crate::model::{Filter, Subscription};

type Answer<T> = Result<Json<T>, Failure>;

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new()
        .route("/v1/topics", get(topics))
        .route("/v1/topics/{topic}", get(topic))
        .route("/v1/topics/{topic}/subscriptions/{queue}", put(subscribe).delete(unsubscribe))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicsAsked {
    after: Option<TopicName>,
    limit: Option<usize>,
}

async fn topics(
    State(broker): State<BrokerHandle>,
    Asked(asked): Asked<TopicsAsked>,
) -> Answer<TopicPage> {
    Ok(Json(broker.topics(asked.after, page(asked.limit)?).await?))
}

async fn topic(
    State(broker): State<BrokerHandle>,
    path: Path,
    Asked(asked): Asked<PageAsked>,
) -> Answer<TopicDetail> {
    let from = asked.from.unwrap_or(0);
    Ok(Json(broker.topic(&path.topic()?, from, page(asked.limit)?).await?))
}

async fn subscribe(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<SubscriptionRequest>,
) -> Answer<SubscriptionChange> {
    let SubscriptionRequest { filter, on_error } = request;
    let filter = filter.as_deref().map(Filter::new).transpose();
    let filter = filter.map_err(|error| Failure::invalid(error.to_string()))?;
    let subscription = Subscription { queue: path.queue()?, filter, on_error };
    Ok(Json(broker.subscribe(actor, path.topic()?, subscription).await?))
}

async fn unsubscribe(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
) -> Answer<SubscriptionChange> {
    Ok(Json(broker.unsubscribe(actor, path.topic()?, path.queue()?).await?))
}
