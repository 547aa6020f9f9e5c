//! Errors as problem details (RFC 9457).

use axum::Extension;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::dto::Problem;
use super::problems::{self, PROBLEMS_PATH};
use crate::broker::OperatorError;
use crate::model::{PoolError, RejectCode, Rejection, RepairRefusal, with_causes};

/// A request's end that is not what was asked for.
#[derive(Debug)]
pub(super) struct Failure(Box<Problem>);

impl Failure {
    /// `code` is one of [`problems::KINDS`].
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let title = problems::title(code);
        debug_assert!(title.is_some(), "{code} is no kind of problem");
        Self::of(Problem {
            kind: format!("{PROBLEMS_PATH}{code}"),
            code: code.to_owned(),
            status: status.as_u16(),
            title: title.unwrap_or_default().to_owned(),
            detail: detail.into(),
            instance: String::new(),
            refusal: None,
            retry_after_ms: None,
        })
    }

    pub(super) fn of(problem: Problem) -> Self {
        Self(Box::new(problem))
    }

    /// The request itself is wrong.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let detail = with_causes(&error);
        match error {
            OperatorError::Refused(refusal) => Self::from(refusal),
            OperatorError::Rejected(rejection) => Self::from(rejection),
            OperatorError::NotFound { .. }
            | OperatorError::NoSuchSaga { .. }
            | OperatorError::NoSuchGather { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not_found", detail)
            }
            OperatorError::NoSuchWorker { .. }
            | OperatorError::Pool(PoolError::NoSuchPool { .. }) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", detail)
            }
            OperatorError::Pool(PoolError::TooMany { .. } | PoolError::NoPool { .. }) => {
                Self::invalid(detail)
            }
            OperatorError::NoSuchTopic { .. } => {
                Self::new(StatusCode::NOT_FOUND, "no_such_topic", detail)
            }
            OperatorError::Store(_) => Self::new(unavailable, "store_unavailable", detail),
            // What was under way may have become durable: `internal` says that nobody knows.
            OperatorError::StoreBroke => Self::new(unavailable, "internal", detail),
            OperatorError::Busy => Self::new(unavailable, "busy", detail),
            OperatorError::Stopped => Self::new(unavailable, "stopping", detail),
        }
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let Rejection { code, reason, retry_after_ms, .. } = rejection;
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, kind) = match code {
            RejectCode::Malformed | RejectCode::Unsupported | RejectCode::Expired => {
                (StatusCode::BAD_REQUEST, "invalid")
            }
            RejectCode::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            RejectCode::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            RejectCode::NoSuchQueue => (StatusCode::NOT_FOUND, "no_such_queue"),
            RejectCode::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            RejectCode::Schema => (StatusCode::UNPROCESSABLE_ENTITY, "schema"),
            RejectCode::Full => (StatusCode::CONFLICT, "full"),
            RejectCode::Draining => (StatusCode::CONFLICT, "draining"),
            RejectCode::Unroutable => (StatusCode::CONFLICT, "unroutable"),
            RejectCode::Busy => (unavailable, "busy"),
            RejectCode::StoreUnavailable => (unavailable, "store_unavailable"),
            RejectCode::Internal => (unavailable, "internal"),
        };
        let mut failure = Self::new(status, kind, reason);
        failure.0.retry_after_ms = retry_after_ms;
        failure
    }
}

impl From<RepairRefusal> for Failure {
    fn from(refusal: RepairRefusal) -> Self {
        let (status, code) = match &refusal {
            RepairRefusal::NoSuchQueue { .. } => (StatusCode::NOT_FOUND, "no_such_queue"),
            RepairRefusal::NoSuchMessage { .. } => (StatusCode::NOT_FOUND, "not_found"),
            RepairRefusal::Changed { .. } => (StatusCode::CONFLICT, "changed"),
            RepairRefusal::State { .. } => (StatusCode::CONFLICT, "state"),
            RepairRefusal::Held { .. } => (StatusCode::CONFLICT, "held"),
            RepairRefusal::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid"),
            RepairRefusal::Schema { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "schema"),
            RepairRefusal::KeyReused => (StatusCode::CONFLICT, "key_reused"),
            RepairRefusal::StoreUnavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
            }
        };
        let mut failure = Self::new(status, code, refusal.to_string());
        failure.0.refusal = Some(refusal);
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A problem is plain text and numbers; should it not be writable, its status still tells.
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let kept = Extension(*self.0);
        (status, kept, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
