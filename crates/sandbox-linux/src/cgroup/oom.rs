//! Telling a function's memory from its files under `/tmp`, and ending those that use too much of the former.
//!
//! Files on a tmpfs are charged to the group that writes them, in the same counter as memory. A function with 128 MiB of
//! memory and 512 MiB of scratch must be able to fill its scratch, and must not be able to use 640 MiB of memory. So:
//!
//! - The kernel enforces the sum of both by itself, at once, whatever happens here.
//! - An alarm rings when use grows beyond memory alone: a v1 threshold (which the kernel checks every 128 pages) or the
//!   `high` event of v2. Until then nothing runs, so an instance that leaves `/tmp` empty costs nothing.
//! - Setting a v1 alarm takes an RCU grace period, and removing a group waits for that. So a new instance is looked at
//!   every 10 ms instead, until it has run for 200 ms.
//! - After an alarm, what is used beyond the files in the scratch mount and the page cache is compared with memory, again
//!   every 10 ms while use stays above memory and the instance is not frozen. Beyond it, the limit is set to memory and
//!   scratch files: on v2 the kernel then reclaims what it can, and kills. On v1 it reclaims and says whether that was
//!   enough, and if not the group is killed here and counted as one kill for want of memory.
//!
//! Tried on v1 and found unusable: a limit of memory alone with `oom_kill_disable`, raised when the kernel reports that
//! it was hit. Since Linux 4.19 only page faults from user mode wait for that; a write to a tmpfs file fails with ENOMEM
//! and a read into a fresh buffer with EFAULT, and no notice is given.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rustix::event::EventfdFlags;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use sonagi_model::InstanceLimits;

use super::handle::Back;
use super::{BYTES_PER_SCRATCH_ENTRY, GroupHandle, files, hard_limit};

/// Instances waiting for their alarm. Those for which there is no room go on being looked at.
const ALARM_QUEUE: usize = 1024;
/// Between two looks at instances that are new or use more than their memory.
const LOOK_MS: i64 = 10;
/// The same while all of them are frozen: one may have been thawed.
const LOOK_FROZEN_MS: i64 = 500;
/// Looks after an alarm that turned out to be nothing: the kernel rings before it kills.
const LOOKS_AFTER_ALARM: u32 = 20;
/// Looks at a new instance before it gets an alarm.
const LOOKS_BEFORE_ALARM: u32 = 20;
/// The descriptor in the poll set by which other threads call the watching one.
const CALLED: u64 = 0;

/// Watches the memory of any number of instances with two threads, which sleep while all of them are within theirs.
#[derive(Debug)]
pub struct OomWatch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Watches one instance until it is dropped.
#[derive(Debug)]
pub struct OomGuard {
    entry: Arc<Entry>,
    shared: Arc<Shared>,
}

impl OomGuard {
    /// As [`GroupHandle::oom_kills`] on the handle that is watched, or on a clone of it.
    ///
    /// # Errors
    /// As there.
    pub fn oom_kills(&self) -> Result<u64, Errno> {
        self.entry.group.oom_kills()
    }
}

#[derive(Debug)]
struct Shared {
    poll: OwnedFd,
    call: OwnedFd,
    entries: Mutex<HashMap<u64, Arc<Entry>>>,
    /// Entries to look at, told by other threads.
    told: Mutex<Vec<u64>>,
    stopping: AtomicBool,
    next: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    group: GroupHandle,
    scratch: OwnedFd,
    memory: u64,
    hard: u64,
    alarm: OnceLock<OwnedFd>,
    /// v2: it is not slowed down at present.
    relaxed: AtomicBool,
}

/// Why the watching thread looks at an instance.
#[derive(Debug, Default)]
struct Due {
    /// Looks that are due although it is within its memory.
    left: u32,
    /// Looks without an alarm.
    without: u32,
    asked: bool,
}

impl Due {
    fn ask_for_alarm(&mut self, entry: Arc<Entry>, alarms: &SyncSender<Arc<Entry>>) {
        if self.asked || entry.alarm.get().is_some() {
            return;
        }
        self.without += 1;
        // When there is no room, the next look asks again.
        self.asked = self.without > LOOKS_BEFORE_ALARM && alarms.try_send(entry).is_ok();
    }
}

/// What one look at an instance found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It uses no more than its memory, scratch included.
    Within,
    /// It uses more, and that is scratch or could be taken back.
    Elevated,
    /// It was ended, or has ended.
    Over,
}

impl OomWatch {
    /// Starts the two threads.
    ///
    /// # Errors
    /// When the system has no descriptor or no thread for it.
    pub fn new() -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            poll: epoll::create(CreateFlags::CLOEXEC)?,
            call: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            entries: Mutex::default(),
            told: Mutex::default(),
            stopping: AtomicBool::new(false),
            next: AtomicU64::new(CALLED + 1),
        });
        epoll::add(&shared.poll, &shared.call, EventData::new_u64(CALLED), EventFlags::IN)?;
        let (alarms, waiting) = sync_channel(ALARM_QUEUE);
        let mut watch = Self {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
        };
        let other = Arc::clone(&shared);
        watch
            .threads
            .push(thread("memory-alarms", move || set_alarms(&other, &waiting))?);
        watch
            .threads
            .push(thread("memory-watch", move || shared.watch(&alarms))?);
        Ok(watch)
    }

    /// Watches one instance. `scratch` is any descriptor on its scratch mount. A kill is counted on this handle and its
    /// clones.
    #[must_use]
    pub fn watch(&self, group: GroupHandle, scratch: OwnedFd, limits: &InstanceLimits) -> OomGuard {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry {
            id,
            group,
            scratch,
            memory: limits.memory.bytes(),
            hard: hard_limit(limits),
            alarm: OnceLock::new(),
            relaxed: AtomicBool::new(false),
        });
        self.shared.entries.lock().insert(id, Arc::clone(&entry));
        self.shared.tell(id);
        OomGuard {
            entry,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Instances watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.entries.lock().len()
    }

    /// Whether no instance is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for OomWatch {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.call();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Drop for OomGuard {
    fn drop(&mut self) {
        // Its alarm is closed with the last reference, which takes it out of the poll set.
        self.shared.entries.lock().remove(&self.entry.id);
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 * 1024)
        .spawn(body)
}

/// Sets alarms, one after the other, until nobody is left to ask for one.
fn set_alarms(shared: &Shared, waiting: &Receiver<Arc<Entry>>) {
    while let Ok(entry) = waiting.recv() {
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        if !shared.entries.lock().contains_key(&entry.id) {
            continue;
        }
        match entry.set_alarm(shared) {
            // Use may have grown beyond memory before the alarm was set.
            Ok(()) => shared.tell(entry.id),
            Err(Errno::NODEV | Errno::NOENT) => {}
            Err(error) => tracing::warn!(%error, "no memory alarm: the instance is looked at instead"),
        }
    }
}

impl Shared {
    fn tell(&self, id: u64) {
        self.told.lock().push(id);
        self.call();
    }

    fn call(&self) {
        let _ = rustix::io::write(&self.call, &1_u64.to_ne_bytes());
    }

    fn entry(&self, id: u64) -> Option<Arc<Entry>> {
        self.entries.lock().get(&id).cloned()
    }

    /// Looks at instances that rang, were told, or used more than their memory at the last look.
    fn watch(&self, alarms: &SyncSender<Arc<Entry>>) {
        let mut due: HashMap<u64, Due> = HashMap::new();
        let mut events = [MaybeUninit::<Event>::uninit(); 64];
        let mut wait = None;
        while !self.stopping.load(Ordering::Acquire) {
            let rang = match epoll::wait(&self.poll, &mut events, wait.as_ref()) {
                Ok((rang, _)) => rang,
                Err(Errno::INTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "the memory watch has stopped: scratch space can be used as memory");
                    return;
                }
            };
            for event in rang {
                let id = event.data.u64();
                if id == CALLED {
                    let _ = rustix::io::read(&self.call, &mut [0; 8]);
                } else if let Some(entry) = self.entry(id) {
                    entry.acknowledge();
                    due.entry(id).or_default().left = LOOKS_AFTER_ALARM;
                }
            }
            for id in std::mem::take(&mut *self.told.lock()) {
                due.entry(id).or_default();
            }
            wait = self.look(&mut due, alarms);
        }
    }

    /// One look at everything that is due. Says how long to wait for the next; `None`: until called.
    fn look(&self, due: &mut HashMap<u64, Due>, alarms: &SyncSender<Arc<Entry>>) -> Option<Timespec> {
        let mut running = false;
        due.retain(|id, due| {
            let Some(entry) = self.entry(*id) else { return false };
            if entry.group.is_frozen() {
                return true;
            }
            let keep = match entry.look() {
                Ok(Look::Elevated) => true,
                Ok(Look::Within) if due.left > 0 => {
                    due.left -= 1;
                    true
                }
                // Without an alarm it must be looked at for as long as it lives.
                Ok(Look::Within) => entry.alarm.get().is_none(),
                Ok(Look::Over) | Err(Errno::NODEV | Errno::NOENT) => false,
                Err(error) => {
                    tracing::warn!(%error, "cannot see the memory of an instance");
                    true
                }
            };
            if keep {
                running = true;
                due.ask_for_alarm(entry, alarms);
            }
            keep
        });
        let pause = if running { LOOK_MS } else { LOOK_FROZEN_MS };
        (!due.is_empty()).then_some(Timespec {
            tv_sec: 0,
            tv_nsec: pause * 1_000_000,
        })
    }
}

impl Entry {
    fn set_alarm(&self, shared: &Shared) -> Result<(), Errno> {
        let (alarm, flags) = match self.group.back() {
            Back::V1(v1) => (v1.alarm(self.memory)?, EventFlags::IN),
            Back::V2(v2) => (v2.alarm()?, EventFlags::PRI),
        };
        let alarm = self.alarm.get_or_init(|| alarm);
        epoll::add(&shared.poll, alarm, EventData::new_u64(self.id), flags)
    }

    fn acknowledge(&self) {
        let Some(alarm) = self.alarm.get() else { return };
        match self.group.back() {
            Back::V1(_) => {
                let _ = rustix::io::read(alarm, &mut [0; 8]);
            }
            Back::V2(_) => drop(files::read_from_start(alarm.as_fd())),
        }
    }

    fn look(&self) -> Result<Look, Errno> {
        if self.group.oom_kills()? > 0 {
            // The v1 kernel kills one process of the group; an instance that lost one is of no use.
            self.group.kill_all()?;
            return Ok(Look::Over);
        }
        if self.group.usage()? <= self.memory {
            self.slow_down_again()?;
            return Ok(Look::Within);
        }
        // Scratch is read after memory: what is written between the two makes us too kind, not too hard.
        let held = self.group.held()?;
        let scratch = self.scratch_used()?;
        let allowed = self.memory.saturating_add(scratch);
        if held <= allowed {
            self.let_run()?;
            return Ok(Look::Elevated);
        }
        self.enforce(allowed)
    }

    fn enforce(&self, allowed: u64) -> Result<Look, Errno> {
        match self.group.back() {
            Back::V1(v1) => {
                if !v1.is_beyond(allowed, self.hard)? {
                    return Ok(Look::Elevated);
                }
                self.group.kill_for_memory()?;
            }
            Back::V2(v2) => {
                v2.enforce(allowed)?;
                if v2.oom_kills()? == 0 {
                    // There was something to take back after all.
                    v2.enforce(self.hard)?;
                    return Ok(Look::Elevated);
                }
            }
        }
        tracing::debug!(allowed, "an instance was ended for using more than its memory");
        Ok(Look::Over)
    }

    /// v2: slowed down from the point where use grows beyond memory.
    fn slow_down_again(&self) -> Result<(), Errno> {
        match self.group.back() {
            Back::V2(v2) if self.relaxed.swap(false, Ordering::Relaxed) => v2.set_high(Some(self.memory)),
            Back::V1(_) | Back::V2(_) => Ok(()),
        }
    }

    /// v2: not slowed down while what it uses is scratch.
    fn let_run(&self) -> Result<(), Errno> {
        match self.group.back() {
            Back::V2(v2) if !self.relaxed.swap(true, Ordering::Relaxed) => v2.set_high(None),
            Back::V1(_) | Back::V2(_) => Ok(()),
        }
    }

    /// Bytes that the files in the scratch mount take.
    fn scratch_used(&self) -> Result<u64, Errno> {
        let found = rustix::fs::fstatvfs(&self.scratch)?;
        let content = found
            .f_blocks
            .saturating_sub(found.f_bfree)
            .saturating_mul(found.f_frsize);
        let entries = found
            .f_files
            .saturating_sub(found.f_ffree)
            .saturating_mul(BYTES_PER_SCRATCH_ENTRY);
        Ok(content.saturating_add(entries))
    }
}
