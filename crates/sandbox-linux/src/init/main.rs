//! The first process of a cell, and the stem that becomes the program.
//!
//! The init is executed by a child of the spawner that has built the cell around it. It forks the *stem*, which locks
//! itself down completely ahead of time and then waits for the message that says what to execute. The init itself
//! drops everything that it does not need, reaps what is orphaned, reports how the program ended, and ends; the kernel
//! then ends whatever else is in the cell.
//!
//! A *vacant* cell has no stem: a process of it comes from a zygote (`zygote.rs`). Its init makes the user namespace ahead,
//! gives a descriptor of it to the spawner, and then only reaps.
//!
//! Arguments: host uid (and gid) of the instance, uid inside, gid inside, 1 for a vacant cell and else 0.

#![no_std]
#![no_main]

mod landlock;
mod lock;
mod start;
mod sys;
mod wire;

use lock::{At, Failure, INVALID, Ids, lock_down, own_limits, read_filter, report};

use wire::{
    CHANNEL_FD, CONTROL_FD, FILTER_FD, Kind, PROGRAM_CHANNEL_FD, Report, START_MESSAGE_MAX, STEM_FD, STRINGS_MAX,
    StartHeader, Step,
};

/// `EMSGSIZE`.
const TOO_LONG: i32 = 90;

fn run(arguments: &start::Arguments) -> ! {
    sys::set_not_dumpable();
    match prepare(arguments) {
        Ok(Some(stem)) => watch(stem),
        Ok(None) => reap(),
        Err((step, errno)) => {
            report(CONTROL_FD, Report::failed(step, errno));
            sys::exit(1)
        }
    }
}

/// Makes the stem, or the user namespace of a vacant cell, and locks this process down; the stem's number.
fn prepare(arguments: &start::Arguments) -> Result<Option<i32>, Failure> {
    sys::close_from(CHANNEL_FD + 1, false).at(Step::CloseDescriptors)?;
    sys::die_with_parent().at(Step::ParentDeath)?;
    sys::set_file_mask(0o022);
    let number = |index| arguments.number(index).ok_or((Step::Arguments, INVALID));
    let ids = Ids {
        host: number(1)?,
        uid: number(2)?,
        gid: number(3)?,
    };
    let vacant = number(4)? == 1;
    let filter = read_filter(FILTER_FD)?;
    let [ours, theirs] = sys::socket_pair().at(Step::Sockets)?;
    let Some(child) = sys::fork().at(Step::Fork)? else {
        sys::close(ours);
        sys::close(CONTROL_FD);
        if vacant { hold(&ids, theirs) } else { grow(&ids, filter, theirs) }
    };
    sys::close(theirs);
    sys::close(CHANNEL_FD);
    expect(ours)?;
    map_ids(child, &ids)?;
    if vacant {
        give_user_namespace(child)?;
        sys::hold_child_signal().at(Step::Fork)?;
    }
    sys::close(STEM_FD);
    sys::write(ours, b"m").at(Step::IdMaps)?;
    sys::drop_capabilities().at(Step::Capabilities)?;
    sys::set_no_new_privs().at(Step::Privileges)?;
    sys::load_filter(filter).at(Step::LoadFilter)?;
    if !vacant {
        expect(ours)?;
    }
    sys::close(ours);
    report(
        CONTROL_FD,
        Report {
            kind: Kind::Ready,
            step: Step::Fork,
            value: 0,
        },
    );
    Ok((!vacant).then_some(child))
}

/// The child of a vacant cell's init: makes the user namespace as the instance's own user, and ends when it is held.
fn hold(ids: &Ids, init: i32) -> ! {
    let made = sys::drop_groups()
        .at(Step::DropGroups)
        .and_then(|()| sys::take_ids(ids.host, ids.host).at(Step::HostIds))
        .and_then(|()| make_user_namespace(init));
    match made {
        Ok(()) => sys::exit(0),
        Err((step, errno)) => {
            report(init, Report::failed(step, errno));
            sys::exit(1)
        }
    }
}

/// Sends a descriptor of the child's user namespace to the spawner.
fn give_user_namespace(child: i32) -> Result<(), Failure> {
    let namespace = in_proc(child, b"ns/user", sys::open_to_read).at(Step::UserNamespace)?;
    let ready = Report {
        kind: Kind::Ready,
        step: Step::UserNamespace,
        value: 0,
    };
    let sent = sys::send(STEM_FD, &ready.to_bytes(), namespace).at(Step::UserNamespace);
    sys::close(namespace);
    sent
}

/// Reaps what is orphaned, for as long as the cell lives. What runs in it is not our child.
fn reap() -> ! {
    loop {
        while sys::wait().is_ok() {}
        sys::wait_for_child();
    }
}

/// Waits until the stem has done its part; its failure becomes ours.
fn expect(socket: i32) -> Result<(), Failure> {
    let mut bytes = [0; wire::REPORT_LEN];
    let got = sys::read(socket, &mut bytes).at(Step::Fork)?;
    match Report::from_bytes(&bytes[..got]) {
        Some(Report { kind: Kind::Ready, .. }) => Ok(()),
        Some(Report { step, value, .. }) => Err((step, value)),
        None => Err((Step::Fork, INVALID)),
    }
}

/// Reaps until the program has ended, and reports how.
fn watch(stem: i32) -> ! {
    loop {
        match sys::wait() {
            Ok((pid, status)) if pid == stem => {
                // Source: the macros of wait(2).
                let signal = status & 0x7f;
                let (kind, value) = if signal == 0 {
                    (Kind::Exited, (status >> 8) & 0xff)
                } else {
                    (Kind::Killed, signal)
                };
                report(
                    CONTROL_FD,
                    Report {
                        kind,
                        step: Step::Execute,
                        value,
                    },
                );
                sys::exit(0)
            }
            Ok(_) => {}
            Err(_) => sys::exit(1),
        }
    }
}

/// Appends a decimal number.
fn decimal(number: u32, buffer: &mut [u8], at: &mut usize) {
    let mut digits = [0; 10];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text(&digits[first..], buffer, at);
}

/// Appends text. All texts here are far shorter than their buffers.
fn text(text: &[u8], buffer: &mut [u8], at: &mut usize) {
    buffer[*at..*at + text.len()].copy_from_slice(text);
    *at += text.len();
}

/// Writes the two maps of the stem's user namespace: one line each, one id long.
fn map_ids(stem: i32, ids: &Ids) -> Result<(), Failure> {
    write_of(stem, b"setgroups", b"deny")?;
    for (file, inner) in [(&b"uid_map"[..], ids.uid), (b"gid_map", ids.gid)] {
        let (mut line, mut len) = ([0; 32], 0);
        decimal(inner, &mut line, &mut len);
        text(b" ", &mut line, &mut len);
        decimal(ids.host, &mut line, &mut len);
        text(b" 1\n", &mut line, &mut len);
        write_of(stem, file, &line[..len])?;
    }
    Ok(())
}

/// Writes a file of another process in `/proc`.
fn write_of(pid: i32, file: &[u8], content: &[u8]) -> Result<(), Failure> {
    let fd = in_proc(pid, file, sys::open_to_write).at(Step::IdMaps)?;
    let done = sys::write(fd, content).at(Step::IdMaps).map(drop);
    sys::close(fd);
    done
}

/// Opens a file of another process in `/proc`, which is the one that we mounted.
fn in_proc(pid: i32, file: &[u8], open: impl FnOnce(&[u8]) -> Result<i32, i32>) -> Result<i32, i32> {
    let (mut path, mut len) = ([0; 40], 0);
    text(b"/proc/", &mut path, &mut len);
    decimal(pid as u32, &mut path, &mut len);
    text(b"/", &mut path, &mut len);
    text(file, &mut path, &mut len);
    open(&path[..=len])
}

/// The stem: locks itself down, waits, executes.
fn grow(ids: &Ids, filter: &[u8], init: i32) -> ! {
    if let Err((step, errno)) = lock_down(ids, filter, || make_user_namespace(init)) {
        report(init, Report::failed(step, errno));
        sys::exit(1)
    }
    report(
        init,
        Report {
            kind: Kind::Ready,
            step: Step::LoadFilter,
            value: 0,
        },
    );
    sys::close(init);
    let (step, errno) = become_program();
    report(STEM_FD, Report::failed(step, errno));
    sys::exit(127)
}

/// Moves into a user namespace of its own, and waits until the init has mapped its ids.
fn make_user_namespace(init: i32) -> Result<(), Failure> {
    sys::new_user_namespace().at(Step::UserNamespace)?;
    report(
        init,
        Report {
            kind: Kind::Ready,
            step: Step::UserNamespace,
            value: 0,
        },
    );
    let mut mapped = [0];
    if sys::read(init, &mut mapped).at(Step::IdMaps)? != 1 {
        sys::exit(1);
    }
    Ok(())
}

/// Waits for the start message and executes what it says; returns only with what failed.
fn become_program() -> Failure {
    match start() {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

enum Never {}

fn start() -> Result<Never, Failure> {
    let buffer = sys::map(START_MESSAGE_MAX).at(Step::Receive)?;
    let (len, descriptors) = sys::receive(STEM_FD, buffer).at(Step::Receive)?;
    if len == 0 {
        // The cell is not needed any more.
        sys::exit(0);
    }
    let message: &'static [u8] = &buffer[..len];
    let &[output] = descriptors.as_slice() else {
        return Err((Step::Output, INVALID));
    };
    sys::duplicate(output, 1).at(Step::Output)?;
    sys::duplicate(output, 2).at(Step::Output)?;
    let (header, strings) = StartHeader::split(message).ok_or((Step::Receive, INVALID))?;
    if header.arguments as usize + header.variables as usize > STRINGS_MAX {
        return Err((Step::Receive, TOO_LONG));
    }
    let mut strings = Strings { rest: strings };
    let folder = strings.next()?;
    let mut arguments = sys::PointerList::with_room(header.arguments as usize).at(Step::Receive)?;
    let mut program = None;
    for _ in 0..header.arguments {
        let argument = strings.next()?;
        program = program.or(Some(argument));
        arguments.push(argument).at(Step::Receive)?;
    }
    let mut variables = sys::PointerList::with_room(header.variables as usize).at(Step::Receive)?;
    for _ in 0..header.variables {
        variables.push(strings.next()?).at(Step::Receive)?;
    }
    let program = program.ok_or((Step::Receive, INVALID))?;
    own_limits(header.file_size, header.processes, header.descriptors)?;
    sys::enter(folder).at(Step::WorkingDirectory)?;
    let kept = if header.channel == 0 {
        0
    } else {
        sys::duplicate(CHANNEL_FD, PROGRAM_CHANNEL_FD).at(Step::CloseDescriptors)?;
        1
    };
    // This socket stays until exec succeeds, to tell if it does not.
    sys::close_from(PROGRAM_CHANNEL_FD + kept, true).at(Step::CloseDescriptors)?;
    report(
        STEM_FD,
        Report {
            kind: Kind::Executing,
            step: Step::Execute,
            value: 0,
        },
    );
    Err((Step::Execute, sys::execute(program, &arguments, &variables)))
}

/// Strings that end with a NUL, one after the other.
struct Strings {
    rest: &'static [u8],
}

impl Strings {
    /// The next one, its NUL included.
    fn next(&mut self) -> Result<&'static [u8], Failure> {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or((Step::Receive, INVALID))?;
        let (string, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        Ok(string)
    }
}
