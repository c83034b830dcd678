//! The conversation over a channel: one event at a time, written and answered in the caller's own task.

use std::sync::Arc;

use sonagi_ports::{Call, Clock, Entropy, InitFailure, Reply, ReplyBody, SessionError, StreamPart};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel::{Line, Said, Silence};
use super::{answers, trace};

/// Parts of a streamed answer on their way to the caller.
const PARTS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Talk {
    line: Arc<Mutex<Line>>,
    /// Everything that the function has sent was read.
    end: CancellationToken,
    /// The conversation is over.
    over: CancellationToken,
    /// Where streamed answers are forwarded.
    tasks: TaskTracker,
    facts: Facts,
}

/// What is the same for every event.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) function_arn: String,
    /// Largest whole answer and largest streamed one, bytes.
    pub(super) response: u64,
    pub(super) stream: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl Talk {
    /// A conversation that is over at the latest when `stop` is cancelled.
    pub(super) fn new(line: Line, stop: &CancellationToken, tasks: TaskTracker, facts: Facts) -> Self {
        Self {
            line: Arc::new(Mutex::new(line)),
            end: CancellationToken::new(),
            over: stop.child_token(),
            tasks,
            facts,
        }
    }

    /// Waits until the function asks for its first event. Cancel safe.
    pub(super) async fn ready(&self) -> Result<(), InitFailure> {
        let mut line = self.line.lock().await;
        if line.asked {
            return Ok(());
        }
        match line.hear().await {
            Ok(Said::Ready) => {
                line.asked = true;
                Ok(())
            }
            Ok(Said::CannotStart(error)) => Err(InitFailure::Reported(error)),
            Ok(
                Said::Answer { .. }
                | Said::TooLarge { .. }
                | Said::StreamBegins(_)
                | Said::Part(_)
                | Said::StreamEnds(_),
            ) => Err(InitFailure::Violation("an answer before the first event")),
            Err(Silence::Violation(what)) => Err(InitFailure::Violation(what)),
            Err(Silence::End) => {
                self.ended(line).await;
                Err(InitFailure::Violation("the session ended before the first event"))
            }
        }
    }

    /// Hands over an event and waits for the answer.
    pub(super) async fn invoke(&self, call: Call) -> Result<Reply, SessionError> {
        let mut line = Arc::clone(&self.line).lock_owned().await;
        if line.busy || self.over.is_cancelled() {
            return Err(SessionError::NotDelivered);
        }
        if !line.asked {
            // It has answered the event before this one and is still busy with it.
            match line.hear().await {
                Ok(Said::Ready) => {}
                Ok(_) | Err(Silence::Violation(_)) => {
                    line.busy = true;
                    return Err(SessionError::NotDelivered);
                }
                Err(Silence::End) => {
                    self.ended(line).await;
                    return Err(SessionError::NotDelivered);
                }
            }
        }
        line.asked = false;
        line.busy = true;
        let facts = &self.facts;
        let new_trace = || trace::new(facts.clock.now(), facts.entropy.as_ref());
        if let Err(error) = line.tell(&call, &facts.function_arn, new_trace).await {
            tracing::debug!(%error, "an event could not be handed over");
            self.ended(line).await;
            return Err(SessionError::NotDelivered);
        }
        self.answer(line).await
    }

    async fn answer(&self, mut line: OwnedMutexGuard<Line>) -> Result<Reply, SessionError> {
        match line.hear().await {
            Ok(Said::Answer { answer, asks }) => {
                (line.asked, line.busy) = (asks, false);
                let (content_type, body) = match answer {
                    Ok(typed) => {
                        let json = || "application/json".to_owned();
                        (Some(typed.content_type.unwrap_or_else(json)), Ok(typed.body))
                    }
                    Err(error) => (None, Err(error)),
                };
                Ok(Reply {
                    content_type,
                    body: ReplyBody::Whole(body),
                })
            }
            Ok(Said::TooLarge { asks }) => {
                (line.asked, line.busy) = (asks, false);
                Err(SessionError::ResponseTooLarge(self.facts.response))
            }
            Ok(Said::StreamBegins(content_type)) => {
                let (parts, receiver) = mpsc::channel(PARTS);
                let forwarding = forward(line, parts, self.facts.stream, self.end.clone());
                self.tasks
                    .spawn(self.over.clone().run_until_cancelled_owned(forwarding));
                Ok(Reply {
                    content_type,
                    body: ReplyBody::Stream(receiver),
                })
            }
            Ok(Said::Ready | Said::CannotStart(_) | Said::Part(_) | Said::StreamEnds(_)) => {
                Err(SessionError::Violation("an unexpected frame instead of an answer"))
            }
            Err(Silence::Violation(what)) => Err(SessionError::Violation(what)),
            Err(Silence::End) => {
                self.ended(line).await;
                Err(SessionError::Closed)
            }
        }
    }

    /// Nothing more will come. What that means, the end of the process says, or the deadline.
    async fn ended<G>(&self, line: G) {
        drop(line);
        self.end.cancel();
        self.over.cancelled().await;
    }

    /// Ends the conversation. Whoever waits for an answer closes the channel when it gives up.
    pub(super) fn close(&self) {
        if let Ok(mut line) = self.line.try_lock() {
            line.close();
        }
    }

    /// Waits until everything that the function has sent was read, if somebody reads.
    pub(super) async fn drained(&self) {
        tokio::select! {
            () = self.end.cancelled() => {}
            line = self.line.lock() => drop::<MutexGuard<'_, Line>>(line),
        }
    }

    /// Whoever still waits is told that nothing will come.
    pub(super) fn finish(&self) {
        self.over.cancel();
    }
}

/// Forwards a streamed answer to its end. A caller that has gone does not disturb the function: the rest is read and
/// dropped, as is what goes over the limit.
async fn forward(mut line: OwnedMutexGuard<Line>, parts: mpsc::Sender<StreamPart>, limit: u64, end: CancellationToken) {
    let mut passed: u64 = 0;
    let last = loop {
        match line.hear().await {
            Ok(Said::Part(part)) => {
                let before = passed;
                passed += part.len() as u64;
                if passed <= limit && !part.is_empty() && !parts.is_closed() {
                    let _ = parts.send(StreamPart::Data(part)).await;
                } else if before <= limit && passed > limit {
                    let error = answers::stream_too_large_error(limit);
                    let _ = parts.send(StreamPart::Failed(error)).await;
                }
            }
            Ok(Said::StreamEnds(error)) => break error.map_or(StreamPart::End, StreamPart::Failed),
            // The channel closes without an end: the reader sees that the answer was cut off.
            Err(Silence::End) => {
                end.cancel();
                return;
            }
            Ok(_) | Err(Silence::Violation(_)) => return,
        }
    };
    // The function is done before its caller hears of it.
    line.busy = false;
    drop(line);
    if passed <= limit {
        let _ = parts.send(last).await;
    }
}
