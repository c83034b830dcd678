//! Bringing batches to one subscriber: by HTTP, over a connection into the instance, as long as it takes. While the
//! instance is frozen everything waits with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::steward::Steward;
use super::subscription::Wanted;
use super::telemetry::Telemetry;

/// Tries to deliver one batch; what is not taken then is lost.
const TRIES: u32 = 5;
/// Pause between two tries, the first one; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(50);

type Connection = SendRequest<Full<Bytes>>;

/// Delivers until the session ends, which drops this.
pub(super) async fn run(telemetry: Arc<Telemetry>, steward: Arc<Steward>, index: usize) {
    let mut connection: Option<Connection> = None;
    while let Some((body, wanted)) = telemetry.batch(index).await {
        let mut pause = PAUSE;
        for tried in 1..=TRIES {
            if post(&mut connection, &steward, &wanted, body.clone()).await.is_ok() {
                break;
            }
            connection = None;
            if tried == TRIES {
                tracing::debug!(port = wanted.port, "a subscriber did not take its telemetry");
            } else {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        telemetry.sent(index);
    }
}

/// The subscriber did not take a batch.
#[derive(Debug)]
struct NotTaken;

async fn post(
    kept: &mut Option<Connection>,
    steward: &Arc<Steward>,
    wanted: &Wanted,
    body: Bytes,
) -> Result<(), NotTaken> {
    if kept.as_ref().is_none_or(SendRequest::is_closed) {
        *kept = Some(connect(steward, wanted.port).await?);
    }
    let connection = kept.as_mut().ok_or(NotTaken)?;
    connection.ready().await.map_err(|_| NotTaken)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(&wanted.path)
        .header(HOST, format!("sandbox.localdomain:{}", wanted.port))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|_| NotTaken)?;
    let answer = connection.send_request(request).await.map_err(|_| NotTaken)?;
    // Whatever it answers, it has the batch.
    drop(answer.into_body().collect().await);
    Ok(())
}

async fn connect(steward: &Arc<Steward>, port: u16) -> Result<Connection, NotTaken> {
    let stream = steward.connect(port).await.ok_or(NotTaken)?;
    let _ = stream.set_nodelay(true);
    let (connection, serving) = handshake(TokioIo::new(stream)).await.map_err(|_| NotTaken)?;
    steward.spawn(async move { drop(serving.await) });
    Ok(connection)
}
