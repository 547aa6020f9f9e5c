//! Tokens.

use bytes::Bytes;
use hyper::Method;

use super::{AdminClient, AdminError, decode, percent_encode};
use crate::admin::dto::{Revoked, TokenView};

impl AdminClient {
    /// `GET /v1/tokens`: those that are configured, revoked ones too.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, AdminError> {
        self.get("/v1/tokens".to_owned()).await
    }

    /// `POST /v1/tokens/{name}/revoke`: it counts no more, at once and after a restart.
    pub async fn revoke_token(&self, name: &str) -> Result<Revoked, AdminError> {
        let path = format!("/v1/tokens/{}/revoke", percent_encode(name));
        decode(&self.answer(Method::POST, path, Bytes::new()).await?)
    }
}
