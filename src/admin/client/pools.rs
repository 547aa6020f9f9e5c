//! Supervised workers.

use bytes::Bytes;
use hyper::Method;

use super::{AdminClient, AdminError, decode, percent_encode};
use crate::admin::dto::{DrainRequest, Drained, PoolAct, PoolView, ScaleRequest};

impl AdminClient {
    /// `GET /v1/pools`: by name.
    pub async fn pools(&self) -> Result<Vec<PoolView>, AdminError> {
        self.get("/v1/pools".to_owned()).await
    }

    /// `GET /v1/pools/{name}`
    pub async fn pool(&self, name: &str) -> Result<PoolView, AdminError> {
        self.get(path(name, "")).await
    }

    /// `POST /v1/workers/{name}/restart` or `…/drain`: how many were told.
    pub async fn drain_workers(
        &self,
        name: &str,
        anew: bool,
        reason: &str,
    ) -> Result<usize, AdminError> {
        let request = DrainRequest { reason: reason.to_owned() };
        let body = serde_json::to_vec(&request).expect("plain data becomes JSON");
        let verb = if anew { "restart" } else { "drain" };
        let path = format!("/v1/workers/{}/{verb}", percent_encode(name));
        let drained: Drained = decode(&self.answer(Method::POST, path, Bytes::from(body)).await?)?;
        Ok(drained.told)
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
