//! An asynchronous client of the native API over plain HTTP/1.1.

mod bindings;
mod calls;
mod events;
mod logs;
mod query;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use calls::Invoked;
pub use events::EventsFilter;
pub use logs::{LogFilter, LogStream};
pub use query::{RunFilter, Scope};

use crate::{ErrorBody, ErrorDocument, PREFIX};

/// Longest answer that the client takes into memory, bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A call of the native API failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none that this client can reach.
    #[error("{endpoint:?} is not an address of the form http://HOST[:PORT]")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The token cannot be sent.
    #[error("the token has characters that no token has")]
    Token,
    /// No connection could be made.
    #[error("nothing answers at {endpoint}")]
    Unreachable {
        /// The address.
        endpoint: String,
        /// What the system said.
        #[source]
        source: legacy::Error,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to {endpoint} broke")]
    Broken {
        /// The address.
        endpoint: String,
        /// What was seen.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request was refused.
    #[error("{}", body.message)]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Why.
        body: ErrorBody,
    },
    /// The answer is not one of the native API.
    #[error("{endpoint} gave an answer that is not of the native API: {what}")]
    Foreign {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        what: String,
    },
    /// The answer is longer than the client takes.
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// A document cannot be sent.
    #[error("the request cannot be written")]
    Document(#[from] crate::header::DocumentError),
}

impl ClientError {
    /// The refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&ErrorBody> {
        match self {
            Self::Refused { body, .. } => Some(body),
            Self::Endpoint { .. }
            | Self::Token
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Foreign { .. }
            | Self::TooLong
            | Self::Document(_) => None,
        }
    }
}

/// A client of one platform. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    endpoint: String,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// One request before it is sent.
struct Outgoing<'a> {
    method: Method,
    /// Below [`PREFIX`], query included.
    path: String,
    headers: HeaderMap,
    body: Bytes,
    json: Option<&'a dyn ErasedJson>,
}

/// Lets a request borrow any document.
trait ErasedJson: Sync {
    fn to_bytes(&self) -> serde_json::Result<Vec<u8>>;
}

impl<T: Serialize + Sync> ErasedJson for T {
    fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

impl<'a> Outgoing<'a> {
    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            json: None,
        }
    }

    fn json(mut self, document: &'a dyn ErasedJson) -> Self {
        self.json = Some(document);
        self
    }

    fn bytes(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

impl Client {
    /// A client for `http://HOST[:PORT]` (the scheme may be left out). Connects when first used. Must be used inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`], [`ClientError::Token`].
    pub fn new(endpoint: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let wrong = || ClientError::Endpoint {
            endpoint: endpoint.to_owned(),
        };
        let given = endpoint.trim();
        let mut full = if given.contains("://") {
            given.to_owned()
        } else {
            format!("http://{given}")
        };
        let uri: http::Uri = full.parse().map_err(|_| wrong())?;
        let bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) || !bare {
            return Err(wrong());
        }
        if full.ends_with('/') {
            full.pop();
        }
        let authorization = match token.map(str::trim).filter(|token| !token.is_empty()) {
            Some(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(std::time::Duration::from_secs(5)));
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            http,
            endpoint: full,
            authorization,
        })
    }

    /// The platform's address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends a request; an answer that is a refusal becomes an error.
    async fn send_request(&self, outgoing: Outgoing<'_>) -> Result<Response<Incoming>, ClientError> {
        let body = match outgoing.json {
            Some(document) => document.to_bytes().map_err(crate::header::DocumentError::Json)?.into(),
            None => outgoing.body,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = outgoing.method;
        let uri = format!("{}{PREFIX}{}", self.endpoint, outgoing.path);
        *request.uri_mut() = uri
            .parse()
            .map_err(|_| ClientError::Endpoint { endpoint: uri.clone() })?;
        *request.headers_mut() = outgoing.headers;
        if outgoing.json.is_some() {
            request
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = self.http.request(request).await.map_err(|source| {
            let endpoint = self.endpoint.clone();
            if source.is_connect() {
                ClientError::Unreachable { endpoint, source }
            } else {
                ClientError::Broken {
                    endpoint,
                    source: source.into(),
                }
            }
        })?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        let bytes = match self.collect(response).await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        match serde_json::from_slice::<ErrorDocument>(&bytes) {
            Ok(document) => ClientError::Refused {
                status,
                body: document.error,
            },
            Err(_) => ClientError::Foreign {
                endpoint: self.endpoint.clone(),
                what: format!("status {status} without an error document"),
            },
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
            Ok(whole) => Ok(whole.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLong),
            Err(source) => Err(ClientError::Broken {
                endpoint: self.endpoint.clone(),
                source,
            }),
        }
    }

    async fn document<T: DeserializeOwned>(&self, outgoing: Outgoing<'_>) -> Result<T, ClientError> {
        let response = self.send_request(outgoing).await?;
        let bytes = self.collect(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(error.to_string()))
    }

    async fn nothing(&self, outgoing: Outgoing<'_>) -> Result<(), ClientError> {
        let response = self.send_request(outgoing).await?;
        self.collect(response).await.map(drop)
    }

    fn foreign(&self, what: impl Into<String>) -> ClientError {
        ClientError::Foreign {
            endpoint: self.endpoint.clone(),
            what: what.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked_before_they_are_used() {
        for (given, expected) in [
            ("127.0.0.1:4747", "http://127.0.0.1:4747"),
            ("http://localhost:1/", "http://localhost:1"),
            (" http://[::1]:5 \n", "http://[::1]:5"),
        ] {
            assert_eq!(Client::new(given, None).unwrap().endpoint(), expected);
        }
        for bad in ["", "https://a", "http://", "http://a/path", "http://a b", "ftp://x"] {
            assert!(
                matches!(Client::new(bad, None), Err(ClientError::Endpoint { .. })),
                "{bad:?}"
            );
        }
        assert!(matches!(Client::new("http://a", Some("a\nb")), Err(ClientError::Token)));
    }
}
