//! Gathers.

use super::{AdminClient, AdminError, percent_encode, with_query};
use crate::admin::dto::{GatherDetail, GatherName, GatherPage, GatherState, MessageId};

impl AdminClient {
    /// `GET /v1/gathers`: a page of them, the oldest first, in one state or all; those after `after`.
    pub async fn gathers(
        &self,
        after: Option<u64>,
        state: Option<GatherState>,
    ) -> Result<GatherPage, AdminError> {
        let after = after.map(|after| after.to_string());
        let state = state.map(|state| state.as_str().to_owned());
        self.get(with_query("/v1/gathers".to_owned(), &[("after", after), ("state", state)])).await
    }

    /// `GET /v1/gathers/{id}`: of several with the same id the newest, or that of this name.
    pub async fn gather(
        &self,
        id: &MessageId,
        name: Option<&GatherName>,
    ) -> Result<GatherDetail, AdminError> {
        let path = format!("/v1/gathers/{}", percent_encode(id.as_str()));
        self.get(with_query(path, &[("gather", name.map(GatherName::to_string))])).await
    }
}
