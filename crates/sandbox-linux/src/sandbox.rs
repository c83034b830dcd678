//! The port: starts instances, keeps cells ready, ends everything.

use std::collections::HashMap;
use std::fs::File;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_ports::{CellKind, LaunchPlan, Prepared, Readiness, Sandbox, SandboxError, Started};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cell::{Cell, Running};
use crate::cgroup::OomWatch;
use crate::instance::Instance;
use crate::launch::Spawner;
use crate::link::Link;
use crate::plan;
use crate::protocol::{Order, When, words};
use crate::ready::{Next, Ready};
use crate::uids::Uids;

/// Longest wait for all instances to go.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(15);
/// Longest wait of the refill for a moment without starts.
const QUIET_LIMIT: Duration = Duration::from_millis(50);
/// How long nobody must have started anything before a cell is made ahead, and if none of its kind is ready.
const QUIET: Duration = Duration::from_millis(8);
const URGENT_QUIET: Duration = Duration::from_millis(3);
/// Between looks at whether demand has faded, while more is kept ready than a platform at rest needs.
const TRIM_PAUSE: Duration = Duration::from_secs(5);
/// Pause after a cell could not be made ahead of time.
const REFILL_PAUSE: Duration = Duration::from_secs(1);

/// Sandboxes made of Linux namespaces and control groups.
#[derive(Debug)]
pub struct LinuxSandbox {
    inner: Arc<Inner>,
}

/// What every task of the sandbox shares.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) uids: Mutex<Uids>,
    pub(crate) next_cell: AtomicU64,
    ready: Mutex<Ready<Cell>>,
    refill: Notify,
    instances: Mutex<HashMap<u64, Arc<Instance>>>,
    /// Instances that are starting or not entirely gone.
    alive: watch::Sender<usize>,
    /// Starts under way.
    starting: watch::Sender<usize>,
    stopping: CancellationToken,
    memory_watch: OomWatch,
    tasks: TaskTracker,
    runtime: Handle,
    process: Mutex<Option<Child>>,
    /// Held until the end: no other server may use the folder.
    _lock: File,
}

/// One more in a count for as long as it lives.
#[derive(Debug)]
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// An instance that is starting or not entirely gone.
#[derive(Debug)]
pub(crate) struct Alive(Counted);

impl Alive {
    /// It would not go: it is counted for ever.
    pub(crate) fn stays(self) {
        std::mem::forget(self.0);
    }
}

impl LinuxSandbox {
    /// Takes the spawner over. To be called on the runtime that is to run the sandbox.
    ///
    /// # Errors
    /// When the system has no descriptor or thread for it.
    pub fn attach(spawner: Spawner) -> std::io::Result<Arc<Self>> {
        let inner = Arc::new(Inner {
            link: Link::new(spawner.socket)?,
            uids: Mutex::new(Uids::new(spawner.uids)),
            next_cell: AtomicU64::new(1),
            ready: Mutex::new(Ready::new(spawner.ready)),
            refill: Notify::new(),
            instances: Mutex::default(),
            alive: watch::Sender::new(0),
            starting: watch::Sender::new(0),
            stopping: CancellationToken::new(),
            memory_watch: OomWatch::new()?,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            process: Mutex::new(Some(spawner.process)),
            _lock: spawner.lock,
        });
        let listening = Arc::clone(&inner);
        inner.in_background(async move { listening.link.listen().await });
        inner.in_background(Arc::clone(&inner).keep_ready());
        Ok(Arc::new(Self { inner }))
    }

    /// Cells that wait for a program, of whatever kind.
    #[must_use]
    pub fn ready_cells(&self) -> usize {
        self.inner.ready.lock().len()
    }

    /// Waits until the spawner is gone. Unless [`Sandbox::shut_down`] was called that means that no instance can be
    /// started any more and all are ending: the server should end too.
    pub async fn spawner_exited(&self) {
        self.inner.link.ended().cancelled().await;
    }
}

impl Drop for LinuxSandbox {
    fn drop(&mut self) {
        self.inner.stopping.cancel();
        // What these hold refers back to what holds them.
        drop(self.inner.ready.lock().clear());
        let instances = std::mem::take(&mut *self.inner.instances.lock());
        instances.values().for_each(|instance| instance.begin_to_end());
        self.inner.link.close();
    }
}

impl Inner {
    /// Runs a task that is waited for at the end.
    pub(crate) fn in_background(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn_on(task, &self.runtime));
    }

    /// A cell is gone.
    pub(crate) fn forget(&self, cell: u64) {
        self.instances.lock().remove(&cell);
    }

    async fn start(self: &Arc<Self>, plan: LaunchPlan) -> Result<Started, SandboxError> {
        plan::check(&plan)?;
        let alive = Alive(Counted::new(&self.alive));
        let _starting = Counted::new(&self.starting);
        // Only now: whoever stops the sandbox waits for those that are counted.
        if self.stopping.is_cancelled() {
            return Err(SandboxError::Stopping);
        }
        let begun = Instant::now();
        let mut cell = self.cell_for(&plan.cell, alive).await?;
        let had_cell = Instant::now();
        let (limits, with_channel, met) = (plan.limits.clone(), plan.channel, plan.meets_in_scratch);
        let Running {
            listeners,
            sockets,
            output,
            scratch,
        } = cell.start(plan).await?;
        let executed = Instant::now();
        let meeting = met.then(|| rustix::io::fcntl_dupfd_cloexec(&scratch, 0)).transpose();
        let meeting = meeting.map_err(|errno| SandboxError::Host {
            action: "share the scratch space",
            reason: words(errno),
        })?;
        let oom = self.memory_watch.watch(cell.group.clone(), scratch, &limits);
        let number = cell.claim.number();
        let instance = Arc::new(Instance::new(cell.claim, cell.group, oom, limits.cpu_cap_millis));
        let watching = Arc::clone(&instance);
        self.in_background(async move { watching.watch(cell.control).await });
        self.instances.lock().insert(number, Arc::clone(&instance));
        if self.stopping.is_cancelled() {
            instance.begin_to_end();
            return Err(SandboxError::Stopping);
        }
        Ok(Started {
            sandbox: instance,
            listeners,
            sockets,
            channel: with_channel.then(|| cell.channel.into()),
            scratch: meeting,
            output,
            cell: had_cell - begun,
            process: executed - had_cell,
        })
    }

    async fn cell_for(self: &Arc<Self>, kind: &CellKind, alive: Alive) -> Result<Cell, SandboxError> {
        loop {
            let taken = self.ready.lock().take(kind, Instant::now());
            self.refill.notify_one();
            let Some(mut cell) = taken else { break };
            if cell.is_waiting() {
                cell.count(alive);
                return Ok(cell);
            }
            tracing::warn!("a cell that was kept ready has ended");
        }
        Cell::prepare(self, kind, When::OnDemand, Some(alive)).await
    }

    /// Makes cells that are expected, one after the other, when nobody starts; lets go of those that are not worth their
    /// memory any more.
    async fn keep_ready(self: Arc<Self>) {
        let made = async {
            loop {
                let swollen = self.ready.lock().is_swollen();
                tokio::select! {
                    () = self.refill.notified() => {}
                    () = tokio::time::sleep(TRIM_PAUSE), if swollen => {}
                }
                loop {
                    drop(self.trim());
                    let next = self.ready.lock().next();
                    let Some(next) = next else { break };
                    self.make_ready(&next).await;
                }
            }
        };
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = self.link.ended().cancelled() => {}
            () = made => {}
        }
    }

    fn trim(&self) -> Vec<Cell> {
        self.ready.lock().trim(Instant::now())
    }

    async fn make_ready(self: &Arc<Self>, next: &Next) {
        let settle = if next.urgent { URGENT_QUIET } else { QUIET };
        // Busy all the time means that cells are needed all the more.
        drop(tokio::time::timeout(QUIET_LIMIT, self.quiet(settle)).await);
        // What is booted for cells that nobody expects would stay.
        if self.ready.lock().called_off(&next.kind) {
            return;
        }
        let begun = Instant::now();
        match Cell::prepare(self, &next.kind, When::Ahead, None).await {
            Ok(cell) => drop(self.ready.lock().put(&next.kind, cell, begun.elapsed())),
            Err(error) => {
                tracing::warn!(%error, "cannot make a cell ahead of time");
                tokio::time::sleep(REFILL_PAUSE).await;
                self.ready.lock().failed(&next.kind);
            }
        }
    }

    /// Waits until nobody has started anything for so long: what was just started is to have the processors.
    async fn quiet(&self, settle: Duration) {
        let mut starting = self.starting.subscribe();
        loop {
            drop(starting.wait_for(|starting| *starting == 0).await);
            tokio::select! {
                () = tokio::time::sleep(settle) => return,
                changed = starting.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn shut_down(&self) -> usize {
        self.stopping.cancel();
        let ready = self.ready.lock().clear();
        drop(ready);
        let instances: Vec<_> = self.instances.lock().values().cloned().collect();
        instances.iter().for_each(|instance| instance.begin_to_end());
        drop(instances);
        let mut alive = self.alive.subscribe();
        // Starts under way end by themselves: they see that we are stopping.
        drop(tokio::time::timeout(SHUT_DOWN_LIMIT, alive.wait_for(|alive| *alive == 0)).await);
        let left = *self.alive.borrow();
        // The spawner removes what is left, then ends.
        self.link.close();
        self.tasks.close();
        drop(tokio::time::timeout(SHUT_DOWN_LIMIT, self.tasks.wait()).await);
        let process = self.process.lock().take();
        if let Some(mut process) = process {
            let ended = tokio::task::spawn_blocking(move || process.wait());
            match tokio::time::timeout(SHUT_DOWN_LIMIT, ended).await {
                Ok(Ok(Ok(status))) if status.success() => {}
                other => tracing::error!(?other, "the spawner did not end well"),
            }
        }
        left
    }
}

#[async_trait]
impl Sandbox for LinuxSandbox {
    async fn start(&self, plan: LaunchPlan) -> Result<Started, SandboxError> {
        self.inner.start(plan).await
    }

    fn expect(&self, kind: &CellKind, cells: usize) {
        if self.inner.stopping.is_cancelled() {
            return;
        }
        if let Err(error) = plan::check_kind(kind) {
            tracing::warn!(%error, "such cells cannot be expected");
            return;
        }
        let surplus = self.inner.ready.lock().expect(kind, cells, Instant::now());
        drop(surplus);
        if cells == 0 && kind.stem.as_ref().is_some_and(|stem| stem.forks) {
            let (inner, kind) = (Arc::clone(&self.inner), kind.clone());
            self.inner.in_background(async move {
                // A spawner that is gone has none.
                drop(inner.link.ask(Order::Retire { kind }).await);
            });
        }
        self.inner.refill.notify_one();
    }

    fn readiness(&self) -> Vec<(Prepared, Readiness)> {
        self.inner.ready.lock().readiness()
    }

    fn alive(&self) -> usize {
        *self.inner.alive.borrow()
    }

    async fn shut_down(&self) -> usize {
        self.inner.shut_down().await
    }
}
