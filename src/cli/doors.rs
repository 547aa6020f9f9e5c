//! `mubroker doors`

use clap::Args;

use super::Exit;
use super::failure::Failure;
use super::output::{Column, json, print, table};
use super::target::Target;
use crate::admin::dto::DoorView;

/// List the broker's sockets: who is connected, what came and went, what was lost
#[derive(Debug, Args)]
pub struct DoorsArgs {
    /// As a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(args: DoorsArgs) -> Result<Exit, Failure> {
    let doors = args.target.admin()?.doors().await?;
    if args.json {
        json(&doors)?
    } else {
        print(&list(&doors))?
    }
    Ok(Exit::Done)
}

fn list(doors: &[DoorView]) -> String {
    let columns = [
        Column("DOOR", 20),
        Column("TYPE", 6),
        Column("PEERS", 5),
        Column("IN", 8),
        Column("OUT", 8),
        Column("LOST", 6),
        Column("REFUSED", 7),
        Column("ADDRESS", 80),
    ];
    let row = |door: &DoorView| {
        vec![
            door.name.clone(),
            door.pattern.clone(),
            door.connections.to_string(),
            door.received.to_string(),
            door.sent.to_string(),
            door.lost.to_string(),
            door.refused.to_string(),
            door.endpoint.clone(),
        ]
    };
    table(&columns, &doors.iter().map(row).collect::<Vec<_>>())
}
