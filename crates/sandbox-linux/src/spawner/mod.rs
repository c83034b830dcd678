//! The spawner: a single-threaded process, started before the server has threads, that alone does what needs the host's
//! rights. It takes typed orders from one socket, and ends, with all its cells, when that socket closes.
//!
//! It is the same executable, run again with a hidden argument: its memory is small, so it forks fast, and holds
//! nothing of the server's.

mod cell;
mod child;
mod nat;
mod root;
mod scratch;
mod texts;
mod tree;
mod workshop;
mod zygote;

use std::collections::HashMap;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::Resource;
use sonagi_ports::CellKind;

use self::cell::Cell;
use self::nat::Nat;
use self::workshop::Workshop;
use self::zygote::{Heard, Zygotes};
use crate::cgroup::Hierarchy;
use crate::channel::{self, MESSAGE_MAX};
use crate::launch::{Denied, ProcView};
use crate::protocol::{self, Answer, At, Configured, Failure, Order, Reply, Request, SPAWNER_ARGUMENT, When};
use crate::sys::process;
use crate::wire::Step;

/// The number of the server's socket among events; cells have theirs from 1.
const SERVER: u64 = 0;
/// Added to the number of a cell for the process in it that is no child of its init.
const FORKED: u64 = 1 << 61;
/// Added to the number of a cell for the user namespace that its init makes.
const NAMESPACE: u64 = 1 << 62;
/// Added to the number of a zygote.
const ZYGOTE: u64 = 1 << 63;
/// A request that nobody made: requests are numbered from 1.
const NOBODY: u64 = 0;
/// Between two looks at a cell that has ended and whose groups are not empty yet.
const RETRY: Duration = Duration::from_millis(1);
/// Looks of [`RETRY`] at the end, when all cells must go.
const LAST_LOOKS: usize = 10_000;
/// Longest wait at the end for a zygote to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Looks of 10 ms for an earlier spawner on the same folder to end.
const LOCK_LOOKS: usize = 1_000;

/// Runs the spawner and ends the process, if this process was started as one; otherwise does nothing. To be called
/// first in `main`, before any thread exists.
pub fn maybe_run() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == SPAWNER_ARGUMENT)
    {
        let status = match run() {
            Ok(()) => 0,
            Err(failure) => {
                complain(&failure.to_string());
                1
            }
        };
        std::process::exit(status);
    }
}

/// To the log of the server, whose standard error we share.
fn complain(text: &str) {
    // Not with a macro that panics when nobody reads it any more.
    let _ = writeln!(std::io::stderr(), "spawner: {text}");
}

fn run() -> Result<(), Failure> {
    // Signals of a terminal or a service manager are for the server: our end is the end of its socket.
    rustix::process::setsid().at(Step::Session)?;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        process::ignore_signal(signal);
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::thread::set_name(c"sonagi-spawner").at(Step::Session)?;
    // Each cell takes about a dozen. A program gets its own limit.
    let mut descriptors = rustix::process::getrlimit(Resource::Nofile);
    descriptors.current = descriptors.maximum;
    rustix::process::setrlimit(Resource::Nofile, descriptors).at(Step::Descriptors)?;
    let server = std::io::stdin();
    let server = server.as_fd();
    channel::make_room(server).at(Step::Sockets)?;
    let mut buffer = vec![0; MESSAGE_MAX];
    let Some(request) = next_request(server, &mut buffer)? else {
        return Ok(());
    };
    let Order::Configure {
        folder,
        node,
        proc_view,
        nat,
    } = request.order
    else {
        return Err(Failure::new(
            Step::Receive,
            Errno::PROTO,
            "the first order must configure",
        ));
    };
    let answer = |answer| protocol::send(server, &Reply { id: request.id, answer }, &[], SendFlags::empty());
    let asked = Asked {
        node: &node,
        proc_view,
        nat: nat.as_ref(),
    };
    match configure(&folder, &asked) {
        Ok((spawner, configured, _lock)) => {
            answer(configured).at(Step::Send)?;
            spawner.serve(server, &mut buffer)
        }
        Err(failure) => answer(Answer::Failed(failure)).at(Step::Send),
    }
}

/// The next order, waiting for it; `None` when the server is gone.
fn next_request(server: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<Request>, Failure> {
    let length = channel::receive(server, buffer, RecvFlags::empty())
        .at(Step::Receive)?
        .length;
    if length == 0 {
        return Ok(None);
    }
    serde_json::from_slice(&buffer[..length])
        .map(Some)
        .map_err(|error| Failure::new(Step::Receive, Errno::PROTO, error.to_string()))
}

/// What the server asks for at first.
struct Asked<'a> {
    node: &'a str,
    proc_view: ProcView,
    nat: Option<&'a Denied>,
}

fn configure(folder: &Path, asked: &Asked<'_>) -> Result<(Spawner, Answer, OwnedFd), Failure> {
    let lock = lock(&folder.join("spawner.lock"))?;
    let unusable = |error: crate::cgroup::Error| Failure::new(Step::Groups, Errno::OPNOTSUPP, error.to_string());
    let hierarchy = Hierarchy::detect(asked.node).map_err(unusable)?;
    let swept = hierarchy.sweep().map_err(unusable)?;
    if let Err(reason) = nat::sweep(folder, asked.node) {
        return Err(Failure::new(Step::Network, Errno::BUSY, reason));
    }
    let groups = hierarchy.describe().to_string();
    let mut shop = Workshop::open(folder, hierarchy, asked.proc_view)?;
    let nat = match asked.nat.map(|denied| Nat::open(folder, asked.node, denied)) {
        Some(Ok((nat, told))) => {
            shop.nat = Some(nat);
            Some(Ok(told))
        }
        Some(Err(reason)) => Some(Err(reason)),
        None => None,
    };
    let events = epoll::create(CreateFlags::CLOEXEC).at(Step::Sockets)?;
    let spawner = Spawner {
        shop,
        events,
        cells: HashMap::new(),
        leaving: HashMap::new(),
        zygotes: Zygotes::default(),
    };
    Ok((spawner, Answer::Configured(Configured { swept, groups, nat }), lock))
}

/// Waits until no earlier spawner uses the folder: one whose server was killed is still removing its cells.
fn lock(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).at_path(Step::Files, path)?;
    for _ in 0..LOCK_LOOKS {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::AGAIN) => pause(Duration::from_millis(10)),
            Err(errno) => return Err(Failure::new(Step::Files, errno, path.display().to_string())),
        }
    }
    Err(Failure::new(
        Step::Files,
        Errno::BUSY,
        format!("{} is locked by an earlier spawner", path.display()),
    ))
}

fn pause(time: Duration) {
    // Interrupted means shorter, and every caller looks again.
    let _ = rustix::event::poll(&mut [], Some(&timespec(time)));
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

struct Spawner {
    shop: Workshop,
    events: OwnedFd,
    cells: HashMap<u64, Cell>,
    /// Cells that were killed and are not gone yet, with the request that wants to know when they are.
    leaving: HashMap<u64, u64>,
    zygotes: Zygotes,
}

impl Spawner {
    /// Serves orders until the server is gone or cannot be understood any more, then ends every cell.
    fn serve(mut self, server: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(), Failure> {
        let served = self.obey_all(server, buffer);
        served.and(self.end())
    }

    fn obey_all(&mut self, server: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(), Failure> {
        epoll::add(&self.events, server, EventData::new_u64(SERVER), EventFlags::IN).at(Step::Sockets)?;
        let mut events = [MaybeUninit::<Event>::uninit(); 64];
        loop {
            // Only cells that have ended and whose groups are not empty yet need a look without an event.
            let waiting = self
                .leaving
                .keys()
                .any(|id| self.cells.get(id).is_some_and(Cell::has_ended));
            let wait = waiting.then(|| timespec(RETRY));
            let ready = match epoll::wait(&self.events, &mut events, wait.as_ref()) {
                Ok((ready, _)) => ready,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Failure::new(Step::Receive, errno, "")),
            };
            let mut called = false;
            for event in ready {
                match event.data.u64() {
                    SERVER => called = true,
                    id if id & ZYGOTE != 0 => self.hear(id & !ZYGOTE),
                    id if id & NAMESPACE != 0 => self.ask_zygote(id & !NAMESPACE),
                    id if id & FORKED != 0 => self.reap_forked(id & !FORKED),
                    id => self.reap(id),
                }
            }
            self.remove_leaving(server);
            if called {
                match next_request(server, buffer)? {
                    Some(request) => self.obey(server, request)?,
                    None => return Ok(()),
                }
            }
        }
    }

    fn obey(&mut self, server: BorrowedFd<'_>, request: Request) -> Result<(), Failure> {
        let id = request.id;
        let failed = |failure| (Answer::Failed(failure), Vec::new());
        let (answer, descriptors) = match request.order {
            Order::Configure { .. } => failed(Failure::new(Step::Receive, Errno::PROTO, "configured already")),
            Order::Prepare { cell, uid, kind, when } => match self.prepare(cell, uid, &kind, when) {
                Ok((answer, descriptors)) => (answer, descriptors),
                Err(failure) => failed(failure),
            },
            Order::Retire { kind } => {
                self.zygotes.retire(&kind);
                (Answer::Retired, Vec::new())
            }
            Order::Start(order) => match self.cells.get_mut(&order.cell) {
                Some(cell) => match cell.start(&mut self.shop, &order) {
                    Ok(filled) => {
                        let mut descriptors = vec![filled.scratch];
                        descriptors.extend(filled.output);
                        descriptors.extend(filled.listeners);
                        descriptors.extend(filled.sockets);
                        (Answer::Started, descriptors)
                    }
                    Err(failure) => failed(failure),
                },
                None => failed(Failure::new(Step::Send, Errno::SRCH, "no such cell")),
            },
            Order::Destroy { cell } => match self.cells.get(&cell) {
                Some(found) => {
                    found.kill();
                    self.leaving.insert(cell, id);
                    self.remove_leaving(server);
                    return Ok(());
                }
                None => (Answer::Destroyed, Vec::new()),
            },
        };
        let descriptors = channel::borrow_all(&descriptors);
        self.answer(server, id, answer, &descriptors)
    }

    fn answer(&self, server: BorrowedFd<'_>, id: u64, answer: Answer, fds: &[BorrowedFd<'_>]) -> Result<(), Failure> {
        match protocol::send(server, &Reply { id, answer }, fds, SendFlags::empty()) {
            // Its end is an event of its own.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(Failure::new(Step::Send, errno, "")),
        }
    }

    /// Makes a cell. Whatever is booted ahead of demand comes from a zygote, if one is ready, or else is executed; on
    /// demand only a zygote is faster than executing the program itself.
    fn prepare(&mut self, id: u64, uid: u32, kind: &CellKind, when: When) -> Result<(Answer, Vec<OwnedFd>), Failure> {
        if id == SERVER || id >= FORKED || self.cells.contains_key(&id) {
            return Err(Failure::new(Step::Groups, Errno::EXIST, "cell number in use"));
        }
        let events = &self.events;
        let zygote = self.zygotes.find(&self.shop, kind, when, |control, number| {
            epoll::add(events, control, EventData::new_u64(ZYGOTE | number), EventFlags::IN)
        });
        let bare = CellKind {
            mounts: kind.mounts.clone(),
            stem: None,
            outside: kind.outside,
        };
        let kind = match (when, zygote) {
            (When::OnDemand, None) => &bare,
            (When::OnDemand, Some(_)) | (When::Ahead, _) => kind,
        };
        let (cell, ends) = Cell::prepare(&self.shop, id, uid, kind, zygote)?;
        let watched = self.watch(id, &cell);
        let booted = ends.output.is_some();
        let mut descriptors = vec![ends.control, ends.stem, ends.channel];
        descriptors.extend(ends.output);
        let copied = cell.group_fds().into_iter().try_for_each(|fd| {
            descriptors.push(rustix::io::fcntl_dupfd_cloexec(fd, 0).at(Step::Groups)?);
            Ok(())
        });
        let done = watched.and(copied);
        if done.is_err() {
            cell.kill();
            self.leaving.insert(id, NOBODY);
        }
        self.cells.insert(id, cell);
        done.map(|()| (Answer::Prepared { booted }, descriptors))
    }

    fn watch(&self, id: u64, cell: &Cell) -> Result<(), Failure> {
        let add =
            |fd, number| epoll::add(&self.events, fd, EventData::new_u64(number), EventFlags::IN).at(Step::Sockets);
        add(cell.init.as_fd(), id)?;
        cell.namespace_door().map_or(Ok(()), |door| add(door, NAMESPACE | id))
    }

    /// The user namespace of a vacant cell is there, or its init has ended.
    fn ask_zygote(&mut self, id: u64) {
        let Some(cell) = self.cells.get_mut(&id) else { return };
        if let Some(door) = cell.namespace_door() {
            // The server has the same socket open: closing ours would not take it off.
            let _ = epoll::delete(&self.events, door);
        }
        let asked = cell.take_namespace().and_then(|asking| {
            let descriptors = cell.descriptors_of(&asking);
            self.zygotes.ask(asking.zygote, id, asking.request, &descriptors)
        });
        if let Err(failure) = asked {
            complain(&format!("cell {id} gets no process: {failure}"));
            cell.kill();
        }
    }

    fn hear(&mut self, number: u64) {
        while let Some(heard) = self.zygotes.hear(number) {
            match heard {
                Heard::Forked(id, process) => self.inhabit(id, process),
                Heard::Failed(id, failure) => {
                    complain(&format!("cell {id} gets no process: {failure}"));
                    self.kill(id);
                }
                Heard::Ended(waiting) => waiting.into_iter().for_each(|id| self.kill(id)),
            }
        }
    }

    fn kill(&self, id: u64) {
        if let Some(cell) = self.cells.get(&id) {
            cell.kill();
        }
    }

    /// A process was forked into a cell, which cannot be gone: the kernel lets no init end before such a process was
    /// reaped by us.
    fn inhabit(&mut self, id: u64, process: OwnedFd) {
        let Some(cell) = self.cells.get_mut(&id) else {
            complain(&format!("a process was forked for cell {id}, which is gone"));
            return;
        };
        cell.inhabit(process);
        let Some(process) = cell.forked() else { return };
        if let Err(errno) = epoll::add(&self.events, process, EventData::new_u64(FORKED | id), EventFlags::IN) {
            complain(&format!("cannot watch the process of cell {id}: {errno}"));
            cell.kill();
        }
    }

    fn reap_forked(&mut self, id: u64) {
        if let Some(cell) = self.cells.get_mut(&id) {
            cell.reap_forked();
        }
    }

    fn reap(&mut self, id: u64) {
        if let Some(cell) = self.cells.get_mut(&id) {
            cell.reap();
            if cell.has_ended() {
                // It would be ready for ever.
                let _ = epoll::delete(&self.events, &cell.init);
            }
        }
    }

    /// Removes what has ended of those that are to go, and says so.
    fn remove_leaving(&mut self, server: BorrowedFd<'_>) {
        let cells = &mut self.cells;
        let mut gone = Vec::new();
        self.leaving.retain(|cell, request| {
            let removed = cells.get(cell).is_none_or(Cell::remove);
            if removed {
                cells.remove(cell);
                gone.push(*request);
            }
            !removed
        });
        for request in gone {
            if let Err(failure) = self.answer(server, request, Answer::Destroyed, &[]) {
                complain(&failure.to_string());
            }
        }
    }

    /// Ends every cell and removes everything.
    fn end(mut self) -> Result<(), Failure> {
        self.cells.values().for_each(Cell::kill);
        // A process under way into a cell must be known to be reaped.
        while let Some((number, control)) = self.zygotes.owing() {
            if !matches!(
                rustix::event::poll(
                    &mut [PollFd::new(&control, PollFlags::IN)],
                    Some(&timespec(ANSWER_LIMIT))
                ),
                Ok(1)
            ) {
                break;
            }
            self.hear(number);
        }
        self.zygotes.end();
        if let Some(nat) = self.shop.nat.take() {
            nat.close();
        }
        for _ in 0..LAST_LOOKS {
            self.cells.values_mut().for_each(Cell::reap_forked);
            self.cells.values_mut().for_each(Cell::reap);
            self.cells.retain(|_, cell| !cell.remove());
            if self.cells.is_empty() {
                break;
            }
            pause(RETRY);
        }
        if !self.cells.is_empty() {
            return Err(Failure::new(
                Step::Groups,
                Errno::BUSY,
                format!("{} cells would not go", self.cells.len()),
            ));
        }
        self.shop
            .hierarchy
            .remove_root()
            .map_err(|error| Failure::new(Step::Groups, Errno::BUSY, error.to_string()))
    }
}
