//! The state of the conversation with one runtime process, and the hand-over of events and answers.
//!
//! One short lock, no task of its own: `invoke` puts an event in and wakes the connection that waits in `next`; the
//! connection that brings the answer sends it straight to the waiting `invoke`.
//!
//! Source of the states and of what is allowed in each: AWS's open runtime interface emulator (commit 4fa2157), single
//! concurrency: Started → Ready → Running → InvocationResponse or InvocationErrorResponse → ResponseSent → Ready.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use sonagi_model::{FunctionError, InvocationId};
use sonagi_ports::{Call, InitFailure, Reply, SessionError};
use tokio::sync::oneshot;

type AnswerSender = oneshot::Sender<Result<Reply, SessionError>>;

/// Why a request of the runtime was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No event with this id waits for an answer.
    InvalidRequestId,
    /// The request is not allowed in this state: from, to, in the emulator's words.
    Transition(&'static str, &'static str),
    /// The session is over.
    Closed,
}

/// What a finished answer is, for the name of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerKind {
    Response,
    Error,
}

impl AnswerKind {
    const fn state(self) -> &'static str {
        match self {
            Self::Response => "InvocationResponse",
            Self::Error => "InvocationErrorResponse",
        }
    }
}

#[derive(Debug)]
enum Phase {
    /// The runtime has not asked for an event yet.
    Started,
    /// It reported that it cannot start.
    InitFailed(FunctionError),
    /// It asked for an event.
    Ready,
    /// It works on one; `taken` once a connection has it, before that nobody outside knows of it.
    Running {
        call: Arc<Call>,
        answer: AnswerSender,
        taken: bool,
    },
    /// Its answer is being read; the reading side holds the sender.
    Answering { call: Arc<Call>, kind: AnswerKind },
    /// It has answered and not asked again.
    ResponseSent { id: InvocationId },
    /// Nothing more is served.
    Closed,
}

impl Phase {
    const fn name(&self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::InitFailed(_) => "InitError",
            Self::Ready => "Ready",
            Self::Running { .. } => "Running",
            Self::Answering { kind, .. } => kind.state(),
            Self::ResponseSent { .. } => "ResponseSent",
            Self::Closed => "Exited",
        }
    }
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// An event that came before the runtime asked for it.
    pending: Option<(Arc<Call>, AnswerSender)>,
    /// Connections that wait in `next`, oldest first. Bounded by the number of connections.
    waiting: Vec<(u64, Waker)>,
    tickets: u64,
    ready: Option<Waker>,
}

impl State {
    /// The event that waits, unless its caller has given up.
    fn take_pending(&mut self) -> Option<(Arc<Call>, AnswerSender)> {
        self.pending.take().filter(|(_, answer)| !answer.is_closed())
    }

    fn wake_one(&mut self) {
        if !self.waiting.is_empty() {
            self.waiting.remove(0).1.wake();
        }
    }

    /// Leaves Running if the event's caller has given up and no runtime works on it: none had it yet, or the one that
    /// had it asks for another (`asked_again`).
    fn forget_abandoned(&mut self, asked_again: bool) {
        if let Phase::Running { answer, taken, .. } = &self.phase
            && answer.is_closed()
            && (asked_again || !taken)
        {
            self.phase = Phase::Ready;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Exchange(Mutex<State>);

impl Exchange {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            phase: Phase::Started,
            pending: None,
            waiting: Vec::new(),
            tickets: 0,
            ready: None,
        })))
    }

    // === platform side

    /// Puts an event in; the answer comes through the receiver. Dropping the receiver gives up on the event.
    pub(super) fn deliver(&self, call: Call) -> Result<oneshot::Receiver<Result<Reply, SessionError>>, SessionError> {
        let (answer, receiver) = oneshot::channel();
        let call = Arc::new(call);
        let mut state = self.0.lock();
        state.forget_abandoned(false);
        match &state.phase {
            Phase::Ready if !state.waiting.is_empty() => {
                state.phase = Phase::Running {
                    call,
                    answer,
                    taken: false,
                };
                state.wake_one();
            }
            Phase::Ready | Phase::Started | Phase::Answering { .. } | Phase::ResponseSent { .. } => {
                if state.take_pending().is_some() {
                    return Err(SessionError::NotDelivered);
                }
                state.pending = Some((call, answer));
            }
            Phase::Running { answer: open, .. } if open.is_closed() => state.pending = Some((call, answer)),
            Phase::Running { .. } | Phase::InitFailed(_) | Phase::Closed => return Err(SessionError::NotDelivered),
        }
        Ok(receiver)
    }

    /// Ready at the first `next`, or when it is known that none will come.
    pub(super) fn poll_ready(&self, cx: &Context<'_>) -> Poll<Result<(), InitFailure>> {
        let mut state = self.0.lock();
        match &state.phase {
            Phase::Started => {
                state.ready = Some(cx.waker().clone());
                Poll::Pending
            }
            Phase::InitFailed(error) => Poll::Ready(Err(InitFailure::Reported(error.clone()))),
            Phase::Closed => Poll::Ready(Err(InitFailure::Violation("the session ended before the first next"))),
            Phase::Ready | Phase::Running { .. } | Phase::Answering { .. } | Phase::ResponseSent { .. } => {
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Ends the conversation. An event that no connection had is handed back as not delivered.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        let phase = std::mem::replace(&mut state.phase, Phase::Closed);
        if let Some((_, answer)) = state.pending.take() {
            let _ = answer.send(Err(SessionError::NotDelivered));
        }
        if let Phase::Running { answer, taken, .. } = phase {
            let _ = answer.send(Err(if taken {
                SessionError::Closed
            } else {
                SessionError::NotDelivered
            }));
        }
        for (_, waker) in state.waiting.drain(..) {
            waker.wake();
        }
        if let Some(waker) = state.ready.take() {
            waker.wake();
        }
    }

    // === runtime side

    /// `GET …/invocation/next`: waits for an event. Dropping the future leaves the event to the next one who asks.
    pub(super) async fn next(self: &Arc<Self>) -> Result<Arc<Call>, Refusal> {
        let mut waiter = Waiter {
            exchange: self,
            ticket: None,
        };
        std::future::poll_fn(|cx| waiter.poll(cx)).await
    }

    /// `POST …/init/error`: the runtime cannot start.
    pub(super) fn init_error(&self, error: FunctionError) -> Result<(), Refusal> {
        let mut state = self.0.lock();
        if !matches!(state.phase, Phase::Started) {
            return Err(Refusal::Transition(state.phase.name(), "InitError"));
        }
        state.phase = Phase::InitFailed(error);
        if let Some((_, answer)) = state.pending.take() {
            let _ = answer.send(Err(SessionError::NotDelivered));
        }
        if let Some(waker) = state.ready.take() {
            waker.wake();
        }
        Ok(())
    }

    /// `GET …/restore/next`: allowed before the first `next` only.
    pub(super) fn restore(&self) -> Result<(), Refusal> {
        let state = self.0.lock();
        match state.phase {
            Phase::Started => Ok(()),
            Phase::InitFailed(_)
            | Phase::Ready
            | Phase::Running { .. }
            | Phase::Answering { .. }
            | Phase::ResponseSent { .. }
            | Phase::Closed => Err(Refusal::Transition(state.phase.name(), "RestoreReady")),
        }
    }

    /// `POST …/invocation/{id}/response` or `/error`: accepted once, for the event that the runtime works on.
    pub(super) fn begin_answer(self: &Arc<Self>, id: &str, kind: AnswerKind) -> Result<Answering, Refusal> {
        let id: InvocationId = id.parse().map_err(|_| Refusal::InvalidRequestId)?;
        let mut state = self.0.lock();
        match &state.phase {
            Phase::Running {
                call,
                answer,
                taken: true,
            } if call.invocation == id && !answer.is_closed() => {
                let call = Arc::clone(call);
                let running = std::mem::replace(
                    &mut state.phase,
                    Phase::Answering {
                        call: Arc::clone(&call),
                        kind,
                    },
                );
                let Phase::Running { answer, .. } = running else {
                    return Err(Refusal::InvalidRequestId);
                };
                Ok(Answering {
                    exchange: Arc::clone(self),
                    call,
                    answer: Some(answer),
                })
            }
            Phase::Answering { call, .. } if call.invocation == id => {
                Err(Refusal::Transition(state.phase.name(), kind.state()))
            }
            Phase::ResponseSent { id: last } if *last == id => {
                Err(Refusal::Transition(state.phase.name(), kind.state()))
            }
            Phase::Closed => Err(Refusal::Closed),
            Phase::Running { .. }
            | Phase::Answering { .. }
            | Phase::ResponseSent { .. }
            | Phase::Started
            | Phase::InitFailed(_)
            | Phase::Ready => Err(Refusal::InvalidRequestId),
        }
    }
}

/// One connection in `next`.
struct Waiter<'a> {
    exchange: &'a Exchange,
    ticket: Option<u64>,
}

impl Waiter<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Arc<Call>, Refusal>> {
        let mut guard = self.exchange.0.lock();
        let state = &mut *guard;
        let first = self.ticket.is_none();
        let ticket = *self.ticket.get_or_insert_with(|| {
            state.tickets += 1;
            state.tickets
        });
        state.forget_abandoned(first);
        if first {
            match &state.phase {
                Phase::Started | Phase::ResponseSent { .. } => {
                    state.phase = Phase::Ready;
                    if let Some(waker) = state.ready.take() {
                        waker.wake();
                    }
                }
                // A runtime that asks again gets the same event again, as from the emulator.
                Phase::Running { call, taken: true, .. } => return Poll::Ready(Ok(Arc::clone(call))),
                Phase::InitFailed(_) | Phase::Answering { .. } => {
                    return Poll::Ready(Err(Refusal::Transition(state.phase.name(), "Ready")));
                }
                Phase::Ready | Phase::Running { taken: false, .. } | Phase::Closed => {}
            }
        }
        if matches!(state.phase, Phase::Ready)
            && let Some((call, answer)) = state.take_pending()
        {
            state.phase = Phase::Running {
                call,
                answer,
                taken: false,
            };
        }
        match &mut state.phase {
            Phase::Running {
                call,
                taken: taken @ false,
                ..
            } => {
                *taken = true;
                Poll::Ready(Ok(Arc::clone(call)))
            }
            Phase::Closed => Poll::Ready(Err(Refusal::Closed)),
            Phase::Started
            | Phase::InitFailed(_)
            | Phase::Ready
            | Phase::Running { .. }
            | Phase::Answering { .. }
            | Phase::ResponseSent { .. } => {
                match state.waiting.iter_mut().find(|(other, _)| *other == ticket) {
                    Some((_, waker)) => waker.clone_from(cx.waker()),
                    None => state.waiting.push((ticket, cx.waker().clone())),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.exchange.0.lock();
        state.waiting.retain(|(other, _)| *other != ticket);
        // Perhaps this one was woken for an event and went away before it took it.
        if matches!(state.phase, Phase::Running { taken: false, .. }) {
            state.wake_one();
        }
    }
}

/// An answer that is being read. Dropped before [`Answering::send`], the event is open again: the connection broke, and
/// the runtime may answer through another one.
#[derive(Debug)]
pub(super) struct Answering {
    exchange: Arc<Exchange>,
    call: Arc<Call>,
    answer: Option<AnswerSender>,
}

impl Answering {
    /// Hands a whole answer to the caller. The state changes first, so that a caller who sends the next event at once
    /// finds the runtime done with this one.
    pub(super) fn send(mut self, answer: Result<Reply, SessionError>) {
        let sender = self.answer.take();
        drop(self);
        if let Some(sender) = sender {
            let _ = sender.send(answer);
        }
    }

    /// Hands the beginning of a streamed answer to the caller; the runtime is answering until this is dropped.
    pub(super) fn begin_stream(&mut self, reply: Reply) {
        if let Some(sender) = self.answer.take() {
            let _ = sender.send(Ok(reply));
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.exchange.0.lock();
        if !matches!(&state.phase, Phase::Answering { call, .. } if Arc::ptr_eq(call, &self.call)) {
            return;
        }
        state.phase = match self.answer.take() {
            Some(answer) => Phase::Running {
                call: Arc::clone(&self.call),
                answer,
                taken: true,
            },
            None => Phase::ResponseSent {
                id: self.call.invocation,
            },
        };
    }
}
