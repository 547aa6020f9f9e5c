//! The configuration that the broker runs with.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use super::dto::ConfigView;

/// What is shown of it, without secrets; another one after a reload. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct ShownConfig(Arc<Mutex<Arc<ConfigView>>>);

impl ShownConfig {
    /// From now on.
    pub fn show(&self, view: ConfigView) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    fn now(&self) -> Arc<ConfigView> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) fn routes() -> Router<ShownConfig> {
    Router::new().route("/v1/config", get(config))
}

async fn config(State(shown): State<ShownConfig>) -> Json<Arc<ConfigView>> {
    Json(shown.now())
}
