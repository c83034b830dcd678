//! The first process of a cell, and the stem that becomes the program.
//!
//! The init is executed by a child of the spawner that has built the cell around it. It forks the *stem*, which locks
//! itself down completely ahead of time and then waits for the message that says what to execute. The init itself
//! drops everything that it does not need, reaps what is orphaned, reports how the program ended, and ends; the kernel
//! then ends whatever else is in the cell.
//!
//! Arguments: host uid (and gid) of the instance, uid inside, gid inside.

#![no_std]
#![no_main]

mod lock;
mod start;
mod sys;
mod wire;

use lock::{At, Failure, INVALID, Ids, TOO_LONG, lock_down, own_limits, read_filter, report};

use wire::{
    CHANNEL_FD, CONTROL_FD, FILTER_FD, Kind, PROGRAM_CHANNEL_FD, Report, START_MESSAGE_MAX, STEM_FD, STRINGS_MAX,
    StartHeader, Step,
};

fn run(arguments: &start::Arguments) -> ! {
    sys::set_not_dumpable();
    match prepare(arguments) {
        Ok(stem) => watch(stem),
        Err((step, errno)) => {
            report(CONTROL_FD, Report::failed(step, errno));
            sys::exit(1)
        }
    }
}

/// Makes the stem and locks this process down; the stem's number.
fn prepare(arguments: &start::Arguments) -> Result<i32, Failure> {
    sys::close_from(CHANNEL_FD + 1, false).at(Step::CloseDescriptors)?;
    sys::die_with_parent().at(Step::ParentDeath)?;
    sys::set_file_mask(0o022);
    let number = |index| arguments.number(index).ok_or((Step::Arguments, INVALID));
    let ids = Ids {
        host: number(1)?,
        uid: number(2)?,
        gid: number(3)?,
    };
    let filter = read_filter(FILTER_FD)?;
    let [ours, theirs] = sys::socket_pair().at(Step::Sockets)?;
    let Some(stem) = sys::fork().at(Step::Fork)? else {
        sys::close(ours);
        sys::close(CONTROL_FD);
        grow(&ids, filter, theirs)
    };
    sys::close(theirs);
    sys::close(STEM_FD);
    sys::close(CHANNEL_FD);
    expect(ours)?;
    map_ids(stem, &ids)?;
    sys::write(ours, b"m").at(Step::IdMaps)?;
    sys::drop_capabilities().at(Step::Capabilities)?;
    sys::set_no_new_privs().at(Step::Privileges)?;
    sys::load_filter(filter).at(Step::LoadFilter)?;
    expect(ours)?;
    sys::close(ours);
    report(
        CONTROL_FD,
        Report {
            kind: Kind::Ready,
            step: Step::Fork,
            value: 0,
        },
    );
    Ok(stem)
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

/// Writes a file of another process in `/proc`, which is the one that we mounted.
fn write_of(pid: i32, file: &[u8], content: &[u8]) -> Result<(), Failure> {
    let (mut path, mut len) = ([0; 40], 0);
    text(b"/proc/", &mut path, &mut len);
    decimal(pid as u32, &mut path, &mut len);
    text(b"/", &mut path, &mut len);
    text(file, &mut path, &mut len);
    let fd = sys::open_to_write(&path[..=len]).at(Step::IdMaps)?;
    let done = sys::write(fd, content).at(Step::IdMaps).map(drop);
    sys::close(fd);
    done
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
    let (len, output) = sys::receive(STEM_FD, buffer).at(Step::Receive)?;
    if len == 0 {
        // The cell is not needed any more.
        sys::exit(0);
    }
    let message: &'static [u8] = &buffer[..len];
    let output = output.ok_or((Step::Output, INVALID))?;
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
