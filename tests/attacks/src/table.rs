//! The attacks, and what must come of each.

/// When an attack is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In the ordinary test run, and in the campaign.
    Quick,
    /// In the campaign only: it takes long, or loads the machine.
    Campaign,
}

/// What must come of an attack.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// The function answers, and every step came to one of these.
    Each(&'static [&'static str]),
    /// The platform ends it and says one of these.
    Ended(&'static [&'static str]),
}

/// One hostile function.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Number in the list of attacks; several rows may share one.
    pub number: u8,
    /// Module and function in `functions/`.
    pub name: &'static str,
    /// Settings of its deployment.
    pub settings: &'static [&'static str],
    /// What it is told, beside what every attack is told; JSON.
    pub event: &'static str,
    /// What must come of it.
    pub expect: Expect,
    /// When it is run.
    pub tier: Tier,
}

const GONE: &[&str] = &["ENOENT"];
const NO_WRITE: &[&str] = &["EROFS", "EACCES", "ENOENT", "EPERM"];
const REFUSED: &[&str] = &["EPERM", "EACCES", "ENOSYS", "ENOENT", "ESRCH", "EROFS"];
const UNREACHED: &[&str] = &["refused"];
const ENDED_LATE: &[&str] = &["timed out"];

const fn quick(number: u8, name: &'static str, expect: Expect) -> Attack {
    Attack {
        number,
        name,
        settings: &["--memory", "512", "--timeout", "60s"],
        event: "{}",
        expect,
        tier: Tier::Quick,
    }
}

const fn with(attack: Attack, settings: &'static [&'static str], event: &'static str) -> Attack {
    Attack {
        settings,
        event,
        ..attack
    }
}

const fn campaign(attack: Attack) -> Attack {
    Attack {
        tier: Tier::Campaign,
        ..attack
    }
}

use Expect::{Each, Ended};

/// All of them, in order.
pub const ATTACKS: &[Attack] = &[
    quick(1, "files.host_files", Each(&["ENOENT", "EACCES"])),
    quick(2, "files.write_code", Each(NO_WRITE)),
    quick(3, "files.append_etc", Each(&["EROFS", "EACCES"])),
    quick(4, "files.walk", Each(&["nothing"])),
    quick(5, "files.setuid", Each(&["done", "EPERM", "same", "ENOENT"])),
    quick(6, "files.devices", Each(&["EPERM", "ENOENT", "EACCES"])),
    quick(7, "files.symlink", Each(GONE)),
    quick(8, "files.handles", Each(&["EPERM"])),
    quick(
        9,
        "files.runtime_binary",
        Each(&["EACCES", "ETXTBSY", "ENOENT", "EROFS", "EPERM"]),
    ),
    quick(10, "files.descriptors", Each(&["ENOTDIR"])),
    quick(11, "files.mounts", Each(&["EPERM"])),
    quick(12, "files.links", Each(&["EXDEV", "EROFS", "EACCES"])),
    quick(13, "processes.list_proc", Each(&["few"])),
    quick(14, "processes.kills", Each(&["EPERM", "ESRCH", "none"])),
    quick(15, "processes.spy", Each(REFUSED)),
    with(
        quick(16, "processes.fork_bomb", Each(&["EAGAIN"])),
        &["--memory", "1769", "--timeout", "60s"],
        "{}",
    ),
    with(
        quick(17, "processes.thread_bomb", Each(&["refused"])),
        &["--memory", "1024", "--timeout", "60s"],
        "{}",
    ),
    quick(18, "processes.daemonize", Each(&["started"])),
    with(
        quick(19, "processes.zombies", Each(&["reaped"])),
        &["--memory", "512", "--timeout", "60s"],
        r#"{"many": 1000}"#,
    ),
    campaign(with(
        quick(19, "processes.zombies", Each(&["reaped"])),
        &["--memory", "512", "--timeout", "120s"],
        r#"{"many": 10000}"#,
    )),
    with(
        quick(20, "processes.sleep_on", Ended(ENDED_LATE)),
        &["--memory", "128", "--timeout", "1s"],
        "{}",
    ),
    with(
        quick(20, "processes.spin_on", Ended(ENDED_LATE)),
        &["--memory", "128", "--timeout", "1s"],
        "{}",
    ),
    quick(21, "processes.namespaces", Each(&["EPERM", "EACCES"])),
    quick(21, "processes.clone3", Each(&["ENOSYS"])),
    quick(22, "kernel.rare_calls", Each(&["EPERM", "ENOSYS"])),
    quick(23, "kernel.sockets", Each(&["only the allowed", "EAFNOSUPPORT"])),
    // SIGSYS, as the interpreter's own library tells the end of a child.
    quick(24, "kernel.foreign_calls", Each(&["-31"])),
    quick(25, "kernel.personality", Each(&["EPERM"])),
    quick(26, "kernel.push_input", Each(&["ENOTTY", "EPERM", "EINVAL"])),
    quick(27, "kernel.clocks", Each(&["EPERM"])),
    quick(
        28,
        "kernel.settings",
        Each(&["EROFS", "EACCES", "ENOENT", "EPERM", "empty"]),
    ),
    with(
        quick(29, "kernel.every_call", Each(&["as expected"])),
        &["--memory", "512", "--timeout", "120s"],
        "{}",
    ),
    quick(30, "kernel.rights", Each(&["none", "EPERM", "EINVAL", "EACCES"])),
    with(
        quick(
            31,
            "resources.eat_memory",
            Ended(&["OutOfMemory", "out of memory", "signal: killed"]),
        ),
        &["--memory", "128", "--timeout", "60s"],
        "{}",
    ),
    quick(32, "resources.address_space", Each(&["done", "ENOMEM"])),
    with(
        quick(32, "resources.fill_shared", Each(&["ENOSPC"])),
        &["--memory", "512", "--timeout", "60s"],
        "{}",
    ),
    with(
        quick(
            32,
            "resources.memfds",
            Ended(&["OutOfMemory", "out of memory", "signal: killed", "OSError"]),
        ),
        &["--memory", "128", "--timeout", "60s"],
        "{}",
    ),
    with(
        quick(32, "resources.socket_memory", Each(&["bounded"])),
        &["--memory", "128", "--timeout", "60s"],
        "{}",
    ),
    campaign(with(
        quick(33, "resources.fill_scratch", Each(&["ENOSPC", "EFBIG"])),
        &["--memory", "1769", "--timeout", "60s"],
        "{}",
    )),
    with(
        quick(33, "resources.fill_inodes", Each(&["ENOSPC"])),
        &["--memory", "1024", "--timeout", "60s"],
        r#"{"many": 300000}"#,
    ),
    quick(34, "resources.descriptors", Each(&["EMFILE, at most 1024"])),
    quick(34, "resources.limits", Each(&["EPERM", "ValueError"])),
    campaign(with(
        quick(35, "resources.spin_many", Each(&["done"])),
        &["--memory", "128", "--timeout", "60s"],
        r#"{"seconds": 5}"#,
    )),
    with(
        quick(36, "resources.flood", Each(&["done"])),
        &["--memory", "512", "--timeout", "120s"],
        r#"{"mib": 16}"#,
    ),
    campaign(with(
        quick(36, "resources.flood", Each(&["done"])),
        &["--memory", "512", "--timeout", "600s"],
        r#"{"mib": 1024}"#,
    )),
    quick(39, "network.host", Each(UNREACHED)),
    quick(40, "network.metadata", Each(UNREACHED)),
    quick(40, "network.abstract_sockets", Each(&["none"])),
    quick(
        42,
        "network.configure",
        Each(&["EPERM", "EACCES", "EPROTONOSUPPORT", "EAFNOSUPPORT"]),
    ),
    quick(43, "network.resolve", Each(&["refused", "short"])),
];
