//! A program that runs several others in one cell: the function's runtime, and companions beside it.
//!
//! It is executed as the first program of a cell, with every wall already around it, and what it starts is behind the
//! same walls. It decides nothing: it connects to a listener of the platform inside the cell, does what it is told there,
//! and tells how what it started has ended. It runs as the function's own user, so the function can end it: that ends
//! the instance.
//!
//! Arguments: the port to connect to; 1 if descriptor 3 is a channel for the runtime and else 0; the name of a variable that
//! companions do not get, beside those that begin with `_`; the number of companions; the path of each; then the runtime's program and arguments. Its environment is the runtime's.
//!
//! Frames go both ways: bytes that follow (16 bits, little-endian), a kind, a number, then those bytes. The number is that
//! of a companion, or 255 for the runtime.
//!
//! | from the platform | |
//! | --- | --- |
//! | `L` | start it |
//! | `K` signal | send it and what it started a signal |
//! | `T` port (16 bits), token (32 bits) | connect to this port, and to the platform with `B` and the token first; pass on what comes, both ways |
//! | `E` kind, value | end like the runtime did: 0 and an exit status, or 1 and a signal |
//!
//! | to the platform | |
//! | --- | --- |
//! | `H` paths with a NUL after each | the companions; the first frame |
//! | `F` error number | it could not be executed |
//! | `O` bytes | a companion's output |
//! | `X` kind, value | it has ended: 0 and an exit status, or 1 and a signal |

#![no_std]
#![no_main]

mod start;
mod sys;

/// Most companions.
const COMPANIONS_MAX: usize = 16;
/// The number of the runtime in frames.
const RUNTIME: u8 = 255;
/// Where the runtime finds its channel.
const CHANNEL: i32 = 3;
/// Bytes of output that are passed on at once.
const OUTPUT: usize = 4096;
/// Bytes of a frame's beginning.
const HEAD: usize = 4;
/// The index of the first companion's path among the arguments.
const FIRST: usize = 5;

const EINVAL: i32 = 22;

/// One started program.
#[derive(Clone, Copy)]
struct Child {
    pid: i32,
    number: u8,
    /// Reading end of its output.
    output: Option<i32>,
}

struct Supervisor<'a> {
    arguments: &'a start::Arguments,
    port: u16,
    channel: bool,
    companions: usize,
    platform: i32,
    /// Companions by their number, then the runtime.
    children: [Option<Child>; COMPANIONS_MAX + 1],
}

fn run(arguments: &start::Arguments) -> ! {
    let failed = match prepare(arguments) {
        Ok(mut supervisor) => supervisor.serve(),
        Err(errno) => errno,
    };
    sys::exit(if failed == 0 { 1 } else { 126 })
}

fn prepare(arguments: &start::Arguments) -> Result<Supervisor<'_>, i32> {
    let number = |index| arguments.number(index).ok_or(EINVAL);
    let companions = number(4)? as usize;
    if companions > COMPANIONS_MAX {
        return Err(EINVAL);
    }
    let port = u16::try_from(number(1)?).map_err(|_| EINVAL)?;
    let channel = number(2)? == 1;
    sys::hold_child_signal()?;
    let supervisor = Supervisor {
        arguments,
        port,
        channel,
        companions,
        platform: sys::connect_loopback(port)?,
        children: [None; COMPANIONS_MAX + 1],
    };
    supervisor.introduce()?;
    Ok(supervisor)
}

/// Whether a variable has this name; both end with a NUL.
fn named(variable: &[u8], name: &[u8]) -> bool {
    let name = &name[..name.len() - 1];
    variable.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&b'='))
}

impl Supervisor<'_> {
    fn introduce(&self) -> Result<(), i32> {
        let names = sys::map(64 * 1024)?;
        let mut len = 0;
        for index in 0..self.companions {
            let path = self.arguments.text(FIRST + index).ok_or(EINVAL)?;
            let end = len + path.len();
            names.get_mut(len..end).ok_or(EINVAL)?.copy_from_slice(path);
            len = end;
        }
        self.tell(b'H', 0, &names[..len])
    }

    fn tell(&self, kind: u8, number: u8, bytes: &[u8]) -> Result<(), i32> {
        let [low, high] = u16::try_from(bytes.len()).map_err(|_| EINVAL)?.to_le_bytes();
        sys::write_all(self.platform, &[low, high, kind, number])?;
        sys::write_all(self.platform, bytes)
    }

    /// Does what it is told until the platform hangs up; the error number of what failed.
    fn serve(&mut self) -> i32 {
        let signals = match sys::child_signals() {
            Ok(signals) => signals,
            Err(errno) => return errno,
        };
        loop {
            let mut watched = sys::Watched::new();
            watched.add(self.platform);
            watched.add(signals);
            for child in self.children.iter().flatten() {
                watched.add(child.output.unwrap_or(-1));
            }
            if let Err(errno) = watched.wait(true) {
                return errno;
            }
            if let Err(errno) = self.round(&watched, signals) {
                return errno;
            }
        }
    }

    fn round(&mut self, watched: &sys::Watched, signals: i32) -> Result<(), i32> {
        for at in 0..self.children.len() {
            if let Some(child) = self.children[at]
                && let Some(output) = child.output
                && watched.ready(output)
            {
                self.pass_on(at, output)?;
            }
        }
        if watched.ready(signals) {
            sys::forget_signals(signals);
            self.reap()?;
        }
        if watched.ready(self.platform) {
            self.obey()?;
        }
        Ok(())
    }

    /// Passes output of a companion on; `false` at its end.
    fn pass_on(&mut self, at: usize, output: i32) -> Result<bool, i32> {
        let mut buffer = [0; OUTPUT];
        let got = sys::read(output, &mut buffer).unwrap_or(0);
        let Some(child) = &mut self.children[at] else {
            return Ok(false);
        };
        if got == 0 {
            sys::close(output);
            child.output = None;
            return Ok(false);
        }
        let number = child.number;
        self.tell(b'O', number, &buffer[..got])?;
        Ok(true)
    }

    /// Tells who has ended.
    fn reap(&mut self) -> Result<(), i32> {
        while let Ok((pid, status)) = sys::wait_now() {
            let found = self
                .children
                .iter()
                .position(|child| child.is_some_and(|child| child.pid == pid));
            let Some(at) = found else { continue };
            let Some(child) = self.children[at] else { continue };
            if let Some(output) = child.output {
                self.drain(at, output)?;
            }
            // What it left behind may still write; that is heard no more.
            if let Some(Child { output: Some(output), .. }) = self.children[at] {
                sys::close(output);
            }
            self.children[at] = None;
            // Source: the macros of wait(2).
            let signal = status & 0x7f;
            let end = if signal == 0 {
                [0, ((status >> 8) & 0xff) as u8]
            } else {
                [1, signal as u8]
            };
            self.tell(b'X', child.number, &end)?;
        }
        Ok(())
    }

    /// Passes on what is in a pipe now.
    fn drain(&mut self, at: usize, output: i32) -> Result<(), i32> {
        loop {
            let mut watched = sys::Watched::new();
            watched.add(output);
            watched.wait(false)?;
            if !watched.ready(output) || !self.pass_on(at, output)? {
                return Ok(());
            }
        }
    }

    /// Reads one frame and does what it says.
    fn obey(&mut self) -> Result<(), i32> {
        let mut head = [0; HEAD];
        sys::read_all(self.platform, &mut head)?;
        let [low, high, kind, number] = head;
        let mut rest = [0; 8];
        let len = usize::from(u16::from_le_bytes([low, high]));
        let rest = rest.get_mut(..len).ok_or(EINVAL)?;
        sys::read_all(self.platform, rest)?;
        match (kind, &*rest) {
            (b'L', []) => self.launch(number),
            (b'K', [signal]) => {
                for child in self.children.iter().flatten().filter(|child| child.number == number) {
                    sys::kill_group(child.pid, i32::from(*signal));
                }
                Ok(())
            }
            (b'T', [low, high, token @ ..]) if token.len() == 4 => {
                self.bridge(u16::from_le_bytes([*low, *high]), token);
                Ok(())
            }
            (b'E', [0, status]) => sys::exit(i32::from(*status)),
            (b'E', [_, signal]) => {
                sys::kill_self(i32::from(*signal));
                sys::exit(128 + i32::from(*signal))
            }
            _ => Err(EINVAL),
        }
    }

    fn launch(&mut self, number: u8) -> Result<(), i32> {
        let place = if number == RUNTIME { COMPANIONS_MAX } else { usize::from(number) };
        if number != RUNTIME && place >= self.companions || self.children[place].is_some() {
            return Err(EINVAL);
        }
        let output = if number == RUNTIME { None } else { Some(sys::pipe()?) };
        let [told, tells] = sys::pipe()?;
        let Some(pid) = sys::fork()? else {
            let errno = self.become_it(number, output.map(|[_, writes]| writes));
            let _ = sys::write(tells, &[errno as u8]);
            sys::exit(127)
        };
        sys::close(tells);
        if let Some([_, writes]) = output {
            sys::close(writes);
        } else if self.channel {
            // The platform shall see the end of the channel when the runtime ends.
            sys::close(CHANNEL);
        }
        let mut errno = [0];
        let failed = sys::read(told, &mut errno) == Ok(1);
        sys::close(told);
        self.children[place] = Some(Child {
            pid,
            number,
            output: output.map(|[reads, _]| reads),
        });
        if failed {
            self.tell(b'F', number, &errno)?;
        }
        Ok(())
    }

    /// In the child: executes the program; only an error number comes back.
    fn become_it(&self, number: u8, output: Option<i32>) -> i32 {
        match self.try_become(number, output) {
            Ok(errno) | Err(errno) => errno,
        }
    }

    fn try_become(&self, number: u8, output: Option<i32>) -> Result<i32, i32> {
        sys::start_session()?;
        sys::release_child_signal()?;
        let (first, count) = if number == RUNTIME {
            let first = FIRST + self.companions;
            (first, self.arguments.count().saturating_sub(first))
        } else {
            (FIRST + usize::from(number), 1)
        };
        let mut arguments = sys::PointerList::with_room(count)?;
        for index in first..first + count {
            arguments.push(self.arguments.text(index).ok_or(EINVAL)?)?;
        }
        let hidden = self.arguments.text(3).ok_or(EINVAL)?;
        let mut total = 0;
        while self.arguments.variable(total).is_some() {
            total += 1;
        }
        let mut variables = sys::PointerList::with_room(total)?;
        for index in 0..total {
            let variable = self.arguments.variable(index).ok_or(EINVAL)?;
            if number == RUNTIME || !(variable.starts_with(b"_") || named(variable, hidden)) {
                variables.push(variable)?;
            }
        }
        if let Some(output) = output {
            sys::duplicate(output, 1)?;
            sys::duplicate(output, 2)?;
            if self.channel {
                sys::close(CHANNEL);
            }
        }
        let program = self.arguments.text(first).ok_or(EINVAL)?;
        Ok(sys::execute(program, &arguments, &variables))
    }

    /// Starts a process that joins a port inside with a new connection to the platform.
    fn bridge(&self, port: u16, token: &[u8]) {
        if matches!(sys::fork(), Ok(None)) {
            let _ = self.join(port, token);
            sys::exit(0)
        }
    }

    fn join(&self, port: u16, token: &[u8]) -> Result<(), i32> {
        if self.channel {
            sys::close(CHANNEL);
        }
        sys::close(self.platform);
        let platform = sys::connect_loopback(self.port)?;
        sys::write_all(platform, b"B")?;
        sys::write_all(platform, token)?;
        let inside = sys::connect_loopback(port)?;
        let mut buffer = [0; OUTPUT];
        loop {
            let mut watched = sys::Watched::new();
            watched.add(platform);
            watched.add(inside);
            watched.wait(true)?;
            for (from, to) in [(platform, inside), (inside, platform)] {
                if watched.ready(from) {
                    match sys::read(from, &mut buffer)? {
                        0 => return Ok(()),
                        got => sys::write_all(to, &buffer[..got])?,
                    }
                }
            }
        }
    }
}
