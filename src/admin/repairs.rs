//! Repairs of single messages, and what each needs of its caller.

use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::routing::post;
use axum::{Json, Router};

use super::dto::{RepairOutcome, RepairRequest, RepairVerb};
use super::failure::Failure;
use super::peer::{Acting, Caller};
use super::request::{Body, MAX_BODY_BYTES, MAX_SMALL_BODY_BYTES, Path};
use crate::auth::Right;
use crate::broker::{Act, BrokerHandle, RepairOrder};
use crate::model::{Edit, QueueName, Seq};

type Answer<T> = Result<T, Failure>;

/// Each action's own; who has none of them is refused before the body is read.
pub(super) const RIGHTS: &[Right] =
    &[Right::Retry, Right::Edit, Right::Cancel, Right::DeadLetter, Right::Move];

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new().route("/v1/queues/{queue}/messages/{seq}/repair", post(repair))
}

/// The body: a payload is in it only if the caller may edit, so it is short of all others.
struct Asked(RepairRequest);

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Failure;

    async fn from_request(mut request: Request, state: &S) -> Answer<Self> {
        let caller = request.extensions().get::<Caller>();
        let caller = caller.expect("the gate names the caller of each request").clone();
        let may_edit = caller.may(Right::Edit);
        let most = if may_edit.is_ok() { MAX_BODY_BYTES } else { MAX_SMALL_BODY_BYTES };
        let declared = request.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
        if declared.and_then(|it| it.parse::<usize>().ok()).is_some_and(|bytes| bytes > most) {
            may_edit?;
            let detail = format!("the body has more than {most} bytes");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
        }
        DefaultBodyLimit::max(most).apply(&mut request);
        let Body(asked) = Body::from_request(request, state).await?;
        Ok(Self(asked))
    }
}

async fn repair(
    State(broker): State<BrokerHandle>,
    path: Path,
    caller: Caller,
    Acting(actor): Acting,
    Asked(request): Asked,
) -> Answer<Json<RepairOutcome>> {
    let (queue, seq) = (path.queue()?, path.seq()?);
    may_repair(&broker, &caller, (&queue, seq), &request).await?;
    let RepairRequest { key, expect_revision, action, payload, header, to, reason } = request;
    let edit = match payload {
        Some(payload) => {
            Some(Edit { payload: payload.into_bytes().map_err(Failure::invalid)?, header })
        }
        None if header.is_some() => {
            let detail = "`header` comes with `payload` only; send the payload along, unchanged";
            return Err(Failure::invalid(detail));
        }
        None => None,
    };
    if to.is_some() && action != RepairVerb::Move {
        return Err(Failure::invalid("`to` is for `move` only"));
    }
    let act = act(action, edit, to)?;
    let order = RepairOrder { key, actor, queue, seq, expect_revision, act, reason };
    Ok(Json(broker.repair(order).await?))
}

/// Each action has its right, and a message goes to the caller's queues only.
async fn may_repair(
    broker: &BrokerHandle,
    caller: &Caller,
    (queue, seq): (&QueueName, Seq),
    request: &RepairRequest,
) -> Answer<()> {
    let rights: &[Right] = match request.action {
        RepairVerb::Retry => &[Right::Retry],
        RepairVerb::Save | RepairVerb::UndoSave => &[Right::Edit],
        RepairVerb::SaveAndRetry => &[Right::Edit, Right::Retry],
        RepairVerb::Cancel | RepairVerb::Restore => &[Right::Cancel],
        RepairVerb::DeadLetter => &[Right::DeadLetter],
        RepairVerb::Move => &[Right::Move],
    };
    rights.iter().try_for_each(|&right| caller.may(right))?;
    if let Some(header) = request.header.as_ref().filter(|it| caller.may_say(it, None).is_err()) {
        // What was there before stays whoever saves it.
        let before = broker.content(queue, seq, Some(request.expect_revision)).await?;
        caller.may_say(header, Some(&before.header.to_map()))?;
    }
    if request.action != RepairVerb::Move || caller.sees_all() {
        return Ok(());
    }
    let to = match &request.to {
        Some(to) => Some(to.clone()),
        // As of the revision that the repair is refused without.
        None => {
            let content = broker.content(queue, seq, Some(request.expect_revision)).await?;
            content.header.dead_letter_queue()
        }
    };
    to.map_or(Ok(()), |to| caller.may_in(Right::Move, &to))
}

fn act(verb: RepairVerb, edit: Option<Edit>, to: Option<QueueName>) -> Answer<Act> {
    match (verb, edit) {
        (RepairVerb::Save, Some(edit)) => Ok(Act::Save(edit)),
        (RepairVerb::SaveAndRetry, Some(edit)) => Ok(Act::SaveAndRetry(edit)),
        (RepairVerb::Save | RepairVerb::SaveAndRetry, None) => {
            Err(Failure::invalid("`payload` is missing; to save, the new payload is needed"))
        }
        (RepairVerb::Retry, None) => Ok(Act::Retry),
        (RepairVerb::Cancel, None) => Ok(Act::Cancel),
        (RepairVerb::Restore, None) => Ok(Act::Restore),
        (RepairVerb::UndoSave, None) => Ok(Act::UndoSave),
        (RepairVerb::DeadLetter, None) => Ok(Act::DeadLetter),
        (RepairVerb::Move, None) => Ok(Act::Move(to)),
        (
            RepairVerb::Retry
            | RepairVerb::Cancel
            | RepairVerb::Restore
            | RepairVerb::UndoSave
            | RepairVerb::DeadLetter
            | RepairVerb::Move,
            Some(_),
        ) => Err(Failure::invalid("`payload` is for `save` and `save-and-retry` only")),
    }
}
