//! From the table to a program of the kernel's classic packet filter. Pure.
//!
//! Code is built from its end: every piece ends in a return or is followed by what comes next, so all jumps go forward
//! over pieces of known length. A balanced tree over ranges of numbers leads to the answers, about seven comparisons
//! deep; the kernel caches calls that are always allowed and does not run the program for them at all.
//!
//! Sources: Linux `Documentation/userspace-api/seccomp_filter.rst`, `include/uapi/linux/{seccomp,filter,audit}.h`.

use libc::sock_filter;

use super::numbers;
use super::table::{Answer, Clause, GROUPS, RULES, Rule, Test};

// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
/// Of the low half of the first argument; all our architectures are little-endian.
const ARGUMENTS: u32 = 16;

// Operation codes: BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND|BPF_K, BPF_JMP|BPF_K with JA, JEQ, JGE, JSET, BPF_RET|BPF_K.
pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

pub(super) const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Bit that marks a call of the x32 interface of x86-64.
pub(super) const X32: u32 = 0x4000_0000;

/// A processor architecture that functions run on.
#[derive(Debug)]
pub(super) struct Architecture {
    /// `AUDIT_ARCH_*`.
    pub(super) audit: u32,
    /// Its calls.
    pub(super) numbers: &'static [(&'static str, u32)],
    /// Whether numbers with the x32 bit are calls of another interface.
    pub(super) x32: bool,
}

/// x86-64.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) const X86_64: Architecture = Architecture {
    audit: 0xc000_003e,
    numbers: numbers::X86_64,
    x32: true,
};
/// 64-bit ARM.
#[cfg(any(test, target_arch = "aarch64"))]
pub(super) const AARCH64: Architecture = Architecture {
    audit: 0xc000_00b7,
    numbers: numbers::AARCH64,
    x32: false,
};

/// What the table says about one number.
#[derive(Debug, Clone, Copy)]
enum Entry {
    Always(Answer),
    Depends(&'static Rule),
}

impl Entry {
    fn same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Always(a), Self::Always(b)) => a == b,
            (Self::Depends(a), Self::Depends(b)) => std::ptr::eq(a, b),
            (Self::Always(_), Self::Depends(_)) | (Self::Depends(_), Self::Always(_)) => false,
        }
    }

    fn code(self) -> Vec<sock_filter> {
        match self {
            Self::Always(answer) => vec![done(answer)],
            Self::Depends(rule) => rule
                .clauses
                .iter()
                .rev()
                .fold(vec![done(rule.otherwise)], |rest, clause| {
                    let mut code = clause_code(clause);
                    code.extend(rest);
                    code
                }),
        }
    }
}

/// The whole filter for one architecture.
pub(super) fn compile(architecture: &Architecture) -> Vec<sock_filter> {
    let mut code = vec![
        step(LOAD, ARCHITECTURE),
        branch(IF_EQUAL, architecture.audit, 1, 0),
        done(Answer::Kill),
        step(LOAD, NUMBER),
    ];
    if architecture.x32 {
        code.extend([branch(IF_AT_LEAST, X32, 0, 1), done(Answer::Kill)]);
    }
    code.extend(tree(&ranges(architecture)));
    code
}

/// First numbers of runs with the same answer, in order. The last run goes on for ever: what is newer than the table
/// does not exist, so that libraries fall back.
fn ranges(architecture: &Architecture) -> Vec<(u32, Entry)> {
    let mut ranges: Vec<(u32, Entry)> = Vec::new();
    for (number, entry) in entries(architecture) {
        if ranges.last().is_none_or(|(_, last)| !last.same(entry)) {
            ranges.push((number, entry));
        }
    }
    ranges
}

/// What the table says about every number, up to the first that is newer than it.
fn entries(architecture: &Architecture) -> impl Iterator<Item = (u32, Entry)> {
    let numbers = architecture.numbers.iter();
    let newest = numbers.map(|(_, number)| *number).max().unwrap_or(0);
    (0..=newest + 1).map(|number| {
        let known = architecture.numbers.iter().find(|(_, known)| *known == number);
        // A number without a call: as the kernel would answer.
        let none = Entry::Always(Answer::Fail(rustix::io::Errno::NOSYS));
        (number, known.map_or(none, |(name, _)| entry(name)))
    })
}

/// Numbers whose calls do nothing, whatever their arguments are, with the error that they end with; `None`: they pretend to
/// have succeeded.
pub(super) fn refused(architecture: &Architecture) -> impl Iterator<Item = (u32, Option<rustix::io::Errno>)> {
    entries(architecture).filter_map(|(number, entry)| match entry {
        Entry::Always(Answer::Fail(errno)) => Some((number, Some(errno))),
        Entry::Always(Answer::Pretend) => Some((number, None)),
        Entry::Always(Answer::Allow | Answer::Kill) | Entry::Depends(_) => None,
    })
}

/// What the table says about a call. One that it does not name may not be used.
fn entry(name: &str) -> Entry {
    if let Some(rule) = RULES.iter().find(|rule| rule.call == name) {
        return Entry::Depends(rule);
    }
    let answer = GROUPS
        .iter()
        .find(|group| group.calls.contains(&name))
        .map(|group| group.answer);
    Entry::Always(answer.unwrap_or(Answer::Fail(rustix::io::Errno::PERM)))
}

/// Finds the run that holds the loaded number, and answers.
fn tree(ranges: &[(u32, Entry)]) -> Vec<sock_filter> {
    let [(_, only)] = ranges else {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let (low_code, high_code) = (tree(low), tree(high));
        let first = high[0].0;
        let mut code = match u8::try_from(low_code.len()) {
            Ok(over) => vec![branch(IF_AT_LEAST, first, over, 0)],
            // Conditional jumps reach 255 steps, unconditional ones all.
            Err(_) => vec![branch(IF_AT_LEAST, first, 0, 1), step(JUMP, length(&low_code))],
        };
        code.extend(low_code);
        code.extend(high_code);
        return code;
    };
    only.code()
}

/// Answers if all tests pass, else falls through to what follows.
fn clause_code(clause: &Clause) -> Vec<sock_filter> {
    clause.tests.iter().rev().fold(vec![done(clause.answer)], |rest, test| {
        let mut code = test_code(*test, short(length(&rest)));
        code.extend(rest);
        code
    })
}

/// Falls through if the test passes, else jumps over the `rest` steps that follow.
fn test_code(test: Test, rest: u8) -> Vec<sock_filter> {
    let argument = |argument: u32| step(LOAD, ARGUMENTS + 8 * argument);
    let mask = |mask: u32| (mask != u32::MAX).then(|| step(AND, mask));
    // From comparison `i` of `count` to the first step after all of them.
    let past = |count: usize, i: usize| u8::try_from(count - 1 - i).unwrap_or(u8::MAX);
    match test {
        Test::In {
            argument: which,
            mask: bits,
            values,
        } => {
            let compared = values.iter().enumerate().map(|(i, value)| {
                let otherwise = if i + 1 == values.len() { rest } else { 0 };
                branch(IF_EQUAL, *value, past(values.len(), i), otherwise)
            });
            std::iter::once(argument(which))
                .chain(mask(bits))
                .chain(compared)
                .collect()
        }
        Test::NotIn {
            argument: which,
            mask: bits,
            values,
        } => {
            let compared = values.iter().enumerate().map(|(i, value)| {
                branch(
                    IF_EQUAL,
                    *value,
                    short(u32::from(past(values.len(), i)) + u32::from(rest)),
                    0,
                )
            });
            std::iter::once(argument(which))
                .chain(mask(bits))
                .chain(compared)
                .collect()
        }
        Test::HasAny { argument: which, bits } => vec![argument(which), branch(IF_ANY_BIT, bits, 0, rest)],
    }
}

pub(super) fn done(answer: Answer) -> sock_filter {
    let value = match answer {
        Answer::Allow => ALLOW,
        Answer::Fail(errno) => ERRNO | errno.raw_os_error().unsigned_abs(),
        Answer::Pretend => ERRNO,
        Answer::Kill => KILL_PROCESS,
    };
    step(RETURN, value)
}

fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter {
        code,
        jt: yes,
        jf: no,
        k,
    }
}

fn length(code: &[sock_filter]) -> u32 {
    u32::try_from(code.len()).unwrap_or(u32::MAX)
}

/// A jump within one rule. Rules are short; one that were not would be caught where its filter is compiled in a test.
fn short(steps: u32) -> u8 {
    u8::try_from(steps).expect("a rule of the table has fewer than 256 steps")
}
