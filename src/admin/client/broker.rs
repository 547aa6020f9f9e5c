//! The broker itself.

use super::{AdminClient, AdminError};
use crate::admin::dto::{ConfigView, StoreView};

impl AdminClient {
    /// `GET /v1/config`
    pub async fn config(&self) -> Result<ConfigView, AdminError> {
        self.get("/v1/config".to_owned()).await
    }

    /// `GET /v1/store`
    pub async fn store(&self) -> Result<StoreView, AdminError> {
        self.get("/v1/store".to_owned()).await
    }
}
