//! Headers of the native API, for what goes beside a body that is not JSON. A document in a header is JSON in base64
//! (standard alphabet, with padding), so that no byte of it can break the header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// On `POST /deploy`: a [`DeployRequest`](crate::DeployRequest), at most [`DOCUMENT_BYTES`] in base64.
pub const DEPLOY: &str = "sonagi-deploy";
/// On `POST /projects`: a [`ProjectRequest`](crate::ProjectRequest), at most [`DOCUMENT_BYTES`] in base64.
pub const PROJECT: &str = "sonagi-project";
/// On an answer of `invoke`: the invocation's id.
pub const INVOCATION: &str = "sonagi-invocation";
/// On an answer of `invoke`: `true` if the function failed; the body then is the error in the provider's shape.
pub const FAILED: &str = "sonagi-failed";
/// On an answer of `invoke`: the [`Run`](crate::Run).
pub const RUN: &str = "sonagi-run";
/// On an answer of `invoke`: the end of its log, bytes in base64.
pub const LOG_TAIL: &str = "sonagi-log-tail";

/// Longest document in a header, bytes of base64. The platform's limit for all headers of a request is 64 KiB.
pub const DOCUMENT_BYTES: usize = 48 * 1024;

/// A header's value is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is too long.
    #[error("{actual} bytes, more than {DOCUMENT_BYTES}")]
    TooLong {
        /// Bytes found.
        actual: usize,
    },
    /// It is not base64.
    #[error("not base64")]
    Base64(#[source] base64::DecodeError),
    /// It is not the document.
    #[error("{0}")]
    Json(#[source] serde_json::Error),
}

/// A document as a header's value.
///
/// # Errors
/// [`DocumentError::TooLong`], [`DocumentError::Json`].
pub fn encode<T: Serialize>(document: &T) -> Result<String, DocumentError> {
    let text = bytes_to_text(&serde_json::to_vec(document).map_err(DocumentError::Json)?);
    if text.len() > DOCUMENT_BYTES {
        Err(DocumentError::TooLong { actual: text.len() })
    } else {
        Ok(text)
    }
}

/// The document in a header's value.
///
/// # Errors
/// [`DocumentError`].
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    if text.len() > DOCUMENT_BYTES {
        return Err(DocumentError::TooLong { actual: text.len() });
    }
    serde_json::from_slice(&text_to_bytes(text)?).map_err(DocumentError::Json)
}

/// Bytes as a header's value.
#[must_use]
pub fn bytes_to_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes in a header's value.
///
/// # Errors
/// [`DocumentError::Base64`].
pub fn text_to_bytes(text: &str) -> Result<Vec<u8>, DocumentError> {
    STANDARD.decode(text).map_err(DocumentError::Base64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeployRequest;

    #[test]
    fn documents_round_trip_and_are_bounded() {
        let request = DeployRequest {
            name: "héllo\n".to_owned(),
            ..DeployRequest::default()
        };
        let text = encode(&request).unwrap();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(decode::<DeployRequest>(&text).unwrap(), request);
        assert!(matches!(decode::<DeployRequest>("%"), Err(DocumentError::Base64(_))));
        assert!(
            matches!(decode::<DeployRequest>("e30="), Err(DocumentError::Json(_))),
            "the name is missing"
        );
        let large = DeployRequest {
            name: "x".repeat(DOCUMENT_BYTES),
            ..DeployRequest::default()
        };
        assert!(matches!(encode(&large), Err(DocumentError::TooLong { .. })));
        assert!(matches!(
            decode::<DeployRequest>(&"A".repeat(DOCUMENT_BYTES + 4)),
            Err(DocumentError::TooLong { .. })
        ));
    }
}
