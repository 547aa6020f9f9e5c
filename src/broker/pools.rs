//! Supervised workers, as operators' interfaces ask for them. Whoever runs the broker has the supervisor.

use tokio::sync::{mpsc, oneshot};

use super::commands::Command;
use super::handle::BrokerHandle;
use super::operator_error::OperatorError;
use super::peers::DrainOrder;
use crate::model::{Notice, PoolAct, PoolError, PoolView};

/// What a supervisor is asked through the broker's handle.
#[derive(Debug)]
pub struct PoolRequest {
    /// Which pool, or the name of one of its processes' workers; all if absent.
    pub name: Option<String>,
    /// What to do to it.
    pub act: Option<PoolAct>,
    /// How it is then.
    pub answer: oneshot::Sender<Result<Vec<PoolView>, PoolError>>,
}

impl BrokerHandle {
    /// The same handle, with a supervisor behind it.
    #[must_use]
    pub fn with_pools(mut self, pools: mpsc::Sender<PoolRequest>) -> Self {
        self.pools = Some(pools);
        self
    }

    /// How pools are, by the name of one or of one of its processes' workers; after an act, if one is given.
    pub async fn pools(
        &self,
        name: Option<String>,
        act: Option<PoolAct>,
    ) -> Result<Vec<PoolView>, OperatorError> {
        let Some(pools) = &self.pools else {
            return match name {
                None => Ok(Vec::new()),
                Some(name) => Err(PoolError::NoSuchPool { name, known: Vec::new() }.into()),
            };
        };
        let (answer, told) = oneshot::channel();
        let request = PoolRequest { name, act, answer };
        pools.send(request).await.map_err(|_| OperatorError::Stopped)?;
        Ok(told.await.map_err(|_| OperatorError::Stopped)??)
    }

    /// Tells all workers of a name to end what they hold, say BYE, and end or begin anew, as far as they know these words (DRAIN,
    /// RESTART); how many were told. A supervised one is its supervisor's to end: it would start anew what ends by itself.
    pub async fn drain_workers(
        &self,
        name: &str,
        order: DrainOrder,
    ) -> Result<usize, OperatorError> {
        let act = if order.anew { PoolAct::Restart } else { PoolAct::Drain };
        match self.pools(Some(name.to_owned()), Some(act)).await {
            Ok(pools) => {
                let whole = pools.iter().find(|pool| pool.name == name);
                let running =
                    |pool: &PoolView| pool.processes.iter().filter(|it| it.pid.is_some()).count();
                return Ok(whole.map_or(1, running));
            }
            Err(OperatorError::Pool(PoolError::NoSuchPool { .. })) => {}
            Err(error) => return Err(error),
        }
        let (answer, told) = oneshot::channel();
        self.send(Command::Drain(name.to_owned(), order, answer)).await?;
        match told.await.map_err(|_| OperatorError::Stopped)? {
            0 => Err(OperatorError::NoSuchWorker { name: name.to_owned() }),
            count => Ok(count),
        }
    }

    /// Tells all who follow the events of something that happened outside the engine.
    pub async fn tell(&self, notice: Notice) -> Result<(), OperatorError> {
        self.send(Command::Tell(Box::new(notice))).await
    }
}
