//! Bodies of requests, each under its limit.

use axum::body::Body;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use sonagi_api::ErrorCode;
use sonagi_wire::{BodyError, TooSlow, read_paced};

use super::answer::Refusal;

/// A whole body.
pub(super) async fn read(body: Body, what: &str, limit: usize) -> Result<Bytes, Refusal> {
    let read = read_paced(body, limit).await;
    let read = read.map_err(|TooSlow| Refusal::invalid(format!("the {what} came too slowly")))?;
    read.map_err(|error| match error {
        BodyError::TooLarge { limit } => {
            Refusal::new(ErrorCode::TooLarge, format!("the {what} has more than {limit} bytes"))
        }
        BodyError::Broken(_) => Refusal::invalid(format!("the {what} ended early")),
    })
}

/// A JSON document; an empty body counts as `{}`.
pub(super) async fn document<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Refusal> {
    let bytes = read(body, "document", limit).await?;
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(bytes).map_err(|error| Refusal::invalid(format!("the document cannot be read: {error}")))
}
