//! Requests about accepted events.

use bytes::Bytes;
use http::Method;

use super::query::Path;
use super::{Client, ClientError, Outgoing, Scope};
use crate::{CancelledEvent, EventLife, EventTotals, Events, Repeated};

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsFilter {
    /// Of this function only.
    pub function: Option<String>,
    /// Older than this one only.
    pub before: Option<String>,
    /// At most so many; `None`: 50; at most 1000.
    pub limit: Option<usize>,
}

/// # Errors
/// As every other request.
#[expect(
    clippy::missing_errors_doc,
    reason = "documented once, on the block: they all fail alike"
)]
impl Client {
    async fn event_list(&self, path: &str, scope: &Scope, filter: &EventsFilter) -> Result<Events, ClientError> {
        let limit = filter.limit.map(|limit| limit.to_string());
        let path = Path::new(path)
            .scope(scope)
            .query("function", filter.function.as_deref())
            .query("before", filter.before.as_deref())
            .query("limit", limit.as_deref())
            .finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// Events, newest first.
    pub async fn events(&self, scope: &Scope, filter: &EventsFilter) -> Result<Events, ClientError> {
        self.event_list("/events", scope, filter).await
    }

    /// Dead letters, newest first.
    pub async fn letters(&self, scope: &Scope, filter: &EventsFilter) -> Result<Events, ClientError> {
        self.event_list("/dlq", scope, filter).await
    }

    /// The life of one event.
    pub async fn event(&self, id: &str) -> Result<EventLife, ClientError> {
        let path = Path::new("/events").segment(id).finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// The content of an event.
    pub async fn event_content(&self, id: &str) -> Result<Bytes, ClientError> {
        let path = Path::new("/events").segment(id).then("/content").finish();
        let response = self.send_request(Outgoing::new(Method::GET, path)).await?;
        self.collect(response).await
    }

    /// Ends an event early.
    pub async fn cancel_event(&self, id: &str) -> Result<CancelledEvent, ClientError> {
        let path = Path::new("/events").segment(id).finish();
        self.document(Outgoing::new(Method::DELETE, path)).await
    }

    /// Accepts the content of an ended event once more.
    pub async fn replay(&self, id: &str) -> Result<Repeated, ClientError> {
        let path = Path::new("/events").segment(id).then("/replay").finish();
        self.document(Outgoing::new(Method::POST, path)).await
    }

    /// Accepts a dead letter once more; it leaves the dead letters.
    pub async fn redrive(&self, id: &str) -> Result<Repeated, ClientError> {
        let path = Path::new("/dlq").segment(id).then("/redrive").finish();
        self.document(Outgoing::new(Method::POST, path)).await
    }

    /// Throws a dead letter away.
    pub async fn drop_letter(&self, id: &str) -> Result<(), ClientError> {
        self.nothing(Outgoing::new(Method::DELETE, Path::new("/dlq").segment(id).finish()))
            .await
    }

    /// Sums over all events.
    pub async fn event_totals(&self) -> Result<EventTotals, ClientError> {
        self.document(Outgoing::new(Method::GET, "/event-totals".to_owned()))
            .await
    }
}
