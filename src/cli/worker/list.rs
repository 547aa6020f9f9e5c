//! `mubroker worker ls`

use crate::admin::dto::{Timestamp, WorkerView};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{Column, age, json, print, table};
use crate::cli::target::Target;

pub(super) async fn list(as_json: bool, target: &Target) -> Result<Exit, Failure> {
    let client = target.admin()?;
    let workers = client.workers().await?;
    if as_json {
        json(&workers)?;
        return Ok(Exit::Done);
    }
    let pools = client.pools().await?;
    if workers.is_empty() {
        print("no workers; `mubroker worker --queue NAME --exec COMMAND` runs one\n")?;
    } else {
        print(&rows(&workers, client.overview().await?.now))?;
    }
    if !pools.is_empty() {
        print(&format!("\n{}", super::pools::rows(&pools)))?;
    }
    Ok(Exit::Done)
}

/// `mubroker worker ls --supervised`
pub(super) async fn pools(as_json: bool, target: &Target) -> Result<Exit, Failure> {
    let pools = target.admin()?.pools().await?;
    match (as_json, pools.is_empty()) {
        (true, _) => json(&pools)?,
        (false, true) => print("none; a [workers.\"NAME\"] in the configuration makes one\n")?,
        (false, false) => print(&super::pools::rows(&pools))?,
    }
    Ok(Exit::Done)
}

fn rows(workers: &[WorkerView], now: Timestamp) -> String {
    let columns = [
        Column("WORKER", 20),
        Column("STATE", 8),
        Column("BUSY", 9),
        Column("ACKED", 9),
        Column("NACKED", 9),
        Column("HEARD", 6),
        Column("QUEUES", 80),
    ];
    let rows: Vec<_> = workers
        .iter()
        .map(|worker| {
            let queues = worker.queues.iter().map(|queue| match worker.standby.contains(queue) {
                true => format!("{queue} (stands by)"),
                false => queue.to_string(),
            });
            let queues: Vec<_> = queues.collect();
            vec![
                worker.name.clone(),
                worker.state.to_string(),
                format!("{}/{}", worker.in_flight.len(), worker.credit),
                worker.acked.to_string(),
                worker.nacked.to_string(),
                age(now.since_ms(worker.heard_at)),
                queues.join(" "),
            ]
        })
        .collect();
    table(&columns, &rows)
}
