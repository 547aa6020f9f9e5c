//! Messages held against the schemas of their queues, before the loop hears of them.

use super::{Inbound, Pushed};
use crate::model::Rejection;
use crate::schema::Checks;
use crate::wire::{ClientRequest, SendRequest};

/// What the loop hears of: a message that doesn't fit is marked as such, since only the loop knows whether it was accepted
/// before and is repeated. What goes to a topic isn't looked at: who publishes there doesn't know the
/// queues, and one that is particular must not take the event from the others; a subscription's filter says what it takes.
pub(super) async fn fitting(checks: Option<&Checks>, inbound: Inbound) -> Inbound {
    let Some(checks) = checks else { return inbound };
    match inbound {
        Inbound::Client { peer, reply_form, request } => match fits(checks, &request).await {
            Ok(()) => Inbound::Client { peer, reply_form, request },
            Err(rejection) => Inbound::Unfit { peer, reply_form, request, rejection },
        },
        other => other,
    }
}

async fn fits(checks: &Checks, request: &ClientRequest) -> Result<(), Rejection> {
    match request {
        ClientRequest::Send(send) | ClientRequest::Call { send, .. } => {
            checks.admit(&send.queue, &send.content).await
        }
        ClientRequest::SendMany(sends) => all(checks, sends).await,
        ClientRequest::Gather(request) => {
            let mut checked = Ok(());
            for queue in request.recipients.iter().flatten() {
                checked = checks.admit(queue, &request.content).await;
                if checked.is_err() {
                    break;
                }
            }
            checked
        }
        ClientRequest::Hello { .. }
        | ClientRequest::Ping
        | ClientRequest::Publish { .. }
        | ClientRequest::Start { .. }
        | ClientRequest::Subscribe { .. }
        | ClientRequest::Unsubscribe { .. }
        | ClientRequest::Status { .. } => Ok(()),
    }
}

/// The same for what came by a door that answers nobody: it goes on as refused.
pub(super) async fn fitting_push(
    checks: Option<&Checks>,
    pushed: &Pushed,
) -> Result<(), Rejection> {
    match (checks, pushed) {
        (Some(checks), Pushed::Send(sends)) => all(checks, sends).await,
        (None, _) | (Some(_), Pushed::Publish { .. } | Pushed::Refused { .. }) => Ok(()),
    }
}

/// All or none.
async fn all(checks: &Checks, sends: &[SendRequest]) -> Result<(), Rejection> {
    for send in sends {
        checks.admit(&send.queue, &send.content).await?;
    }
    Ok(())
}
