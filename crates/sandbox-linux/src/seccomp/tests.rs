//! The filter, run as the kernel would run it, against the table.

use std::collections::BTreeMap;

use super::program::*;
use super::table::{Answer, GROUPS, RULES};
use libc::sock_filter;
use rustix::io::Errno;

/// One call as the kernel shows it to a filter.
#[derive(Debug, Clone, Copy, Default)]
struct Call {
    audit: u32,
    number: u32,
    arguments: [u64; 6],
}

/// Runs a program as the kernel would. Also says how many steps it took.
fn run(program: &[sock_filter], call: &Call) -> (u32, usize) {
    let (mut at, mut loaded, mut steps) = (0_usize, 0_u32, 0);
    loop {
        let now = program[at];
        steps += 1;
        at += 1;
        let taken = match now.code {
            LOAD => {
                loaded = match now.k {
                    NUMBER => call.number,
                    ARCHITECTURE => call.audit,
                    offset => call.arguments[(offset as usize - 16) / 8] as u32,
                };
                continue;
            }
            AND => {
                loaded &= now.k;
                continue;
            }
            JUMP => {
                at += now.k as usize;
                continue;
            }
            RETURN => return (now.k, steps),
            IF_EQUAL => loaded == now.k,
            IF_AT_LEAST => loaded >= now.k,
            IF_ANY_BIT => loaded & now.k != 0,
            other => panic!("operation {other:#x}"),
        };
        at += usize::from(if taken { now.jt } else { now.jf });
    }
}

fn value(answer: Answer) -> u32 {
    done(answer).k
}

fn number(architecture: &Architecture, name: &str) -> u32 {
    architecture
        .numbers
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("{name}"))
        .1
}

#[test]
fn every_call_is_named_exactly_once() {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for name in GROUPS
        .iter()
        .flat_map(|group| group.calls)
        .chain(RULES.iter().map(|rule| &rule.call))
    {
        *named.entry(name).or_default() += 1;
    }
    let known: std::collections::BTreeSet<_> = X86_64
        .numbers
        .iter()
        .chain(AARCH64.numbers)
        .map(|(name, _)| *name)
        .collect();
    let twice: Vec<_> = named.iter().filter(|(_, times)| **times > 1).collect();
    let unknown: Vec<_> = named.keys().filter(|name| !known.contains(*name)).collect();
    let forgotten: Vec<_> = known.iter().filter(|name| !named.contains_key(*name)).collect();
    assert!(
        twice.is_empty() && unknown.is_empty() && forgotten.is_empty(),
        "named twice {twice:?}, no such call {unknown:?}, not named {forgotten:?}"
    );
}

#[test]
fn every_number_gets_the_answer_of_the_table() {
    for architecture in [&X86_64, &AARCH64] {
        let program = compile(architecture);
        assert!(program.len() < 4096, "the kernel takes 4096 steps");
        let names: BTreeMap<_, _> = architecture
            .numbers
            .iter()
            .map(|(name, number)| (*number, *name))
            .collect();
        for number in (0..=600).chain([1000, 0x3fff_ffff]) {
            let call = Call {
                audit: architecture.audit,
                number,
                ..Call::default()
            };
            let (got, steps) = run(&program, &call);
            assert!(steps < 40, "{number}: {steps} steps");
            let Some(name) = names.get(&number) else {
                assert_eq!(got, value(Answer::Fail(Errno::NOSYS)), "{number}");
                continue;
            };
            if let Some(group) = GROUPS.iter().find(|group| group.calls.contains(name)) {
                assert_eq!(got, value(group.answer), "{name}");
            }
        }
    }
}

#[test]
fn other_architectures_and_interfaces_end_the_process() {
    let kill = value(Answer::Kill);
    let x86 = compile(&X86_64);
    for (audit, number) in [
        (0x4000_0003, 20),
        (0xc000_00b7, 172),
        (0, 0),
        (X86_64.audit, X32 | 39),
        (X86_64.audit, u32::MAX),
    ] {
        assert_eq!(
            run(
                &x86,
                &Call {
                    audit,
                    number,
                    ..Call::default()
                }
            )
            .0,
            kill,
            "{audit:#x} {number:#x}"
        );
    }
    let arm = compile(&AARCH64);
    let x32 = Call {
        audit: AARCH64.audit,
        number: X32 | 39,
        ..Call::default()
    };
    assert_eq!(
        run(&arm, &x32).0,
        value(Answer::Fail(Errno::NOSYS)),
        "no such interface there"
    );
}

const ALLOWED: Answer = Answer::Allow;

const fn fail(errno: Errno) -> Answer {
    Answer::Fail(errno)
}

/// A bit that a filter comparing 64 bits would see, and the kernel does not.
const HIGH: u64 = 1 << 32;

/// A call, its arguments, and what the table means by it.
const CASES: &[(&str, &[u64], Answer)] = &[
    ("clone", &[0x3d_0f00], ALLOWED),
    ("clone", &[17], ALLOWED),
    ("clone", &[0x80], fail(Errno::PERM)),
    ("clone", &[0x2_0000 | 17], fail(Errno::PERM)),
    ("clone", &[0x1000_0000], fail(Errno::PERM)),
    ("clone", &[0x2000_0000], fail(Errno::PERM)),
    ("clone", &[0x4000_0000], fail(Errno::PERM)),
    ("clone", &[HIGH | 0x800_0000], fail(Errno::PERM)),
    ("personality", &[0], ALLOWED),
    ("personality", &[0xffff_ffff], ALLOWED),
    ("personality", &[0x4_0000], fail(Errno::PERM)),
    ("personality", &[0x40_0000], fail(Errno::PERM)),
    ("personality", &[8], fail(Errno::PERM)),
    ("mknodat", &[0, 0, 0o010_644], ALLOWED),
    ("mknodat", &[0, 0, 0o100_644], ALLOWED),
    ("mknodat", &[0, 0, 0o644], ALLOWED),
    ("mknodat", &[0, 0, 0o020_644], fail(Errno::PERM)),
    ("mknodat", &[0, 0, 0o060_600], fail(Errno::PERM)),
    ("mknodat", &[0, 0, HIGH | 0o020_600], fail(Errno::PERM)),
    ("ioctl", &[0, 0x5401], ALLOWED),
    ("ioctl", &[0, 0x5412], fail(Errno::PERM)),
    ("ioctl", &[0, HIGH | 0x5412], fail(Errno::PERM)),
    ("ioctl", &[0, 0xc004_5877], fail(Errno::PERM)),
    ("ioctl", &[0, 0xffff_ffff_c028_6687], fail(Errno::PERM)),
    ("socket", &[1, 1, 0], ALLOWED),
    ("socket", &[1, 5, 0], ALLOWED),
    ("socket", &[2, 1, 0], ALLOWED),
    ("socket", &[2, 0x80801, 6], ALLOWED),
    ("socket", &[10, 2, 17], ALLOWED),
    ("socket", &[2, 2, 1], ALLOWED),
    ("socket", &[2, 3, 1], fail(Errno::PERM)),
    ("socket", &[2, 0x80003, 0], fail(Errno::PERM)),
    ("socket", &[10, 5, 132], fail(Errno::PERM)),
    ("socket", &[2, 1, 132], fail(Errno::PROTONOSUPPORT)),
    ("socket", &[2, 1, 262], fail(Errno::PROTONOSUPPORT)),
    ("socket", &[2, 6, 33], fail(Errno::PERM)),
    ("socket", &[16, 3, 0], ALLOWED),
    ("socket", &[16, 3, 12], fail(Errno::PROTONOSUPPORT)),
    ("socket", &[16, 3, HIGH], ALLOWED),
    ("socket", &[38, 5, 0], fail(Errno::AFNOSUPPORT)),
    ("socket", &[40, 1, 0], fail(Errno::AFNOSUPPORT)),
    ("socket", &[17, 3, 0], fail(Errno::AFNOSUPPORT)),
    ("socket", &[HIGH | 38, 5, 0], fail(Errno::AFNOSUPPORT)),
    ("socketpair", &[1, 1, 0], ALLOWED),
    ("socketpair", &[30, 1, 0], fail(Errno::AFNOSUPPORT)),
];

#[test]
fn arguments_decide_where_the_table_says_so() {
    for architecture in [&X86_64, &AARCH64] {
        let program = compile(architecture);
        for (name, given, expected) in CASES {
            let mut arguments = [0; 6];
            arguments[..given.len()].copy_from_slice(given);
            let call = Call {
                audit: architecture.audit,
                number: number(architecture, name),
                arguments,
            };
            assert_eq!(run(&program, &call).0, value(*expected), "{name} {given:x?}");
        }
    }
    let program = compile(&X86_64);
    for (mode, expected) in [
        (0o010_644_u64, ALLOWED),
        (0o020_644, fail(Errno::PERM)),
        (0o060_644, fail(Errno::PERM)),
    ] {
        let call = Call {
            audit: X86_64.audit,
            number: 133,
            arguments: [0, mode, 0, 0, 0, 0],
        };
        assert_eq!(run(&program, &call).0, value(expected), "mknod {mode:o}");
    }
}

#[test]
fn socket_families_are_four() {
    let program = compile(&X86_64);
    let open: Vec<_> = (0..=60)
        .filter(|family| {
            let call = Call {
                audit: X86_64.audit,
                number: 41,
                arguments: [*family, 2, 0, 0, 0, 0],
            };
            run(&program, &call).0 == ALLOW
        })
        .collect();
    assert_eq!(open, [1, 2, 10, 16]);
}

#[test]
fn the_table_says_why() {
    assert!(
        GROUPS
            .iter()
            .all(|group| !group.reason.is_empty() && !group.calls.is_empty())
    );
}
