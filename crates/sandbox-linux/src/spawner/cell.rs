//! One cell as the spawner holds it: made, filled, ended.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Gid, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use sonagi_model::{InstanceLimits, Mebibytes};
use sonagi_ports::{CellKind, Stem};

use super::child::{self, Child};
use super::nat::Slot;
use super::workshop::Workshop;
use super::{scratch, tree};
use crate::cgroup::{self, Group};
use crate::channel;
use crate::protocol::{At, Failure, StartOrder};
use crate::sys::mount::{Reach, set_attributes};
use crate::sys::process::{self, Cloned};
use crate::wire::{Branch, Kind, REPORT_LEN, Report, START_MESSAGE_MAX, STRINGS_MAX, StartHeader, Step};

/// Connections that wait to be accepted at a listener of the platform inside a cell.
const BACKLOG: i32 = 128;
/// Namespaces of a cell. The user namespace comes last, made by the stem: the others then belong to the host's, and no
/// right inside it is one over them.
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// One cell.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) init: OwnedFd,
    group: Group,
    uid: u32,
    /// The scratch space: without room until an instance has it.
    scratch: OwnedFd,
    /// Its place in the network: another cell may have it when this one is gone.
    _slot: Option<Slot>,
    /// Until the start message is sent.
    stem: Option<OwnedFd>,
    /// A runtime was booted in it ahead of demand, and what it runs comes over its channel.
    booted: bool,
    /// Where the process comes from that is no child of the init.
    vacancy: Option<Vacancy>,
    /// The init has ended and been reaped, and with it every process of the cell.
    ended: bool,
}

/// The process of a cell that a zygote forks.
#[derive(Debug)]
struct Vacancy {
    /// The init's end of the control socket, where we say how the process ended.
    control: OwnedFd,
    life: Life,
}

#[derive(Debug)]
enum Life {
    /// Until the init has made the user namespace.
    Awaited {
        zygote: u64,
        output: OwnedFd,
        channel: OwnedFd,
    },
    /// Until the zygote has answered.
    Asked,
    /// It lives, or has ended and was not reaped yet.
    Forked(OwnedFd),
    Reaped,
}

/// What a zygote is to be asked for a cell.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) zygote: u64,
    pub(super) request: Branch,
    user_namespace: OwnedFd,
    output: OwnedFd,
    channel: OwnedFd,
}

/// What the server gets of a new cell.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) control: OwnedFd,
    pub(super) stem: OwnedFd,
    pub(super) channel: OwnedFd,
    /// Output of the runtime that is booted in it.
    pub(super) output: Option<OwnedFd>,
}

/// What the server gets of a start.
#[derive(Debug)]
pub(super) struct Filled {
    /// Unless it came with the cell.
    pub(super) output: Option<OwnedFd>,
    pub(super) scratch: OwnedFd,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) sockets: Vec<OwnedFd>,
}

impl Cell {
    /// Makes a cell: returns as soon as its first process exists, which then builds the rest by itself. With a `zygote`,
    /// its process comes from that one.
    pub(super) fn prepare(
        shop: &Workshop,
        id: u64,
        uid: u32,
        kind: &CellKind,
        zygote: Option<u64>,
    ) -> Result<(Self, Ends), Failure> {
        let (control, inner_control) = channel::pair().at(Step::Sockets)?;
        let (stem, inner_stem) = channel::pair().at(Step::Sockets)?;
        let (channel, inner_channel) = stream_pair().at(Step::Sockets)?;
        let kept_stem = rustix::io::fcntl_dupfd_cloexec(&stem, 0).at(Step::Sockets)?;
        channel::make_room(stem.as_fd()).at(Step::Sockets)?;
        let scratch = scratch::make().at(Step::Scratch)?;
        let group = shop
            .hierarchy
            .create(&format!("cell-{id}"))
            .map_err(|error| of_group(Step::Groups, &error))?;
        let slot = shop.slot_for(kind.outside)?;
        let init = match process::clone_into_namespaces(NAMESPACES, group.handle().unified_folder()) {
            Ok(Cloned::Child) => {
                let (control, stem, channel) = (inner_control, inner_stem, inner_channel);
                child::run(&Child {
                    shop,
                    group: &group,
                    mounts: &kind.mounts,
                    scratch: &scratch,
                    slot: slot.as_ref(),
                    uid,
                    control,
                    stem,
                    channel,
                    vacant: zygote.is_some(),
                })
            }
            Ok(Cloned::Parent(init)) => init,
            Err(errno) => {
                if let Err(error) = group.remove() {
                    super::complain(&format!("cannot remove the groups of cell {id}: {error}"));
                }
                return Err(Failure::new(Step::Clone, errno, ""));
            }
        };
        let mut cell = Self {
            init,
            group,
            uid,
            scratch,
            _slot: slot,
            stem: Some(kept_stem),
            booted: false,
            vacancy: None,
            ended: false,
        };
        let booting = match (zygote, &kind.stem) {
            (Some(zygote), _) => cell.await_process(zygote, inner_control, inner_channel).map(Some),
            (None, Some(runtime)) => cell.boot(runtime).map(Some),
            (None, None) => Ok(None),
        };
        let output = match booting {
            Ok(output) => output,
            Err(failure) => {
                cell.give_up(id);
                return Err(failure);
            }
        };
        Ok((
            cell,
            Ends {
                control,
                stem,
                channel,
                output,
            },
        ))
    }

    /// Tells the stem what to boot as soon as it is locked down. What belongs to an instance is not there yet: it has
    /// neither code nor scratch space nor listeners, and the group has no limits.
    fn boot(&mut self, runtime: &Stem) -> Result<OwnedFd, Failure> {
        let message = start_message(&Launched {
            program: &runtime.program,
            environment: &runtime.environment,
            working_directory: "/",
            limits: &LARGEST,
            channel: true,
        })?;
        self.booted = true;
        self.send_to_stem(&message)
    }

    /// Keeps what a process from a zygote will get; our end of the output.
    fn await_process(&mut self, zygote: u64, control: OwnedFd, channel: OwnedFd) -> Result<OwnedFd, Failure> {
        let (output, inner_output) = self.new_output()?;
        self.booted = true;
        self.vacancy = Some(Vacancy {
            control,
            life: Life::Awaited {
                zygote,
                output: inner_output,
                channel,
            },
        });
        Ok(output)
    }

    /// Where the init of a vacant cell says that the user namespace is there.
    pub(super) fn namespace_door(&self) -> Option<BorrowedFd<'_>> {
        self.vacancy.as_ref().and(self.stem.as_ref()).map(AsFd::as_fd)
    }

    /// Takes the user namespace that the init has made; what to ask of the zygote then.
    pub(super) fn take_namespace(&mut self) -> Result<Asking, Failure> {
        let gone = || Failure::new(Step::UserNamespace, Errno::PROTO, "");
        let door = self.stem.take().ok_or_else(gone)?;
        let vacancy = self.vacancy.as_mut().ok_or_else(gone)?;
        let Life::Awaited {
            zygote,
            output,
            channel,
        } = std::mem::replace(&mut vacancy.life, Life::Asked)
        else {
            return Err(gone());
        };
        let mut buffer = [0; REPORT_LEN];
        let received = channel::receive(door.as_fd(), &mut buffer, RecvFlags::DONTWAIT).at(Step::UserNamespace)?;
        let user_namespace = received.descriptors.into_iter().next().ok_or_else(gone)?;
        let born = u32::from(self.group.handle().unified_folder().is_some());
        Ok(Asking {
            zygote,
            request: Branch {
                host: self.uid,
                uid: child::INNER,
                gid: child::INNER,
                born,
                descriptors: u64::from(LARGEST.descriptors),
                processes: u64::from(LARGEST.processes),
                file_size: LARGEST.memory.bytes().max(LARGEST.scratch.bytes()),
            },
            user_namespace,
            output,
            channel,
        })
    }

    /// The descriptors of a request, in order.
    pub(super) fn descriptors_of<'a>(&'a self, asking: &'a Asking) -> Vec<BorrowedFd<'a>> {
        let mut descriptors = vec![
            self.init.as_fd(),
            asking.user_namespace.as_fd(),
            asking.output.as_fd(),
            asking.channel.as_fd(),
        ];
        let doors = self.group.join_fds();
        let folder = self.group.handle().unified_folder();
        // Where there is a v2 tree its door is the last, and the process is born there.
        let born_in = usize::from(folder.is_some());
        descriptors.extend(doors[..doors.len().saturating_sub(born_in)].iter().map(AsFd::as_fd));
        descriptors.extend(folder);
        descriptors
    }

    /// The zygote has forked its process.
    pub(super) fn inhabit(&mut self, process: OwnedFd) {
        if let Some(vacancy) = &mut self.vacancy {
            vacancy.life = Life::Forked(process);
        }
    }

    /// The process that a zygote has forked.
    pub(super) fn forked(&self) -> Option<BorrowedFd<'_>> {
        match &self.vacancy.as_ref()?.life {
            Life::Forked(process) => Some(process.as_fd()),
            Life::Awaited { .. } | Life::Asked | Life::Reaped => None,
        }
    }

    /// Reaps the process that a zygote has forked, if it has ended: says how on the control socket, as an init does of its
    /// stem, and ends the cell.
    pub(super) fn reap_forked(&mut self) {
        let Some(process) = self.forked() else { return };
        let waited = rustix::process::waitid(WaitId::PidFd(process), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        let status = match waited {
            Ok(None) => return,
            Ok(Some(status)) => Some(status),
            Err(_) => None,
        };
        let report = |kind, value| Report {
            kind,
            step: Step::Execute,
            value,
        };
        let report = match status
            .as_ref()
            .map(|status| (status.exit_status(), status.terminating_signal()))
        {
            Some((Some(code), _)) => report(Kind::Exited, code),
            Some((None, Some(signal))) => report(Kind::Killed, signal),
            Some((None, None)) | None => report(Kind::Killed, libc::SIGKILL),
        };
        if let Some(vacancy) = &mut self.vacancy {
            vacancy.life = Life::Reaped;
            // Nobody there to hear it: then nobody waits for it either.
            let _ = channel::send(vacancy.control.as_fd(), &report.to_bytes(), &[], SendFlags::DONTWAIT);
        }
        self.kill();
    }

    /// Sends the start message; our end of the output.
    fn send_to_stem(&mut self, message: &[u8]) -> Result<OwnedFd, Failure> {
        let stem = self
            .stem
            .take()
            .ok_or_else(|| Failure::new(Step::Send, Errno::ALREADY, ""))?;
        let (output, inner_output) = self.new_output()?;
        channel::send(stem.as_fd(), message, &[inner_output.as_fd()], SendFlags::DONTWAIT).at(Step::Send)?;
        Ok(output)
    }

    /// The pipe behind standard output: our end and that of the program.
    fn new_output(&self) -> Result<(OwnedFd, OwnedFd), Failure> {
        let (output, inner_output) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at(Step::Pipe)?;
        rustix::io::ioctl_fionbio(&output, true).at(Step::Pipe)?;
        // So that the function may open `/dev/stdout`.
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.uid));
        rustix::fs::fchown(&inner_output, Some(uid), Some(gid)).at(Step::Pipe)?;
        Ok((output, inner_output))
    }

    /// Ends a cell that nobody has heard of.
    fn give_up(&mut self, id: u64) {
        self.kill();
        // Killed, it ends; its groups are empty then.
        let waited = rustix::process::waitid(WaitId::PidFd(self.init.as_fd()), WaitIdOptions::EXITED);
        self.ended = waited.is_ok();
        if !self.remove() {
            super::complain(&format!("the groups of cell {id} stay"));
        }
    }

    /// Descriptors of the group for the server.
    pub(super) fn group_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.group.handle_fds()
    }

    /// Moves everything of one instance in, and sends the start message.
    pub(super) fn start(&mut self, shop: &mut Workshop, order: &StartOrder) -> Result<Filled, Failure> {
        let message = if self.booted {
            None
        } else {
            Some(start_message(&Launched::of(order))?)
        };
        self.group
            .set_limits(&order.limits)
            .map_err(|error| of_group(Step::Limits, &error))?;
        let scratch = self.fill(shop, order)?;
        let (listeners, sockets) = shop.in_network_of(self.init.as_fd(), || {
            let made = |kind: SocketType, ports: &[u16]| -> Result<Vec<OwnedFd>, Failure> {
                let each = ports
                    .iter()
                    .map(|port| serve(kind, *port).at_path(Step::Listen, port.to_string()));
                each.collect()
            };
            Ok((
                made(SocketType::STREAM, &order.listeners)?,
                made(SocketType::DGRAM, &order.sockets)?,
            ))
        })?;
        let output = message.map(|message| self.send_to_stem(&message)).transpose()?;
        Ok(Filled {
            output,
            scratch,
            listeners,
            sockets,
        })
    }

    /// Mounts what belongs to one instance; the scratch mount, which now has room.
    fn fill(&self, shop: &mut Workshop, order: &StartOrder) -> Result<OwnedFd, Failure> {
        let code = tree::clone_tree(CWD, &order.code.source, tree::shown(order.code.executable)).at(Step::Code)?;
        let kind = tree::kind_of(code.as_fd()).at(Step::Code)?;
        let memory = shop.show_memory(order.limits.memory)?;
        scratch::give_room(self.scratch.as_fd(), &order.limits).at(Step::Scratch)?;
        shop.in_mounts_of(self.init.as_fd(), || {
            let root = tree::find(CWD, "/").at(Step::PlaceCode)?;
            let point = code_point(root.as_fd(), &order.code.target, kind).at(Step::PlaceCode)?;
            tree::place(code.as_fd(), point.as_fd()).at(Step::PlaceCode)?;
            match memory {
                Some(memory) => tree::place_at(memory.as_fd(), "/proc/meminfo".as_ref()).at(Step::MemoryFile),
                None => Ok(()),
            }
        })?;
        rustix::io::fcntl_dupfd_cloexec(&self.scratch, 0).at(Step::Scratch)
    }

    /// Kills everything in it. It is gone when [`Cell::reap`] and then [`Cell::remove`] have succeeded.
    pub(super) fn kill(&self) {
        if self.ended {
            return;
        }
        // Either is enough: with the first process of a pid namespace all others end. But a frozen v1 group has to be
        // thawed, and a process between clone and exec may not be in the group yet.
        if let Err(errno) = self.group.handle().kill_all() {
            super::complain(&format!("cannot kill a group: {errno}"));
        }
        match rustix::process::pidfd_send_signal(&self.init, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => super::complain(&format!("cannot kill a cell: {errno}")),
        }
    }

    /// To be called when the descriptor of the init becomes readable.
    pub(super) fn reap(&mut self) {
        if !self.ended {
            let waited = rustix::process::waitid(
                WaitId::PidFd(self.init.as_fd()),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            );
            self.ended = matches!(waited, Ok(Some(_)) | Err(Errno::CHILD));
        }
        if self.ended {
            // Whoever listens sees the end of the socket.
            self.vacancy = None;
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Removes its groups; `false` when a process in them is still on its way out.
    pub(super) fn remove(&self) -> bool {
        if !self.ended || matches!(self.group.handle().is_empty(), Ok(false)) {
            return false;
        }
        match self.group.remove() {
            Ok(()) => true,
            Err(error) => {
                super::complain(&format!("cannot remove groups: {error}"));
                false
            }
        }
    }
}

/// Folders and files of groups carry no secrets: the whole text may be told.
fn of_group(step: Step, error: &cgroup::Error) -> Failure {
    let errno = match error {
        cgroup::Error::Kernel { source, .. } => *source,
        cgroup::Error::Busy(_) => Errno::BUSY,
        cgroup::Error::Name(_) | cgroup::Error::Unusable(_) => Errno::INVAL,
    };
    Failure::new(step, errno, error.to_string())
}

/// The mount point of the code, made if the root has none: for that moment the root can be written, by nobody but us.
fn code_point(root: BorrowedFd<'_>, target: &str, kind: tree::Kind) -> Result<OwnedFd, Errno> {
    match tree::find(root, target) {
        Err(Errno::NOENT) => {}
        found => return found,
    }
    let (nothing, read_only) = (MountAttrFlags::empty(), MountAttrFlags::MOUNT_ATTR_RDONLY);
    set_attributes(root, Reach::One, nothing, read_only)?;
    let made = tree::find_or_make(root, target, kind);
    set_attributes(root, Reach::One, read_only, nothing)?;
    made
}

/// A socket of the platform on the loopback address: a listener, or one for datagrams.
fn serve(kind: SocketType, port: u16) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    if kind == SocketType::STREAM {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

/// A connected pair for bytes in order.
fn stream_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Resource limits of a process that was booted before anybody knew whose it would be. Memory, processes and the scratch
/// space of the instance are bounded by its group and its mounts.
const LARGEST: InstanceLimits = InstanceLimits::for_sizes(Mebibytes(10_240), Mebibytes(10_240));

/// What is to be executed.
struct Launched<'a> {
    program: &'a [String],
    environment: &'a [(String, String)],
    working_directory: &'a str,
    limits: &'a InstanceLimits,
    channel: bool,
}

impl<'a> Launched<'a> {
    fn of(order: &'a StartOrder) -> Self {
        Self {
            program: &order.program,
            environment: &order.environment,
            working_directory: &order.working_directory,
            limits: &order.limits,
            channel: order.channel,
        }
    }
}

/// The message for the stem.
fn start_message(order: &Launched<'_>) -> Result<Vec<u8>, Failure> {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let limits = order.limits;
    let header = StartHeader {
        arguments: count(order.program.len()),
        variables: count(order.environment.len()),
        descriptors: u64::from(limits.descriptors),
        processes: u64::from(limits.processes),
        file_size: limits.memory.bytes().max(limits.scratch.bytes()),
        channel: u64::from(order.channel),
    };
    let mut message = header.to_bytes().to_vec();
    let mut push = |parts: &[&str]| {
        for part in parts {
            message.extend_from_slice(part.as_bytes());
        }
        message.push(0);
    };
    push(&[order.working_directory]);
    order.program.iter().for_each(|argument| push(&[argument]));
    order
        .environment
        .iter()
        .for_each(|(name, value)| push(&[name, "=", value]));
    let strings = order.program.len() + order.environment.len();
    if message.len() > START_MESSAGE_MAX || strings > STRINGS_MAX {
        return Err(Failure::new(Step::Execute, Errno::TOOBIG, ""));
    }
    Ok(message)
}
