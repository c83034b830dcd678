//! A streamed answer on its way: parts go on as they come, under the attempt's deadline, as fast as the reader takes
//! them.

use bytes::Bytes;
use sonagi_model::{Exit, Outcome};
use sonagi_pool::Lease;
use sonagi_ports::StreamPart;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::api::Finished;
use crate::attempt::{Attempt, Ending, Usable};

/// One streamed answer.
pub(crate) struct Relay {
    pub attempt: Attempt,
    pub lease: Lease,
    pub source: mpsc::Receiver<StreamPart>,
    pub to: mpsc::Sender<StreamPart>,
    /// The place of the last part.
    pub last: OwnedPermit<StreamPart>,
    pub done: oneshot::Sender<Finished>,
    pub begun: Instant,
    pub deadline: Instant,
}

/// How a stream came to its end.
enum Stopped {
    /// By this part, which goes out once the attempt is metered.
    InOrder(Outcome, StreamPart),
    /// Early.
    Early(Outcome),
}

impl Relay {
    /// Relays to the end, meters the attempt, and only then sends the last part.
    pub(crate) async fn run(mut self) {
        let mut bytes = 0;
        let stopped = self.relay(&mut bytes).await;
        // The function must not be kept waiting by parts that nobody takes.
        drop(self.source);
        let (ending, part) = match stopped {
            Stopped::InOrder(outcome, part) => (Ending::of(outcome), Some(part)),
            Stopped::Early(outcome) => {
                let ending = Ending {
                    instance: Usable::No,
                    ..Ending::of(outcome)
                };
                (ending, None)
            }
        };
        let ending = Ending {
            response_bytes: bytes,
            ..ending
        };
        let finished = self.attempt.finish(self.lease, ending, self.begun).await;
        if let Some(part) = part {
            drop(self.last.send(part));
        }
        // A reader that is not interested in the end has dropped this.
        drop(self.done.send(finished));
    }

    async fn relay(&mut self, bytes: &mut u64) -> Stopped {
        let limit = self.lease.contract().limits().stream;
        let grace = self.attempt.inner.options.last_words;
        let late = sleep_until(self.deadline);
        let exited = self.lease.exited();
        tokio::pin!(late, exited);
        let mut ended: Option<(Exit, Instant)> = None;
        loop {
            // Parts that were sent before the process ended still count; this long after it, no more will come.
            let last_words = ended.map_or(self.deadline, |(_, at)| at + grace);
            let part = tokio::select! {
                biased;
                () = self.to.closed() => return Stopped::Early(Outcome::CallerGone),
                part = self.source.recv() => part,
                () = &mut late => return Stopped::Early(Outcome::Timeout),
                exit = &mut exited, if ended.is_none() => {
                    ended = Some((exit, Instant::now()));
                    continue;
                }
                () = sleep_until(last_words), if ended.is_some() => None,
            };
            match part {
                None => return Stopped::Early(self.broken(ended.map(|(exit, _)| exit)).await),
                Some(StreamPart::End) => return Stopped::InOrder(Outcome::Success, StreamPart::End),
                Some(StreamPart::Failed(error)) => {
                    let outcome = Outcome::FunctionError(error.clone());
                    return Stopped::InOrder(outcome, StreamPart::Failed(error));
                }
                Some(StreamPart::Data(data)) => {
                    *bytes += data.len() as u64;
                    if *bytes > limit {
                        return Stopped::Early(Outcome::ResponseTooLarge(limit));
                    }
                    if let Err(outcome) = pass_on(&self.to, data, &mut late).await {
                        return Stopped::Early(outcome);
                    }
                }
            }
        }
    }

    /// Why a stream broke off.
    async fn broken(&self, exit: Option<Exit>) -> Outcome {
        let grace = self.attempt.inner.options.last_words;
        let exit = match exit {
            Some(exit) => Some(exit),
            None => tokio::time::timeout(grace, self.lease.exited()).await.ok(),
        };
        exit.map_or(Outcome::ProtocolViolation("the answer broke off"), Outcome::Exited)
    }
}

/// Sends a part as soon as the reader has room.
async fn pass_on(
    to: &mpsc::Sender<StreamPart>,
    data: Bytes,
    late: &mut (impl Future<Output = ()> + Unpin),
) -> Result<(), Outcome> {
    tokio::select! {
        biased;
        sent = to.send(StreamPart::Data(data)) => sent.map_err(|_gone| Outcome::CallerGone),
        () = late => Err(Outcome::Timeout),
    }
}
