//! One attempt: an instance, the event, the answer, the record.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sonagi_model::{
    Blame, ColdPhases, FunctionError, InstanceId, Mebibytes, Outcome, RunRecord, RunStatus, Start, Timestamp,
};
use sonagi_pool::{AcquireError, Lease, ProcessRan, StartFailure};
use sonagi_ports::{Call, Contract, LogLine, LogSource, Moment, Reply, ReplyBody, SessionError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::admission::Token;
use crate::api::{Answer, Finished, LogTail, Refused, Request, Streaming};
use crate::dispatcher::Inner;
use crate::relay::Relay;

/// Who keeps the record of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The dispatcher, in the ledger.
    Ledger,
    /// The caller, together with the state of its event.
    Caller,
}

/// One attempt under way.
pub(crate) struct Attempt {
    pub inner: Arc<Inner>,
    pub request: Request,
    pub keep: Keep,
    started: Timestamp,
    /// Initialization that this attempt caused, microseconds.
    init_us: u64,
    token: Token,
    _alive: TaskTrackerToken,
}

/// What came of handing an event over.
enum Handed {
    Reply(Reply),
    Failed(Outcome),
    /// The function's own error, after which its instance is of no use.
    Broken(FunctionError),
    NotDelivered,
}

/// How an attempt ended.
pub(crate) struct Ending {
    pub outcome: Outcome,
    pub body: Bytes,
    pub content_type: Option<String>,
    pub response_bytes: u64,
    /// Whether the instance may be used again.
    pub instance: Usable,
}

/// Whether an instance may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usable {
    Yes,
    No,
}

impl Ending {
    /// An end without an answer; the outcome says whether the instance may be used again.
    pub(crate) fn of(outcome: Outcome) -> Self {
        let instance = if outcome.leaves_instance_usable() {
            Usable::Yes
        } else {
            Usable::No
        };
        Self {
            outcome,
            body: Bytes::new(),
            content_type: None,
            response_bytes: 0,
            instance,
        }
    }

    /// An error of the function after which its instance is of no use.
    fn broken(error: FunctionError) -> Self {
        Self {
            response_bytes: error.body.len() as u64,
            instance: Usable::No,
            ..Self::of(Outcome::FunctionError(error))
        }
    }
}

/// Where and when an attempt ran, for its record.
pub(crate) struct Ran {
    instance: Option<InstanceId>,
    start: Start,
    phases: Option<ColdPhases>,
    duration: Duration,
    memory_peak: Mebibytes,
}

impl Attempt {
    pub(crate) fn new(inner: Arc<Inner>, request: Request, keep: Keep, token: Token) -> Self {
        Self {
            started: inner.clock.now(),
            init_us: 0,
            token,
            keep,
            _alive: inner.tasks.token(),
            request,
            inner,
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.request.revision.spec.timeout
    }

    pub(crate) async fn run(mut self) -> Result<Answer, Refused> {
        for delivery in 1.. {
            let mut lease = match self.inner.pool.acquire(&self.request.revision).await {
                Ok(lease) => lease,
                Err(AcquireError::Throttled(reason)) => return Err(Refused::Throttled(reason)),
                Err(AcquireError::Stopping) => return Err(Refused::Stopping),
                Err(AcquireError::Failed(failure)) => return Ok(Answer::Whole(self.not_started(failure).await)),
            };
            self.init_us += lease.phases().map_or(0, |phases| phases.init_us);
            self.begin(&mut lease, delivery);
            // The one place where a deadline is set. Initialization is over, so it is the event's alone.
            let begun = Instant::now();
            let deadline = begun
                .checked_add(self.timeout())
                .unwrap_or(begun + Duration::from_secs(1 << 30));
            match self.hand_over(&lease, deadline).await {
                Handed::NotDelivered if delivery < self.inner.options.deliveries => {
                    drop(lease.end(Vec::new()));
                    lease.condemn();
                }
                Handed::NotDelivered => {
                    let outcome = Outcome::Platform(format!("{delivery} instances did not take the event"));
                    return Ok(self.whole(lease, Ending::of(outcome), begun).await);
                }
                Handed::Failed(outcome) => return Ok(self.whole(lease, Ending::of(outcome), begun).await),
                Handed::Broken(error) => return Ok(self.whole(lease, Ending::broken(error), begun).await),
                Handed::Reply(reply) => return Ok(self.answer(lease, reply, begun, deadline).await),
            }
        }
        unreachable!("the last delivery returns")
    }

    fn begin(&self, lease: &mut Lease, delivery: u32) {
        let request = &self.request;
        let tail = match request.log_tail {
            LogTail::Omit => None,
            LogTail::Bytes(bytes) => Some(bytes),
        };
        let lines = if delivery == 1 {
            self.start_lines(lease.contract())
        } else {
            Vec::new()
        };
        lease.begin(request.invocation, tail, lines);
    }

    fn start_lines(&self, contract: &Arc<dyn Contract>) -> Vec<String> {
        contract.narrate(&Moment::Start {
            invocation: self.request.invocation,
            revision: &self.request.revision,
        })
    }

    /// Hands the event over and waits for the answer or its beginning, the end of the process, or the deadline.
    async fn hand_over(&mut self, lease: &Lease, deadline: Instant) -> Handed {
        let request = &mut self.request;
        let call = Call {
            invocation: request.invocation,
            attempt: request.attempt,
            // Cheap copies: an event that is not taken is handed over again.
            payload: request.payload.clone(),
            deadline: self.inner.clock.now().plus(request.revision.spec.timeout),
            attributes: request.attributes.clone(),
        };
        let mut answer = lease.session().invoke(call);
        let exited = lease.exited();
        let late = sleep_until(deadline);
        tokio::pin!(exited, late);
        let exit = tokio::select! {
            biased;
            result = &mut answer => return self.judge(lease, result).await,
            exit = &mut exited => exit,
            () = &mut late => return Handed::Failed(Outcome::Timeout),
        };
        // An answer that was sent before the end is an answer.
        let drained = timeout(self.inner.options.last_words, lease.session().drained());
        tokio::select! {
            biased;
            result = &mut answer => match result {
                Ok(reply) => Handed::Reply(reply),
                Err(SessionError::NotDelivered) => Handed::NotDelivered,
                Err(SessionError::ResponseTooLarge(limit)) => Handed::Failed(Outcome::ResponseTooLarge(limit)),
                Err(SessionError::Violation(_) | SessionError::Closed | SessionError::HungUp(_)) => Handed::Failed(Outcome::Exited(exit)),
                Err(SessionError::Broken(error)) => Handed::Broken(error),
                Err(SessionError::TimedOut) => Handed::Failed(Outcome::Timeout),
                Err(SessionError::InitTimedOut) => Handed::Failed(Outcome::InitTimeout),
            },
            _drained = drained => Handed::Failed(Outcome::Exited(exit)),
        }
    }

    /// What a session's result means while its process runs, as far as is known.
    async fn judge(&self, lease: &Lease, result: Result<Reply, SessionError>) -> Handed {
        match result {
            Ok(reply) => Handed::Reply(reply),
            Err(SessionError::NotDelivered) => Handed::NotDelivered,
            Err(SessionError::ResponseTooLarge(limit)) => Handed::Failed(Outcome::ResponseTooLarge(limit)),
            Err(SessionError::Violation(what)) => Handed::Failed(Outcome::ProtocolViolation(what)),
            Err(SessionError::Broken(error)) => Handed::Broken(error),
            Err(SessionError::TimedOut) => Handed::Failed(Outcome::Timeout),
            Err(SessionError::InitTimedOut) => Handed::Failed(Outcome::InitTimeout),
            // Sessions close when instances end, and may notice first.
            Err(SessionError::Closed) => {
                let otherwise = Outcome::Platform("the session was closed".to_owned());
                Handed::Failed(self.end_of(lease, otherwise).await)
            }
            Err(SessionError::HungUp(what)) => {
                Handed::Failed(self.end_of(lease, Outcome::ProtocolViolation(what)).await)
            }
        }
    }

    /// How the process ended, if it has.
    async fn end_of(&self, lease: &Lease, otherwise: Outcome) -> Outcome {
        match timeout(self.inner.options.last_words, lease.exited()).await {
            Ok(exit) => Outcome::Exited(exit),
            Err(_elapsed) => otherwise,
        }
    }

    async fn answer(self, lease: Lease, reply: Reply, begun: Instant, deadline: Instant) -> Answer {
        let limit = lease.contract().limits().response;
        let content_type = reply.content_type;
        let ending = match reply.body {
            ReplyBody::Stream(parts) => return self.stream(lease, content_type, parts, begun, deadline),
            ReplyBody::Whole(Ok(body)) if body.len() as u64 <= limit => Ending {
                response_bytes: body.len() as u64,
                body,
                content_type,
                ..Ending::of(Outcome::Success)
            },
            ReplyBody::Whole(Err(error)) if error.body.len() as u64 <= limit => Ending {
                response_bytes: error.body.len() as u64,
                content_type,
                ..Ending::of(Outcome::FunctionError(error))
            },
            ReplyBody::Whole(Ok(_) | Err(FunctionError { .. })) => Ending::of(Outcome::ResponseTooLarge(limit)),
        };
        self.whole(lease, ending, begun).await
    }

    fn stream(
        self,
        lease: Lease,
        content_type: Option<String>,
        source: mpsc::Receiver<sonagi_ports::StreamPart>,
        begun: Instant,
        deadline: Instant,
    ) -> Answer {
        // One place is kept for the last part, so that a slow reader never keeps a finished attempt waiting.
        let (to, parts) = mpsc::channel(self.inner.options.stream_parts.max(1) + 1);
        let last = to.clone().try_reserve_owned().expect("the channel is new and empty");
        let (done, finished) = oneshot::channel();
        let inner = self.inner.clone();
        let relay = Relay {
            attempt: self,
            lease,
            source,
            to,
            last,
            done,
            begun,
            deadline,
        };
        inner.spawn(relay.run());
        Answer::Stream(Streaming {
            content_type,
            parts,
            finished,
        })
    }

    async fn whole(self, lease: Lease, ending: Ending, begun: Instant) -> Answer {
        Answer::Whole(self.finish(lease, ending, begun).await)
    }

    /// Meters and narrates the end, gives the instance back or has it destroyed, and keeps the record.
    pub(crate) async fn finish(self, lease: Lease, ending: Ending, begun: Instant) -> Finished {
        if lease.session().lingers() {
            return Box::pin(self.linger(lease, ending, begun)).await;
        }
        let (record, log_tail) = self.close(lease, &ending, begun.elapsed());
        self.keep(ending, record, log_tail).await
    }

    /// Meters and narrates the end of an attempt that took so long, and gives the instance back or has it destroyed.
    pub(crate) fn close(
        &self,
        mut lease: Lease,
        ending: &Ending,
        mut duration: Duration,
    ) -> (Arc<RunRecord>, Option<Vec<u8>>) {
        let timed_out = ending.outcome == Outcome::Timeout;
        if timed_out {
            // The timer is coarser than the clock; nobody pays for that.
            duration = duration.min(self.timeout());
        }
        lease.settle();
        let contract = lease.contract().clone();
        if timed_out {
            lease.say(contract.narrate(&Moment::TimedOut {
                revision: &self.request.revision,
                invocation: self.request.invocation,
                at: self.inner.clock.now(),
                timeout: self.timeout(),
            }));
        }
        let record = Arc::new(self.measured(&lease, ending, duration));
        if lease.session().lingers() {
            lease.session().metered(&record);
        }
        let log_tail = lease.end(contract.narrate(&Moment::End {
            revision: &self.request.revision,
            record: &record,
        }));
        match ending.instance {
            Usable::Yes => drop(lease),
            Usable::No => lease.condemn(),
        }
        (record, log_tail)
    }

    /// The record of an attempt in an instance, as it stands now.
    pub(crate) fn measured(&self, lease: &Lease, ending: &Ending, duration: Duration) -> RunRecord {
        let ran = Ran {
            instance: Some(lease.id()),
            start: lease.start(),
            phases: lease.phases(),
            duration,
            memory_peak: lease.memory_peak(),
        };
        self.record(ending, ran, Some(lease.contract()))
    }

    /// No instance was to be had: the start's failure is the attempt's.
    async fn not_started(self, failure: StartFailure) -> Finished {
        let mut this = self;
        this.init_us += failure.phases.map_or(0, |phases| phases.init_us);
        let contract = this.inner.contracts.get(&this.request.revision.spec.contract).cloned();
        let instance = failure.instance;
        let ran = Ran {
            instance: (failure.process == ProcessRan::Yes).then_some(instance),
            start: Start::Cold,
            phases: failure.phases,
            duration: Duration::ZERO,
            memory_peak: failure.memory_peak,
        };
        let ending = Ending::of(failure.outcome);
        let record = Arc::new(this.record(&ending, ran, contract.as_ref()));
        let (mut first, mut last) = (Vec::new(), Vec::new());
        if let Some(contract) = &contract {
            first = this.start_lines(contract);
            if ending.outcome == Outcome::InitTimeout {
                first.extend(contract.narrate(&Moment::TimedOut {
                    revision: &this.request.revision,
                    invocation: this.request.invocation,
                    at: this.inner.clock.now(),
                    timeout: this.timeout(),
                }));
            }
            last = contract.narrate(&Moment::End {
                revision: &this.request.revision,
                record: &record,
            });
        }
        let log_tail = match this.request.log_tail {
            LogTail::Omit => None,
            LogTail::Bytes(limit) => Some(tail(&first, &failure.output, &last, limit)),
        };
        first.append(&mut last);
        this.write(instance, first);
        this.keep(ending, record, log_tail).await
    }

    /// Lines of the platform about an attempt without an instance.
    fn write(&self, instance: InstanceId, lines: Vec<String>) {
        let revision = &self.request.revision;
        let time = self.inner.clock.now();
        let lines = lines.into_iter().map(|text| LogLine {
            time,
            function: revision.function,
            label: revision.label.clone(),
            instance,
            invocation: Some(self.request.invocation),
            source: LogSource::Platform,
            text,
            truncated: false,
        });
        self.inner.logs.write(lines.collect());
    }

    fn record(&self, ending: &Ending, ran: Ran, contract: Option<&Arc<dyn Contract>>) -> RunRecord {
        let (request, revision) = (&self.request, &self.request.revision);
        let init = Duration::from_micros(self.init_us);
        let billed_ms = match (contract, ending.outcome.blame()) {
            (None, _) | (Some(_), Blame::Platform) => 0,
            (Some(contract), Blame::None | Blame::Function) => contract.billed_ms(init, ran.duration),
        };
        RunRecord {
            invocation: request.invocation,
            attempt: request.attempt,
            function: revision.function,
            namespace: revision.namespace.clone(),
            tenant: revision.tenant.clone(),
            name: revision.name.clone(),
            revision: revision.id,
            label: revision.label.clone(),
            instance: ran.instance,
            started: self.started,
            start: ran.start,
            phases: ran.phases,
            init_us: self.init_us,
            duration_us: u64::try_from(ran.duration.as_micros()).unwrap_or(u64::MAX),
            billed_ms,
            memory: revision.spec.memory,
            // The kernel counts files in the scratch space too, which has a limit of its own.
            memory_peak: ran.memory_peak.min(revision.spec.memory),
            scratch: revision.spec.scratch,
            response_bytes: ending.response_bytes,
            status: RunStatus::from(&ending.outcome),
            error_kind: error_kind(&ending.outcome),
        }
    }

    /// Keeps the record, if that is our business, and only then says how it ended.
    pub(crate) async fn keep(self, ending: Ending, record: Arc<RunRecord>, log_tail: Option<Vec<u8>>) -> Finished {
        // Whoever hears of the end may come back at once.
        drop(self.token);
        if self.keep == Keep::Ledger
            && self.inner.runs.append(&record).is_err()
            && let Err(error) = self.inner.runs.append_slow(RunRecord::clone(&record)).await
        {
            let error = &error as &dyn std::error::Error;
            tracing::error!(invocation = %record.invocation, error, "an attempt could not be metered");
        }
        Finished {
            outcome: ending.outcome,
            body: ending.body,
            content_type: ending.content_type,
            log_tail,
            record,
        }
    }
}

/// The last `limit` bytes of these lines around what an instance wrote.
fn tail(first: &[String], output: &[u8], last: &[String], limit: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for line in first {
        all.extend_from_slice(line.as_bytes());
        all.push(b'\n');
    }
    all.extend_from_slice(output);
    for line in last {
        all.extend_from_slice(line.as_bytes());
        all.push(b'\n');
    }
    let surplus = all.len().saturating_sub(limit);
    all.drain(..surplus);
    all
}

fn error_kind(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::FunctionError(error) | Outcome::InitError(error) => error.kind.clone(),
        Outcome::EntryPoint { kind, .. } => kind.clone(),
        Outcome::Success
        | Outcome::Timeout
        | Outcome::Exited(_)
        | Outcome::InitExited(_)
        | Outcome::InitTimeout
        | Outcome::ResponseTooLarge(_)
        | Outcome::ProtocolViolation(_)
        | Outcome::CallerGone
        | Outcome::ArtifactDamaged(_)
        | Outcome::Platform(_) => None,
    }
}
