//! Zygotes: runtimes that are booted once and fork a process into each cell of their kind.
//!
//! A zygote is a part of this spawner that happens to be written in another language: it has the host's rights, a root
//! like that of a cell, no network, and nothing of a tenant, ever. It hears requests on a socket and answers in order.
//! What its processes share (the layout of their memory, the seed of hashes) is renewed with it, after
//! [`FORKS_MAX`] processes or [`AGE_MAX_SECS`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::time::ClockId;
use sonagi_ports::{CellKind, Stem, ZYGOTE_VARIABLE};

use super::child;
use super::root;
use super::scratch;
use super::texts;
use super::workshop::Workshop;
use crate::cgroup::Group;
use crate::channel;
use crate::protocol::{At, Failure, When};
use crate::sys::process::{self, Cloned};
use crate::wire::{Branch, Kind, REPORT_LEN, Report, Step, ZYGOTE_CONTROL_FD, ZYGOTE_FILTER_FD, ZYGOTE_LIBRARY_FD};

/// Most zygotes at once. The one asked the longest ago goes when another is needed.
const ZYGOTES_MAX: usize = 8;
/// Most kinds that are remembered because they did not boot.
const BROKEN_MAX: usize = 32;
/// Processes forked by one zygote.
const FORKS_MAX: u32 = 1000;
/// Age of a zygote.
const AGE_MAX_SECS: i64 = 3600;
/// Its own namespaces. It shares that of processes, for only from there can it put a process into a cell.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// How far a zygote is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Booting,
    Ready,
}

#[derive(Debug)]
struct Zygote {
    number: u64,
    kind: CellKind,
    state: State,
    process: OwnedFd,
    control: OwnedFd,
    group: Group,
    /// Cells for which a process was asked, in order.
    asked: VecDeque<u64>,
    forks: u32,
    born_secs: i64,
}

/// All zygotes of the spawner. The one asked last comes first.
#[derive(Debug, Default)]
pub(super) struct Zygotes {
    all: Vec<Zygote>,
    next: u64,
    /// Kinds that did not boot and are not tried again: their cells execute their stems instead.
    broken: VecDeque<CellKind>,
}

/// What a zygote has said.
#[derive(Debug)]
pub(super) enum Heard {
    /// It forked a process for this cell.
    Forked(u64, OwnedFd),
    /// It could not, for this cell.
    Failed(u64, Failure),
    /// It has ended: these cells get nothing.
    Ended(Vec<u64>),
}

impl Zygotes {
    /// The zygote to ask for a process of this kind. If cells of the kind are made ahead and there is no zygote, one is
    /// booted, which is then not ready yet. `watch` is called with the socket and the number of a new one.
    pub(super) fn find(
        &mut self,
        shop: &Workshop,
        kind: &CellKind,
        when: When,
        watch: impl FnOnce(BorrowedFd<'_>, u64) -> Result<(), Errno>,
    ) -> Option<u64> {
        let stem = kind.stem.as_ref().filter(|stem| stem.forks)?;
        if let Some(at) = self.all.iter().position(|zygote| zygote.kind == *kind) {
            let zygote = self.all.remove(at);
            let (number, ready) = (zygote.number, zygote.state == State::Ready);
            self.all.insert(0, zygote);
            return ready.then_some(number);
        }
        if when == When::OnDemand || self.broken.contains(kind) {
            return None;
        }
        if self.all.len() >= ZYGOTES_MAX {
            let idle = self.all.iter().rposition(|zygote| zygote.asked.is_empty())?;
            self.all.remove(idle).end();
        }
        self.next += 1;
        match Zygote::boot(shop, self.next, kind, stem) {
            Ok(zygote) => match watch(zygote.control.as_fd(), zygote.number) {
                Ok(()) => self.all.insert(0, zygote),
                Err(errno) => {
                    super::complain(&format!("cannot watch a zygote: {errno}"));
                    zygote.end();
                }
            },
            Err(failure) => super::complain(&format!("cannot boot a zygote: {failure}")),
        }
        None
    }

    /// Asks for a process in a cell; the answer is heard later.
    pub(super) fn ask(
        &mut self,
        number: u64,
        cell: u64,
        request: Branch,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Failure> {
        let zygote = self.all.iter_mut().find(|zygote| zygote.number == number);
        let zygote = zygote.ok_or_else(|| Failure::new(Step::Branch, Errno::SRCH, ""))?;
        channel::send(
            zygote.control.as_fd(),
            &request.to_bytes(),
            descriptors,
            SendFlags::DONTWAIT,
        )
        .at(Step::Branch)?;
        zygote.asked.push_back(cell);
        zygote.forks += 1;
        Ok(())
    }

    /// Reads what a zygote has said; `None` when there is nothing more.
    pub(super) fn hear(&mut self, number: u64) -> Option<Heard> {
        loop {
            let at = self.all.iter().position(|zygote| zygote.number == number)?;
            let zygote = &mut self.all[at];
            let mut buffer = [0; REPORT_LEN];
            let (report, mut descriptors) =
                match channel::receive(zygote.control.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
                    Ok(got) if got.length > 0 => (Report::from_bytes(&buffer[..got.length]), got.descriptors),
                    Err(Errno::AGAIN) => return None,
                    Ok(_) | Err(_) => return Some(Heard::Ended(self.ended(at))),
                };
            match (zygote.state, report) {
                (State::Booting, Some(Report { kind: Kind::Ready, .. })) => zygote.state = State::Ready,
                (State::Booting, _) => return Some(Heard::Ended(self.ended(at))),
                (State::Ready, report) => {
                    let cell = zygote.asked.pop_front()?;
                    let is_over = zygote.is_old() && zygote.asked.is_empty();
                    let failed = |step, errno| Heard::Failed(cell, Failure::reported(step, errno, &[]));
                    let heard = match (report, descriptors.pop()) {
                        (Some(Report { kind: Kind::Ready, .. }), Some(process)) => Heard::Forked(cell, process),
                        (Some(Report { step, value, .. }), _) => failed(step, value),
                        (None, _) => failed(Step::Branch, libc::EPROTO),
                    };
                    if is_over {
                        self.all.remove(at).end();
                    }
                    return Some(heard);
                }
            }
        }
    }

    /// A zygote has ended by itself; the cells that wait for it. One that has never booted is not tried again.
    fn ended(&mut self, at: usize) -> Vec<u64> {
        let mut zygote = self.all.remove(at);
        let waiting = zygote.asked.drain(..).collect();
        match zygote.state {
            State::Booting => {
                super::complain("a zygote did not boot; its runtime is executed in each cell instead");
                self.broken.truncate(BROKEN_MAX - 1);
                self.broken.push_front(zygote.kind.clone());
            }
            State::Ready => super::complain("a zygote has ended; another is booted when it is needed"),
        }
        zygote.end();
        waiting
    }

    /// Ends the zygote of a kind that is not needed any more.
    pub(super) fn retire(&mut self, kind: &CellKind) {
        if let Some(at) = self
            .all
            .iter()
            .position(|zygote| zygote.kind == *kind && zygote.asked.is_empty())
        {
            self.all.remove(at).end();
        }
    }

    /// Those that still owe an answer, and where it will come.
    pub(super) fn owing(&self) -> Option<(u64, BorrowedFd<'_>)> {
        let zygote = self.all.iter().find(|zygote| !zygote.asked.is_empty())?;
        Some((zygote.number, zygote.control.as_fd()))
    }

    /// Ends all of them.
    pub(super) fn end(&mut self) {
        self.all.drain(..).for_each(Zygote::end);
    }
}

fn now_secs() -> i64 {
    rustix::time::clock_gettime(ClockId::Monotonic).tv_sec
}

impl Zygote {
    fn boot(shop: &Workshop, number: u64, kind: &CellKind, stem: &Stem) -> Result<Self, Failure> {
        let (control, inner) = channel::pair().at(Step::Sockets)?;
        let group = shop
            .hierarchy
            .create(&format!("zygote-{number}"))
            .map_err(|error| Failure::new(Step::Groups, Errno::IO, error.to_string()))?;
        match process::clone_into_namespaces(NAMESPACES, group.handle().unified_folder()) {
            Ok(Cloned::Child) => {
                let failure = match become_zygote(shop, &group, kind, stem, &inner) {
                    Ok(never) => match never {},
                    Err(failure) => failure,
                };
                super::complain(&format!("zygote: {failure}"));
                process::exit_now(1)
            }
            Ok(Cloned::Parent(process)) => Ok(Self {
                number,
                kind: kind.clone(),
                state: State::Booting,
                process,
                control,
                group,
                asked: VecDeque::new(),
                forks: 0,
                born_secs: now_secs(),
            }),
            Err(errno) => {
                drop(group.remove());
                Err(Failure::new(Step::Clone, errno, ""))
            }
        }
    }

    fn is_old(&self) -> bool {
        self.forks >= FORKS_MAX || now_secs() - self.born_secs >= AGE_MAX_SECS
    }

    /// Ends its process and removes its group. What it has forked lives on.
    fn end(self) {
        match rustix::process::pidfd_send_signal(&self.process, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => super::complain(&format!("cannot end a zygote: {errno}")),
        }
        // Killed, it ends at once.
        let _ = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        if let Err(error) = self.group.remove() {
            super::complain(&format!("cannot remove the groups of a zygote: {error}"));
        }
    }
}

/// In the new process: a root like that of a cell, then the runtime.
fn become_zygote(
    shop: &Workshop,
    group: &Group,
    kind: &CellKind,
    stem: &Stem,
    control: &OwnedFd,
) -> Result<Infallible, Failure> {
    child::begin(shop)?;
    let scratch = scratch::make().at(Step::Scratch)?;
    root::build(shop, &kind.mounts, &scratch)?;
    rustix::system::sethostname(texts::HOSTNAME.as_bytes()).at(Step::Hostname)?;
    child::enter_group(group)?;
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at(Step::Descriptors)?;
    let (control, filter, library) = (
        child::aside(control)?,
        child::aside(&shop.filter)?,
        child::aside(&shop.zygote)?,
    );
    // What it has to say goes where ours goes, to the log.
    for (fd, place) in [
        (&nothing, 0),
        (&nothing, 1),
        (&control, ZYGOTE_CONTROL_FD),
        (&filter, ZYGOTE_FILTER_FD),
        (&library, ZYGOTE_LIBRARY_FD),
    ] {
        process::place_descriptor(fd.as_fd(), place).at(Step::Descriptors)?;
    }
    process::close_from(ZYGOTE_LIBRARY_FD + 1).at(Step::CloseDescriptors)?;
    let string = |text: &str| CString::new(text).map_err(|_| Failure::new(Step::Arguments, Errno::INVAL, ""));
    let arguments = stem
        .program
        .iter()
        .map(|text| string(text))
        .collect::<Result<Vec<_>, _>>()?;
    let library = format!("{ZYGOTE_VARIABLE}=/proc/self/fd/{ZYGOTE_LIBRARY_FD}");
    let mut variables = vec![string(&library)?];
    for (name, value) in &stem.environment {
        variables.push(string(&format!("{name}={value}"))?);
    }
    Err(Failure::new(
        Step::Execute,
        process::execute_path(&arguments, &variables),
        "a zygote",
    ))
}
