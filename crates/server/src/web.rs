//! Web addresses as destinations of events: each message is one `POST` of its content, and taken when the answer is a
//! success.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sonagi_ports::{DeliveryError, Destination, QueuedEvent};

/// The name that routes of events carry.
pub(crate) const ADAPTER: &str = "web";

/// The header with the event's id: the same when a message is sent again.
const EVENT_ID: &str = "sonagi-event-id";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Connections that are kept for the next message, for each address.
const IDLE_CONNECTIONS: usize = 4;
/// For how long.
const IDLE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct WebDestination {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl WebDestination {
    /// Opens no connection yet.
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client }
    }
}

#[async_trait]
impl Destination for WebDestination {
    async fn deliver(&self, event: &QueuedEvent) -> Result<(), DeliveryError> {
        let sonagi_ports::EventRoute::Destination { address, .. } = &event.route else {
            return Err(DeliveryError::Refused("it is for a function".to_owned()));
        };
        let refused = |why: String| DeliveryError::Refused(format!("{address}: {why}"));
        let uri: Uri = address
            .parse()
            .map_err(|error| refused(format!("no address: {error}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(refused("only http:// addresses can be reached".to_owned()));
        }
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(EVENT_ID, event.id.to_string())
            .body(Full::new(event.payload.clone()))
            .map_err(|error| refused(error.to_string()))?;
        let answer = self.client.request(request).await;
        let status = answer
            .map_err(|error| DeliveryError::Unavailable(format!("{address}: {error}")))?
            .status();
        verdict(address, status)
    }
}

/// A client error is final, except those that say that it is a matter of time.
fn verdict(address: &str, status: StatusCode) -> Result<(), DeliveryError> {
    let text = format!("{address} answered {status}");
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::GONE => Err(DeliveryError::Gone(text)),
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(DeliveryError::Unavailable(text))
        }
        status if status.is_client_error() => Err(DeliveryError::Refused(text)),
        _ => Err(DeliveryError::Unavailable(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_mean() {
        let verdict = |code: u16| verdict("x", StatusCode::from_u16(code).unwrap());
        assert_eq!(verdict(204), Ok(()));
        for (code, unavailable, gone) in [
            (400, false, false),
            (410, false, true),
            (429, true, false),
            (503, true, false),
        ] {
            let error = verdict(code).unwrap_err();
            assert_eq!(matches!(error, DeliveryError::Unavailable(_)), unavailable, "{code}");
            assert_eq!(matches!(error, DeliveryError::Gone(_)), gone, "{code}");
        }
    }
}
