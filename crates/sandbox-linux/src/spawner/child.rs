//! The child of the spawner that builds a cell around itself and then becomes its init.
//!
//! It runs with the host's full rights, so it is short, touches no path that a user chose, and everything that it uses
//! was made by the spawner.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::process::Signal;
use sonagi_ports::Mount;

use super::nat::Slot;
use super::workshop::Workshop;
use super::{root, texts};
use crate::cgroup::{Group, join};
use crate::channel;
use crate::protocol::{At, Failure};
use crate::sys::{network, process};
use crate::wire::{CHANNEL_FD, CONTROL_FD, FILTER_FD, Report, STEM_FD, Step};

/// User and group of a function as it sees them itself.
const INNER_ID: &CStr = c"1000";
/// The same, as a number.
pub(super) const INNER: u32 = 1000;
/// Lowest number for a descriptor that is to be moved to its place: all places are below.
const ABOVE_PLACES: i32 = 10;
/// How willingly the kernel takes a process when the host has no memory left: the platform goes last.
const OOM_SCORE: &[u8] = b"500";

/// What the child needs.
#[derive(Debug)]
pub(super) struct Child<'a> {
    pub(super) shop: &'a Workshop,
    pub(super) group: &'a Group,
    pub(super) mounts: &'a [Mount],
    pub(super) scratch: &'a OwnedFd,
    /// Its place in the network, if it has one.
    pub(super) slot: Option<&'a Slot>,
    pub(super) uid: u32,
    pub(super) control: OwnedFd,
    pub(super) stem: OwnedFd,
    pub(super) channel: OwnedFd,
    /// Whether what runs in it comes from elsewhere.
    pub(super) vacant: bool,
}

/// A copy of a descriptor above all places, so that placing one never closes another.
pub(super) fn aside(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    rustix::io::fcntl_dupfd_cloexec(fd, ABOVE_PLACES).at(Step::Descriptors)
}

/// The descriptors that the init gets, aside.
#[derive(Debug)]
struct Aside {
    init: OwnedFd,
    filter: OwnedFd,
    control: OwnedFd,
    stem: OwnedFd,
    channel: OwnedFd,
}

impl Aside {
    fn of(child: &Child<'_>) -> Result<Self, Failure> {
        Ok(Self {
            init: aside(&child.shop.init)?,
            filter: aside(&child.shop.filter)?,
            control: aside(&child.control)?,
            stem: aside(&child.stem)?,
            channel: aside(&child.channel)?,
        })
    }
}

/// Becomes the init of a cell, or reports on the control socket what failed. Never returns.
pub(super) fn run(child: &Child<'_>) -> ! {
    match Aside::of(child) {
        Ok(aside) => {
            let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| become_init(child, &aside)));
            let failure = match built {
                Ok(Err(failure)) => failure,
                Ok(Ok(never)) => match never {},
                Err(_) => Failure::new(Step::Root, Errno::FAULT, "panicked"),
            };
            report(&aside.control, &failure);
        }
        Err(failure) => report(&child.control, &failure),
    }
    process::exit_now(1)
}

fn report(control: &OwnedFd, failure: &Failure) {
    let mut message = Report::failed(failure.step(), failure.errno().raw_os_error())
        .to_bytes()
        .to_vec();
    message.extend_from_slice(failure.detail());
    // Nobody there to hear it: then nobody waits for it either.
    let _ = channel::send(control.as_fd(), &message, &[], SendFlags::empty());
}

fn become_init(child: &Child<'_>, aside: &Aside) -> Result<Infallible, Failure> {
    begin(child.shop)?;
    // While the host's `/proc` is in sight.
    if let (Some(nat), Some(slot)) = (&child.shop.nat, child.slot) {
        nat.connect(slot, child.shop.own_network())?;
    }
    root::build(child.shop, child.mounts, child.scratch)?;
    rustix::system::sethostname(texts::HOSTNAME.as_bytes()).at(Step::Hostname)?;
    bring_loopback_up()?;
    enter_group(child.group)?;
    let uid = CString::new(child.uid.to_string()).map_err(|_| Failure::new(Step::Arguments, Errno::INVAL, ""))?;
    place_descriptors(aside)?;
    let vacant = if child.vacant { c"1" } else { c"0" };
    let errno = process::execute(aside.init.as_fd(), &[c"init", &uid, INNER_ID, INNER_ID, vacant]);
    Err(Failure::new(Step::ExecInit, errno, ""))
}

/// What every child of the spawner does first.
pub(super) fn begin(shop: &Workshop) -> Result<(), Failure> {
    die_with_spawner(shop)?;
    process::reset_signals();
    make_expendable();
    Ok(())
}

/// The kernel kills this process when the spawner ends; it may have ended before that was said.
fn die_with_spawner(shop: &Workshop) -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(Step::ParentDeath)?;
    let mut spawner = [PollFd::new(&shop.myself, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut spawner, Some(&now)) {
        Ok(0) => Ok(()),
        _ => Err(Failure::new(Step::ParentGone, Errno::SRCH, "")),
    }
}

/// Without the right to do it, the kernel's own choice stands.
fn make_expendable() {
    let file = rustix::fs::open(
        "/proc/self/oom_score_adj",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let _ = file.and_then(|file| rustix::io::write(&file, OOM_SCORE));
}

fn bring_loopback_up() -> Result<(), Failure> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    socket
        .and_then(|socket| network::bring_loopback_up(socket.as_fd()))
        .at(Step::Loopback)
}

/// Joins every group that this process was not born in. The group namespace comes after: its root is where we are then.
pub(super) fn enter_group(group: &Group) -> Result<(), Failure> {
    let doors = group.join_fds();
    // Where there is a v2 tree its door is the last, and clone has put us there.
    let born_in = usize::from(group.handle().unified_folder().is_some());
    join(&doors[..doors.len().saturating_sub(born_in)]).at(Step::JoinGroups)?;
    process::new_group_namespace().at(Step::GroupNamespace)
}

/// Puts every descriptor that the init knows at its number. Those of the spawner that this process has inherited are
/// closed by exec, or by the init.
fn place_descriptors(aside: &Aside) -> Result<(), Failure> {
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .and_then(|nothing| rustix::io::fcntl_dupfd_cloexec(nothing, ABOVE_PLACES))
        .at(Step::Descriptors)?;
    let places = [
        (&nothing, 0),
        (&nothing, 1),
        (&nothing, 2),
        (&aside.control, CONTROL_FD),
        (&aside.stem, STEM_FD),
        (&aside.filter, FILTER_FD),
        (&aside.channel, CHANNEL_FD),
    ];
    for (fd, place) in places {
        process::place_descriptor(fd.as_fd(), place).at(Step::Descriptors)?;
    }
    Ok(())
}
