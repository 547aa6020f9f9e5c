//! Routes of tokens. They are made by the command line and configured; here they are seen and revoked.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::dto::{Revoked, TokenView};
use super::failure::Failure;
use super::gate::Doorkeeper;
use super::peer::Acting;
use super::request::Path;
use crate::auth::{AccessError, Listed};
use crate::model::with_causes;

type Answer<T> = Result<Json<T>, Failure>;

pub(super) fn routes() -> Router<Arc<Doorkeeper>> {
    Router::new().route("/v1/tokens", get(tokens)).route("/v1/tokens/{name}/revoke", post(revoke))
}

async fn tokens(State(doorkeeper): State<Arc<Doorkeeper>>) -> Json<Vec<TokenView>> {
    Json(doorkeeper.access.list().into_iter().map(view).collect())
}

fn view(Listed { token, is_revoked }: Listed) -> TokenView {
    let grants = &token.grants;
    TokenView {
        name: token.name.clone(),
        role: grants.role.name().to_owned(),
        without: grants.without.iter().map(|right| right.name().to_owned()).collect(),
        queues: grants.queues.texts(),
        revoked: is_revoked,
    }
}

async fn revoke(
    State(doorkeeper): State<Arc<Doorkeeper>>,
    path: Path,
    Acting(actor): Acting,
) -> Answer<Revoked> {
    let name = path.name();
    let (access, revoked) = (Arc::clone(&doorkeeper.access), name.clone());
    // It is written to the disk.
    let done = tokio::task::spawn_blocking(move || access.revoke(&revoked)).await;
    let done = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    match &done {
        Ok(_) => {
            tracing::info!(token = name, by = actor.name, via = actor.via, "a token is revoked");
        }
        Err(error @ (AccessError::File { .. } | AccessError::Line { .. })) => tracing::error!(
            token = name,
            by = actor.name,
            via = actor.via,
            error = with_causes(error),
            "a token is revoked, but counts again after a restart"
        ),
        Err(AccessError::NoSuchToken { .. } | AccessError::TooMany) => {}
    }
    let revoked = done.map_err(|error| match error {
        AccessError::NoSuchToken { .. } => {
            Failure::new(StatusCode::NOT_FOUND, "not_found", error.to_string())
        }
        AccessError::TooMany => Failure::new(StatusCode::CONFLICT, "state", error.to_string()),
        AccessError::File { .. } | AccessError::Line { .. } => Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            format!(
                "the token counts no more, but will after a restart: {}; revoke it again, or take it out of \
                 the configuration",
                with_causes(&error)
            ),
        ),
    })?;
    Ok(Json(Revoked { revoked }))
}
