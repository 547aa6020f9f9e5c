//! The API's specification: `GET /v1/openapi.json`.
//!
//! It is made from the code by a test, and checked in; so the program carries a text, and nothing that writes it. The
//! shapes are those of the types that are sent (`utoipa::ToSchema`); `operations` says which route takes and answers what,
//! and a test that each route of the sources is there.

#[cfg(test)]
mod builder;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::broker::BrokerHandle;

/// The specification, as it is checked in.
const DOCUMENT: &str = include_str!("../../../assets/openapi.json");

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new().route("/v1/openapi.json", get(document))
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
