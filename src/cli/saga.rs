//! `mubroker saga`

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;
use super::listing::{all, one_of};
use super::output::{Column, age, json, print, table};
use super::target::Target;
use crate::admin::client::AdminClient;
use crate::admin::dto::{
    MessageId, Payload, SagaAct, SagaActRequest, SagaDetail, SagaState, SagaView, StepState,
    StepView, Timestamp,
};
use crate::console::text::clean::clean;

/// See sagas, and put those right that are parked
#[derive(Debug, Args)]
pub struct SagaArgs {
    #[command(subcommand)]
    command: SagaCommand,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum SagaCommand {
    /// List sagas, the oldest first; those that ended stay for a while
    Ls {
        /// In this state only: running, compensating, parked, completed, compensated, aborted
        #[arg(long, value_parser = state)]
        state: Option<SagaState>,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one saga: its steps, its input and their results
    Show {
        /// Its id
        id: MessageId,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let a parked saga try the compensation again that failed
    Retry(ActArgs),
    /// Let a parked saga go on as if the compensation that failed had been done
    Skip(ActArgs),
    /// Take back what a running saga has done; give one up that compensates or is parked
    Abort(ActArgs),
}

#[derive(Debug, Args)]
struct ActArgs {
    /// Its id
    id: MessageId,
    /// Why; the journal keeps it
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Print the saga as it is then, as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: SagaArgs) -> Result<Exit, Failure> {
    let client = args.target.admin()?;
    match args.command {
        SagaCommand::Ls { state, json: as_json } => {
            let page = async |after| {
                let page = client.sagas(after, state).await?;
                Ok((page.sagas, page.next))
            };
            let sagas = all(page).await?;
            if as_json {
                json(&sagas)?;
            } else {
                print(&list(&sagas, client.overview().await?.now))?;
            }
        }
        SagaCommand::Show { id, json: as_json } => {
            let detail = client.saga(&id).await?;
            if as_json {
                json(&detail)?;
            } else {
                print(&show(&detail, client.overview().await?.now))?;
            }
        }
        SagaCommand::Retry(act) => do_it(&client, act, SagaAct::Retry).await?,
        SagaCommand::Skip(act) => do_it(&client, act, SagaAct::Skip).await?,
        SagaCommand::Abort(act) => do_it(&client, act, SagaAct::Abort).await?,
    }
    Ok(Exit::Done)
}

async fn do_it(client: &AdminClient, args: ActArgs, act: SagaAct) -> Result<(), Failure> {
    let request = SagaActRequest { act, expect_state: None, reason: args.reason };
    let detail = client.saga_act(&args.id, &request).await?;
    if args.json {
        return json(&detail);
    }
    let SagaView { id, saga, state, .. } = &detail.saga;
    print(&clean(&format!("{saga} {id} is {}", state.as_str())))?;
    print("\n")
}

fn state(text: &str) -> Result<SagaState, String> {
    let all = [
        SagaState::Running,
        SagaState::Compensating,
        SagaState::Parked,
        SagaState::Completed,
        SagaState::Compensated,
        SagaState::Aborted,
    ];
    one_of(&all, SagaState::as_str, text)
}

fn list(sagas: &[SagaView], now: Timestamp) -> String {
    if sagas.is_empty() {
        return "no such sagas\n".to_owned();
    }
    let columns = [
        Column("SAGA", 24),
        Column("STATE", 12),
        Column("STEPS", 28),
        Column("AGE", 5),
        Column("ID", 36),
        Column("ERROR", 80),
    ];
    let rows: Vec<_> = sagas
        .iter()
        .map(|saga| {
            vec![
                saga.saga.to_string(),
                saga.state.as_str().to_owned(),
                steps(&saga.steps),
                age(now.since_ms(saga.started_at)),
                saga.id.to_string(),
                saga.error.as_ref().map_or(String::new(), |error| error.message.clone()),
            ]
        })
        .collect();
    table(&columns, &rows)
}

/// The steps' states as a line: each a sign.
fn steps(steps: &[StepView]) -> String {
    let sign = |step: &StepView| match step.state {
        StepState::Pending => '.',
        StepState::Running | StepState::Compensating => '>',
        StepState::Done => '+',
        StepState::Failed => 'x',
        StepState::Unknown => '?',
        StepState::Compensated => '-',
        StepState::Stuck => '!',
        StepState::Skipped => '/',
    };
    steps.iter().map(sign).collect()
}

fn show(detail: &SagaDetail, now: Timestamp) -> String {
    let saga = &detail.saga;
    let mut text = format!(
        "{} {} (version {}) is {}, began {} ago\n",
        saga.saga,
        clean(saga.id.as_str()),
        saga.version,
        saga.state.as_str(),
        age(now.since_ms(saga.started_at))
    );
    if let Some(error) = &saga.error {
        text.push_str(&clean(&format!("{}: {}", error.code, error.message)));
        text.push('\n');
    }
    let columns = [
        Column("STEP", 24),
        Column("STATE", 12),
        Column("TRY", 4),
        Column("MESSAGE", 36),
        Column("ERROR", 80),
    ];
    let rows: Vec<_> = saga
        .steps
        .iter()
        .map(|step| {
            vec![
                step.name.clone(),
                step.state.as_str().to_owned(),
                step.attempts.to_string(),
                step.seq.map_or(step.queue.to_string(), |seq| format!("{} {seq}", step.queue)),
                step.error.as_ref().map_or(String::new(), |error| error.message.clone()),
            ]
        })
        .collect();
    text.push_str(&table(&columns, &rows));
    match &detail.context {
        Payload::Utf8(context) => text.push_str(&clean(context)),
        Payload::Base64(context) => text.push_str(context),
    }
    text.push('\n');
    text
}
