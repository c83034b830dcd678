//! Instances without processes: what a test tells them to do, they do.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_model::{Exit, Mebibytes};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{CellKind, LaunchPlan, RunningSandbox, Sandbox, SandboxError, Started};

/// How one start goes.
#[derive(Debug, Default)]
pub struct FakeStart {
    /// How long it takes.
    pub takes: Duration,
    /// How it fails, if it does.
    pub fails: Option<SandboxError>,
    /// What its process prints at once.
    pub prints: String,
    /// How its process ends at once, if it does.
    pub exits: Option<Exit>,
}

type Behavior = Box<dyn Fn(&LaunchPlan) -> FakeStart + Send + Sync>;

/// A [`Sandbox`] that starts nothing. Standard output is one end of a socket pair, listeners are real ones on ports
/// that the system chose.
pub struct FakeSandbox {
    behavior: Behavior,
    script: Mutex<VecDeque<FakeStart>>,
    instances: Mutex<Vec<Arc<FakeInstance>>>,
    expected: Mutex<Vec<(CellKind, usize)>>,
    under_way: AtomicU32,
    stopping: AtomicBool,
}

impl fmt::Debug for FakeSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSandbox")
            .field("alive", &self.alive())
            .finish_non_exhaustive()
    }
}

impl Default for FakeSandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeSandbox {
    /// Every start succeeds at once.
    #[must_use]
    pub fn new() -> Self {
        Self::behaving(|_| FakeStart::default())
    }

    /// Every start goes as `behavior` says.
    #[must_use]
    pub fn behaving(behavior: impl Fn(&LaunchPlan) -> FakeStart + Send + Sync + 'static) -> Self {
        Self {
            behavior: Box::new(behavior),
            script: Mutex::default(),
            instances: Mutex::default(),
            expected: Mutex::default(),
            under_way: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// The next starts go like this, in this order, before any other.
    pub fn script(&self, starts: impl IntoIterator<Item = FakeStart>) {
        self.script.lock().extend(starts);
    }

    /// Every instance ever started, in order.
    #[must_use]
    pub fn instances(&self) -> Vec<Arc<FakeInstance>> {
        self.instances.lock().clone()
    }

    /// The instance that was started last.
    ///
    /// # Panics
    /// When none was.
    #[must_use]
    pub fn last(&self) -> Arc<FakeInstance> {
        self.instances.lock().last().expect("an instance was started").clone()
    }

    /// Starts that have begun and neither succeeded nor failed.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::SeqCst)
    }

    /// What it was told to expect.
    #[must_use]
    pub fn expected(&self) -> Vec<(CellKind, usize)> {
        self.expected.lock().clone()
    }
}

/// Counts a start while it is under way, dropped or not.
struct UnderWay<'a>(&'a AtomicU32);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn host(action: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |error| SandboxError::Host {
        action,
        reason: error.to_string(),
    }
}

fn listen(_port: &u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn bind(_port: &u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn output() -> io::Result<(UnixStream, OwnedFd)> {
    let (writer, reader) = UnixStream::pair()?;
    writer.set_nonblocking(true)?;
    reader.set_nonblocking(true)?;
    Ok((writer, reader.into()))
}

/// Both ends of the channel, if there is to be one.
fn channel(plan: &LaunchPlan) -> io::Result<(Option<UnixStream>, Option<UnixStream>)> {
    if !plan.channel {
        return Ok((None, None));
    }
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((Some(ours), Some(theirs)))
}

#[async_trait]
impl Sandbox for FakeSandbox {
    async fn start(&self, plan: LaunchPlan) -> Result<Started, SandboxError> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(SandboxError::Stopping);
        }
        let _counted = UnderWay::new(&self.under_way);
        let scripted = self.script.lock().pop_front();
        let start = scripted.unwrap_or_else(|| (self.behavior)(&plan));
        let begun = Instant::now();
        if !start.takes.is_zero() {
            tokio::time::sleep(start.takes).await;
        }
        if let Some(error) = start.fails {
            return Err(error);
        }
        let listeners = plan.listeners.iter().map(listen).collect::<Result<_, _>>();
        let listeners = listeners.map_err(host("bind a listener"))?;
        let sockets = plan.sockets.iter().map(bind).collect::<Result<_, _>>();
        let sockets = sockets.map_err(host("bind a socket"))?;
        let (writer, output) = output().map_err(host("make the output"))?;
        let (channel, far) = channel(&plan).map_err(host("make the channel"))?;
        let instance = Arc::new(FakeInstance::new(plan, writer, far));
        instance.print(&start.prints);
        if let Some(exit) = start.exits {
            instance.exit(exit);
        }
        self.instances.lock().push(instance.clone());
        Ok(Started {
            sandbox: instance,
            listeners,
            sockets,
            channel,
            scratch: None,
            output,
            cell: Duration::ZERO,
            process: begun.elapsed(),
        })
    }

    fn expect(&self, kind: &CellKind, cells: usize) {
        self.expected.lock().push((kind.clone(), cells));
    }

    fn alive(&self) -> usize {
        self.instances
            .lock()
            .iter()
            .filter(|instance| !instance.is_destroyed())
            .count()
    }

    async fn shut_down(&self) -> usize {
        self.stopping.store(true, Ordering::SeqCst);
        for instance in self.instances() {
            instance.destroy().await;
        }
        self.alive()
    }
}

/// One instance of a [`FakeSandbox`].
#[derive(Debug)]
pub struct FakeInstance {
    plan: LaunchPlan,
    output: Mutex<Option<UnixStream>>,
    channel: Mutex<Option<UnixStream>>,
    end: watch::Sender<Option<Exit>>,
    memory_peak: Mutex<Mebibytes>,
    frozen: AtomicBool,
    freezes: AtomicU32,
    thaws: AtomicU32,
    initialized: AtomicBool,
    destroyed: AtomicBool,
    refuses_thaw: AtomicBool,
}

impl FakeInstance {
    fn new(plan: LaunchPlan, output: UnixStream, channel: Option<UnixStream>) -> Self {
        Self {
            plan,
            output: Mutex::new(Some(output)),
            channel: Mutex::new(channel),
            end: watch::Sender::new(None),
            memory_peak: Mutex::new(Mebibytes(20)),
            frozen: AtomicBool::new(false),
            freezes: AtomicU32::new(0),
            thaws: AtomicU32::new(0),
            initialized: AtomicBool::new(false),
            destroyed: AtomicBool::new(false),
            refuses_thaw: AtomicBool::new(false),
        }
    }

    /// What it was started from.
    #[must_use]
    pub const fn plan(&self) -> &LaunchPlan {
        &self.plan
    }

    /// Its process prints this. What does not fit into the buffer of the system is lost.
    pub fn print(&self, text: &str) {
        if let Some(output) = self.output.lock().as_mut() {
            // A full buffer would stop a real process; a fake one goes on.
            let _ = output.write(text.as_bytes());
        }
    }

    /// Its process ends, unless it has ended.
    pub fn exit(&self, exit: Exit) {
        let ended = self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(exit);
            }
            first
        });
        if ended {
            *self.output.lock() = None;
            *self.channel.lock() = None;
        }
    }

    /// The function's end of the channel, once.
    #[must_use]
    pub fn take_channel(&self) -> Option<UnixStream> {
        self.channel.lock().take()
    }

    /// Its peak of memory from now on.
    pub fn set_memory_peak(&self, peak: Mebibytes) {
        *self.memory_peak.lock() = peak;
    }

    /// From now on it cannot be thawed.
    pub fn refuse_thaw(&self) {
        self.refuses_thaw.store(true, Ordering::SeqCst);
    }

    /// Whether it is frozen now.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst)
    }

    /// How often it went from running to frozen.
    #[must_use]
    pub fn freezes(&self) -> u32 {
        self.freezes.load(Ordering::SeqCst)
    }

    /// How often it went from frozen to running.
    #[must_use]
    pub fn thaws(&self) -> u32 {
        self.thaws.load(Ordering::SeqCst)
    }

    /// Whether it was told that its initialization is over.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::SeqCst)
    }

    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_destroyed(&self) -> bool {
        self.destroyed.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl RunningSandbox for FakeInstance {
    fn freeze(&self) -> Result<(), SandboxError> {
        if !self.frozen.swap(true, Ordering::SeqCst) {
            self.freezes.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn thaw(&self) -> Result<(), SandboxError> {
        if self.refuses_thaw.load(Ordering::SeqCst) {
            return Err(SandboxError::Host {
                action: "thaw",
                reason: "refused by a test".to_owned(),
            });
        }
        if self.frozen.swap(false, Ordering::SeqCst) {
            self.thaws.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn initialized(&self) {
        self.initialized.store(true, Ordering::SeqCst);
    }

    async fn exited(&self) -> Exit {
        let mut end = self.end.subscribe();
        let seen = end
            .wait_for(Option::is_some)
            .await
            .expect("the sender lives as long as this instance");
        seen.expect("it has just been seen")
    }

    fn memory_peak(&self) -> Mebibytes {
        *self.memory_peak.lock()
    }

    async fn destroy(&self) {
        self.exit(Exit::Reclaimed);
        self.destroyed.store(true, Ordering::SeqCst);
    }
}
