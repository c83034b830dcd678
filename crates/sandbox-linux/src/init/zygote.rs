//! The library of a *zygote*: a language runtime that was booted once and forks a process for each cell.
//!
//! A zygote is part of the spawner: it runs with the host's rights, and nothing of a tenant is ever in it. The runtime
//! loads this library and calls [`sonagi_branch`], which returns only in forked processes. Each of these was moved into
//! its cell and has given up everything that a stem of the cell's own would have (`lock.rs`) before a line of the runtime
//! runs in it. It is a child of the spawner, which sees how it ends.

#![no_std]

mod landlock;
mod lock;
mod sys;
mod wire;

use lock::{At, Failure, INVALID, Ids, lock_down, own_limits, read_filter, report};
use wire::{
    BRANCH_FDS, BRANCH_LEN, Branch, Kind, PROGRAM_CHANNEL_FD, Report, Step, ZYGOTE_CONTROL_FD, ZYGOTE_FILTER_FD,
};

/// Source: Linux `include/uapi/linux/sched.h`.
const NEWPID: usize = 0x2000_0000;
const NEWUSER: usize = 0x1000_0000;
/// Mounts, host name, IPC, network, control groups.
const OTHERS: usize = 0x0002_0000 | 0x0400_0000 | 0x0800_0000 | 0x4000_0000 | 0x0200_0000;

/// What the runtime wants called around a fork.
type Hook = extern "C" fn();

/// A zygote, once set up.
struct Zygote {
    filter: &'static [u8],
    own_processes: i32,
    thread_record: usize,
}

/// Descriptors of a request.
struct Given<'a> {
    init: i32,
    user_namespace: i32,
    output: i32,
    channel: i32,
    doors: &'a [i32],
    born_in: Option<i32>,
}

/// Says that the zygote is ready and forks a process for each request; returns 0 in each of them, with its channel as
/// descriptor 3. In the zygote it returns only with an error number, when it cannot be one. `before` and `after_in_zygote`
/// are called around each fork, `after` in the new process.
#[unsafe(no_mangle)]
pub extern "C" fn sonagi_branch(before: Hook, after_in_zygote: Hook, after: Hook) -> i32 {
    let zygote = match set_up() {
        Ok(zygote) => zygote,
        Err((step, errno)) => {
            report(ZYGOTE_CONTROL_FD, Report::failed(step, errno));
            return errno;
        }
    };
    say(Kind::Ready, Step::Branch);
    loop {
        let mut bytes = [0; BRANCH_LEN];
        let (len, descriptors) = match sys::receive(ZYGOTE_CONTROL_FD, &mut bytes) {
            Ok((len, descriptors)) if len > 0 => (len, descriptors),
            // The spawner is gone, or does not need it any more.
            Ok(_) | Err(_) => sys::exit(0),
        };
        let request = Branch::from_bytes(&bytes[..len]);
        let given = request.and_then(|request| given(&request, descriptors.as_slice()));
        let (Some(request), Some(given)) = (request, given) else {
            close_all(descriptors.as_slice());
            report(ZYGOTE_CONTROL_FD, Report::failed(Step::Receive, INVALID));
            continue;
        };
        before();
        match zygote.fork(&given) {
            Ok(None) => {
                if let Err((step, errno)) = zygote.settle(&request, &given) {
                    report(PROGRAM_CHANNEL_FD, Report::failed(step, errno));
                    sys::exit(126)
                }
                after();
                return 0;
            }
            Ok(Some(process)) => {
                after_in_zygote();
                let ready = Report {
                    kind: Kind::Ready,
                    step: Step::Branch,
                    value: 0,
                };
                // Gone: seen at the next request.
                let _ = sys::send(ZYGOTE_CONTROL_FD, &ready.to_bytes(), process);
                sys::close(process);
            }
            Err((step, errno)) => {
                after_in_zygote();
                report(ZYGOTE_CONTROL_FD, Report::failed(step, errno));
            }
        }
        close_all(descriptors.as_slice());
    }
}

fn say(kind: Kind, step: Step) {
    report(ZYGOTE_CONTROL_FD, Report { kind, step, value: 0 });
}

fn close_all(descriptors: &[i32]) {
    descriptors.iter().for_each(|fd| sys::close(*fd));
}

fn set_up() -> Result<Zygote, Failure> {
    Ok(Zygote {
        filter: read_filter(ZYGOTE_FILTER_FD)?,
        own_processes: sys::open_to_read(b"/proc/self/ns/pid\0").at(Step::EnterNamespaces)?,
        thread_record: sys::thread_record().at(Step::Thread)?,
    })
}

fn given<'a>(request: &Branch, descriptors: &'a [i32]) -> Option<Given<'a>> {
    let (&[init, user_namespace, output, channel], rest) = descriptors.split_first_chunk::<BRANCH_FDS>()?;
    let (doors, born_in) = match (request.born, rest) {
        (0, doors) => (doors, None),
        (_, [doors @ .., born_in]) => (doors, Some(*born_in)),
        (_, []) => return None,
    };
    Some(Given {
        init,
        user_namespace,
        output,
        channel,
        doors,
        born_in,
    })
}

impl Zygote {
    /// Forks a process that is in the process namespace of the cell and otherwise where the zygote is.
    fn fork(&self, given: &Given<'_>) -> Result<Option<i32>, Failure> {
        sys::enter_namespaces(given.init, NEWPID).at(Step::EnterNamespaces)?;
        let forked = sys::fork_sibling(self.thread_record, given.born_in).at(Step::Branch);
        if !matches!(forked, Ok(None)) && sys::enter_namespaces(self.own_processes, NEWPID).is_err() {
            // The next process would be born in the wrong cell.
            sys::exit(1)
        }
        forked
    }

    /// Moves the new process into its cell and locks it down.
    fn settle(&self, request: &Branch, given: &Given<'_>) -> Result<(), Failure> {
        sys::duplicate(given.channel, PROGRAM_CHANNEL_FD).at(Step::Descriptors)?;
        sys::duplicate(given.output, 1).at(Step::Output)?;
        sys::duplicate(given.output, 2).at(Step::Output)?;
        for door in given.doors {
            sys::write(*door, b"0").at(Step::JoinGroups)?;
        }
        sys::enter_namespaces(given.init, OTHERS).at(Step::EnterNamespaces)?;
        let ids = Ids {
            host: request.host,
            uid: request.uid,
            gid: request.gid,
        };
        lock_down(&ids, self.filter, || {
            sys::enter_namespaces(given.user_namespace, NEWUSER).at(Step::UserNamespace)
        })?;
        own_limits(request.file_size, request.processes, request.descriptors)?;
        // Without an exec it stays as the change of user has left it, and a runtime could not read its own `/proc/self`.
        sys::set_dumpable().at(Step::Privileges)?;
        sys::close_from(PROGRAM_CHANNEL_FD + 1, false).at(Step::CloseDescriptors)
    }
}
