//! `mubroker worker restart|drain|scale`, and the pools of `worker ls`.

use clap::Args;

use crate::admin::dto::{Drained, PoolAct, PoolView};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{Column, age, json, print, table};
use crate::cli::target::Target;
use crate::console::text::clean::clean;

/// Which pool.
#[derive(Debug, Args)]
pub(super) struct PoolArgs {
    /// Its name in the configuration ([workers."NAME"]), that of one of its processes (NAME-0), or of connected workers
    name: String,
    /// Why; connected workers are told
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

impl PoolArgs {
    /// Does it, and shows what there is then.
    pub(super) async fn act(&self, act: PoolAct, target: &Target) -> Result<Exit, Failure> {
        let client = target.admin()?;
        let is_pool = client.pools().await?.iter().any(|pool| {
            pool.name == self.name || pool.processes.iter().any(|it| it.worker == self.name)
        });
        let anew = match act {
            PoolAct::Restart => Some(true),
            PoolAct::Drain => Some(false),
            PoolAct::Scale(_) => None,
        };
        if let Some(anew) = anew.filter(|_| !is_pool) {
            let told = client.drain_workers(&self.name, anew, &self.reason).await?;
            match self.json {
                true => json(&Drained { told })?,
                false => print(&format!("{told} told\n"))?,
            }
            return Ok(Exit::Done);
        }
        let pool = client.pool_act(&self.name, act).await?;
        if self.json {
            json(&pool)?;
        } else {
            print(&rows(&[pool]))?;
        }
        Ok(Exit::Done)
    }
}

/// Pools and their processes.
pub(super) fn rows(pools: &[PoolView]) -> String {
    let columns = [
        Column("SUPERVISED", 24),
        Column("PID", 8),
        Column("STATE", 10),
        Column("FOR", 6),
        Column("ENDED", 6),
        Column("QUEUES", 80),
    ];
    let mut rows = Vec::new();
    for pool in pools {
        let queues: Vec<_> = pool.queues.iter().map(ToString::to_string).collect();
        rows.push(vec![
            format!("{} ×{}", pool.name, pool.count),
            String::new(),
            pool.state.to_string(),
            String::new(),
            pool.restarts.to_string(),
            queues.join(" "),
        ]);
        for process in &pool.processes {
            rows.push(vec![
                format!("  {}", process.worker),
                process.pid.map_or_else(String::new, |pid| pid.to_string()),
                process.state.to_string(),
                age(process.for_ms),
                String::new(),
                String::new(),
            ]);
        }
    }
    let mut text = table(&columns, &rows);
    for pool in pools {
        if let Some(how) = &pool.last_exit {
            text += &clean(&format!("{} ended last: {how}", pool.name));
            text.push('\n');
        }
    }
    text
}
