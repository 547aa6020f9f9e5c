//! Supervised workers.

use bytes::Bytes;
use hyper::Method;

use super::{AdminClient, AdminError, decode, percent_encode};
use crate::admin::dto::{PoolAct, PoolView, ScaleRequest};

impl AdminClient {
    /// `GET /v1/pools`: by name.
    pub async fn pools(&self) -> Result<Vec<PoolView>, AdminError> {
        self.get("/v1/pools".to_owned()).await
    }

    /// `GET /v1/pools/{name}`
    pub async fn pool(&self, name: &str) -> Result<PoolView, AdminError> {
        self.get(path(name, "")).await
    }

    /// `POST /v1/pools/{name}/restart`, `…/drain`, `…/scale`; returns when it has begun.
    pub async fn pool_act(&self, name: &str, act: PoolAct) -> Result<PoolView, AdminError> {
        let (verb, body) = match act {
            PoolAct::Restart => ("/restart", Bytes::new()),
            PoolAct::Drain => ("/drain", Bytes::new()),
            PoolAct::Scale(count) => {
                let body = serde_json::to_vec(&ScaleRequest { count });
                ("/scale", Bytes::from(body.expect("plain data becomes JSON")))
            }
        };
        decode(&self.answer(Method::POST, path(name, verb), body).await?)
    }
}

fn path(name: &str, verb: &str) -> String {
    format!("/v1/pools/{}{verb}", percent_encode(name))
}
