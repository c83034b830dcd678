//! The right to use one instance for one event.

use std::fmt;
use std::sync::Arc;

use sonagi_model::{ColdPhases, Exit, InstanceId, InvocationId, Mebibytes, Start};
use sonagi_ports::{Contract, Session};

use crate::instance::Instance;
use crate::pool::Inner;

/// A place in a busy instance. Dropping the lease gives it back, unless an invocation has begun and not ended: nobody
/// knows then what the function is doing, and the instance gets no other event, as [`Lease::condemn`] says at any time.
pub struct Lease {
    held: Option<Held>,
    start: Start,
    phases: Option<ColdPhases>,
    /// The invocation that has begun and not ended.
    open: Option<InvocationId>,
}

/// An instance and its pool: what leases are made of.
#[derive(Clone)]
pub(crate) struct Held {
    inner: Arc<Inner>,
    instance: Arc<Instance>,
}

impl Held {
    /// A lease for one more event, which the caller has counted.
    pub(crate) fn lease(&self) -> Lease {
        Lease::new(self.inner.clone(), self.instance.clone(), None)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("instance", &self.held.as_ref().map(|held| held.instance.id))
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Lease {
    pub(crate) const fn new(inner: Arc<Inner>, instance: Arc<Instance>, phases: Option<ColdPhases>) -> Self {
        Self {
            held: Some(Held { inner, instance }),
            start: if phases.is_some() { Start::Cold } else { Start::Warm },
            phases,
            open: None,
        }
    }

    /// What further leases on the same instance are made of.
    pub(crate) fn share(&self) -> Held {
        self.held().clone()
    }

    /// Gives up the right without giving the instance back: the caller has done so.
    pub(crate) fn forget(&mut self) {
        self.held = None;
    }

    fn held(&self) -> &Held {
        self.held
            .as_ref()
            .expect("only dropping and condemning end a lease, and both consume it")
    }

    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.held().instance
    }

    /// The instance.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.instance().id
    }

    /// Whether it was started for the one who holds this.
    #[must_use]
    pub const fn start(&self) -> Start {
        self.start
    }

    /// Where the time of a cold start went.
    #[must_use]
    pub const fn phases(&self) -> Option<ColdPhases> {
        self.phases
    }

    /// The contract of its revision.
    #[must_use]
    pub fn contract(&self) -> &Arc<dyn Contract> {
        &self.instance().sub.contract
    }

    /// The conversation with it.
    #[must_use]
    pub fn session(&self) -> &Arc<dyn Session> {
        &self.instance().session
    }

    /// Waits until its process has ended. Cancel safe.
    pub async fn exited(&self) -> Exit {
        self.instance().sandbox.exited().await
    }

    /// An invocation begins: output from now on belongs to it, after these lines of the platform. With `tail`, its last
    /// so many bytes are kept for [`Lease::end`].
    pub fn begin(&mut self, invocation: InvocationId, tail: Option<usize>, lines: Vec<String>) {
        self.open = Some(invocation);
        self.instance().output.begin(Some(invocation), tail, lines);
    }

    /// Reads what the instance has printed until now. One system call where it has printed nothing.
    pub fn settle(&self) {
        self.instance().output.settle();
    }

    /// Lines of the platform during the invocation.
    pub fn say(&self, lines: Vec<String>) {
        self.instance().output.say(self.open, lines);
    }

    /// The invocation is over, with these last lines of the platform. The end of its log, if it was wanted.
    #[must_use]
    pub fn end(&mut self, lines: Vec<String>) -> Option<Vec<u8>> {
        let invocation = self.open.take();
        self.instance().output.end(invocation, lines)
    }

    /// The highest memory it has used.
    #[must_use]
    pub fn memory_peak(&self) -> Mebibytes {
        let held = self.held();
        held.instance
            .measure(&held.inner.budget, held.inner.options.first_guess)
    }

    /// The instance gets no other event, and is destroyed as soon as those that it works on are over.
    pub fn condemn(mut self) {
        if let Some(held) = self.held.take() {
            held.inner.condemn(&held.instance);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            if let Some(invocation) = self.open.take() {
                drop(held.instance.output.end(Some(invocation), Vec::new()));
                return held.inner.condemn(&held.instance);
            }
            let lease = Self {
                held: Some(Held {
                    inner: held.inner.clone(),
                    instance: held.instance,
                }),
                start: Start::Warm,
                phases: None,
                open: None,
            };
            held.inner.release(lease);
        }
    }
}
