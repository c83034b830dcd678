//! One kept connection.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Target;
use crate::Error;

/// One kept connection.
#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinSet<()>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nothing listens there.
    pub async fn open(address: &str) -> Result<Self, Error> {
        let refused = |source| Error::Connect {
            address: address.to_owned(),
            source,
        };
        let stream = TcpStream::connect(address).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|source| Error::Connection {
            host: address.to_owned(),
            source,
        })?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // An error shows as an error of the request under way.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke, or the answer is no success.
    pub async fn call(&mut self, target: &Target) -> Result<Bytes, Error> {
        let request = Request::post(target.path.as_str())
            .header("host", &target.host)
            .header("content-type", "application/json")
            .body(Full::new(target.body.clone()))
            .map_err(|source| Error::Request {
                host: target.host.clone(),
                path: target.path.clone(),
                source,
            })?;
        let (status, body) = self.exchange(request).await.map_err(|source| Error::Connection {
            host: target.host.clone(),
            source,
        })?;
        if !status.is_success() {
            return Err(Error::Answer {
                host: target.host.clone(),
                status,
                body: String::from_utf8_lossy(&body).into_owned(),
            });
        }
        Ok(body)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<(hyper::StatusCode, Bytes), hyper::Error> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// Ends it.
    pub async fn close(mut self) {
        drop(self.sender);
        while self.driver.join_next().await.is_some() {}
    }
}
