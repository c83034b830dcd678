//! Logs as newline-delimited JSON; followed ones have no end, and an empty line now and then shows that both sides live.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use sonagi_model::InvocationId;
use sonagi_ports::{Clock, LogLine};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use super::answer::Refusal;
use super::query::{LogQuery, Params};
use super::{Shared, convert, moment};

/// Lines without a wish.
const LINES_DEFAULT: usize = 100;
/// The most lines of the past in one answer.
const LINES_MAX: usize = 10_000;
/// The most lines in one piece of a followed log.
const BATCH_MAX: usize = 256;
/// Quiet for so long: an empty line is sent, which also finds out whether the reader is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) async fn logs(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Params(query): Params<LogQuery>,
) -> Result<Response, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let function = shared.function_id(&place, &name)?;
    let now = shared.clock.now();
    let since = query
        .since
        .as_deref()
        .map(|text| moment::parse("since", text, now))
        .transpose()?;
    let invocation = query.invocation.as_deref().map(invocation).transpose()?;
    let limit = query.limit.unwrap_or(LINES_DEFAULT);
    if limit > LINES_MAX {
        return Err(Refusal::invalid(format!("limit {limit} is more than {LINES_MAX}")));
    }
    // Listening begins before the past is read, so that no line falls between the two.
    let live = query.follow.then(|| shared.logs.follow(function));
    let past = if limit == 0 {
        Vec::new()
    } else {
        shared.logs.read(function, invocation, since, limit).await?
    };
    let body = match live {
        None => Body::from(ndjson(past.iter())),
        Some(live) => {
            let follower = Follower {
                live,
                invocation,
                past,
                begun: false,
                stop: shared.stop.clone(),
                clock: Arc::clone(&shared.clock),
            };
            Body::from_stream(futures_util::stream::unfold(follower, |mut follower| async {
                let piece = follower.next().await?;
                Some((Ok::<_, std::convert::Infallible>(piece), follower))
            }))
        }
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

fn invocation(text: &str) -> Result<InvocationId, Refusal> {
    text.parse()
        .map_err(|_| Refusal::invalid(format!("{text:?} is no invocation's id")))
}

fn ndjson<'a>(lines: impl Iterator<Item = &'a LogLine>) -> Bytes {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &convert::log_line(line))
            .expect("a line of texts is JSON, and memory takes it");
        text.push(b'\n');
    }
    text.into()
}

/// A followed log.
struct Follower {
    live: Receiver<Arc<LogLine>>,
    invocation: Option<InvocationId>,
    /// Sent first, then kept to recognize lines that were both stored and live.
    past: Vec<LogLine>,
    begun: bool,
    stop: CancellationToken,
    clock: Arc<dyn Clock>,
}

impl Follower {
    /// The next piece of the body; `None`: the end.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            // Sent even when empty, so that the reader sees the answer begin.
            return Some(if self.past.is_empty() {
                Bytes::from_static(b"\n")
            } else {
                ndjson(self.past.iter())
            });
        }
        loop {
            let received = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                received = self.live.recv() => received,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b"\n")),
            };
            let piece = match received {
                Ok(line) => self.batch(line),
                Err(RecvError::Lagged(lost)) => self.gap(lost),
                Err(RecvError::Closed) => return None,
            };
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }

    /// This line and those that wait already.
    fn batch(&mut self, first: Arc<LogLine>) -> Bytes {
        let mut lines = vec![first];
        let mut lost = None;
        while lines.len() < BATCH_MAX {
            match self.live.try_recv() {
                Ok(line) => lines.push(line),
                Err(TryRecvError::Lagged(count)) => {
                    lost = Some(count);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let mut piece = ndjson(lines.iter().map(Arc::as_ref).filter(|line| self.wanted(line)));
        if let Some(lost) = lost {
            piece = [piece, self.gap(lost)].concat().into();
        }
        piece
    }

    fn wanted(&self, line: &LogLine) -> bool {
        let known = self.past.last().is_some_and(|last| line.time <= last.time) && self.past.contains(line);
        !known
            && self
                .invocation
                .is_none_or(|invocation| line.invocation == Some(invocation))
    }

    /// Says that lines are missing here: the reader was too slow.
    fn gap(&self, lost: u64) -> Bytes {
        let line = sonagi_api::LogLine {
            time: moment::text(self.clock.now()),
            version: String::new(),
            instance: String::new(),
            invocation: None,
            source: sonagi_api::LogSource::Platform,
            text: format!("{lost} lines are missing here: this reader was too slow; read the log without following it"),
            truncated: true,
        };
        let mut bytes = serde_json::to_vec(&line).expect("a line of texts is JSON");
        bytes.push(b'\n');
        bytes.into()
    }
}
