//! What is asked of the host's network: the program `nft`, and the switches below `/proc/sys/net`.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::sys::network;

/// Where `nft` is on the distributions that have it. The spawner has no environment, and wants none to decide this.
const NFT: [&str; 4] = [
    "/usr/sbin/nft",
    "/sbin/nft",
    "/usr/bin/nft",
    "/run/current-system/sw/bin/nft",
];
/// Switches of interfaces.
const SWITCHES: &str = "/proc/sys/net";
/// Bytes of a record of switches.
const RECORD_MAX: usize = 4096;

/// The program that speaks to the packet filter.
#[derive(Debug)]
pub(super) struct Nft(PathBuf);

impl Nft {
    pub(super) fn find() -> Option<Self> {
        NFT.iter().map(PathBuf::from).find(|path| path.exists()).map(Self)
    }

    pub(super) fn list_tables(&self) -> Result<String, String> {
        self.run(&["list", "tables"], "")
    }

    pub(super) fn list_chains(&self) -> Result<String, String> {
        self.run(&["list", "chains"], "")
    }

    /// Loads rules in one transaction.
    pub(super) fn load(&self, rules: &str) -> Result<(), String> {
        self.run(&["-f", "-"], rules).map(drop)
    }

    pub(super) fn delete(&self, table: &str) -> Result<(), String> {
        self.run(&["delete", "table", "inet", table], "").map(drop)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.0.display());
        let mut process = Command::new(&self.0)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = process.stdin.take() {
            // One that does not read has failed, and says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = process.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let first = words.lines().next().unwrap_or_default();
        Err(format!("nft {}: {first}", arguments.join(" ")))
    }
}

/// The switch by which an interface passes on what is not for this host.
#[derive(Debug)]
pub(super) struct Switch {
    path: PathBuf,
    on: bool,
    forced: bool,
}

impl Switch {
    /// Of an uplink, for IPv4.
    pub(super) fn v4(uplink: &str) -> Option<Self> {
        let path = Path::new(SWITCHES).join("ipv4/conf").join(uplink).join("forwarding");
        let on = is_on(&path)?;
        Some(Self {
            path,
            on,
            forced: false,
        })
    }

    /// Of an uplink, for IPv6. The switch for all interfaces would have side effects (the host would not learn its own
    /// routes any more), so without one for the single interface (Linux 6.17) it must be on already.
    pub(super) fn v6(uplink: &str) -> Option<Self> {
        let folder = Path::new(SWITCHES).join("ipv6/conf");
        if is_on(&folder.join("all/forwarding"))? {
            let path = folder.join("all/forwarding");
            return Some(Self {
                path,
                on: true,
                forced: false,
            });
        }
        let path = folder.join(uplink).join("force_forwarding");
        let on = is_on(&path)?;
        Some(Self { path, on, forced: true })
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Whether it is the one that forces a single interface.
    pub(super) fn is_forced(&self) -> bool {
        self.forced
    }
}

fn is_on(path: &Path) -> Option<bool> {
    fs::read_to_string(path).ok().map(|text| text.trim() == "1")
}

/// Notes what is about to be switched, then switches it on.
pub(super) fn turn_on<'a>(record: &Path, switches: impl Iterator<Item = &'a Switch>) -> Result<(), String> {
    let paths: Vec<&Path> = switches.map(|switch| switch.path.as_path()).collect();
    if paths.is_empty() {
        return Ok(());
    }
    let text: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    let note = || {
        let mut file = fs::File::create(record)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    note().map_err(|error| format!("cannot write {}: {error}", record.display()))?;
    paths.into_iter().try_for_each(|path| switch(path, "1"))
}

fn switch(path: &Path, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Switches off again what a record names, and removes it.
pub(super) fn restore(record: &Path) -> Result<(), String> {
    let text = match fs::read_to_string(record) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| format!("cannot read {}: {error}", record.display()))?,
    };
    for path in switched(&text) {
        // An interface that is gone has no switch any more.
        if path.exists() {
            switch(path, "0")?;
        }
    }
    forget(record)
}

/// Removes a record.
pub(super) fn forget(record: &Path) -> Result<(), String> {
    match fs::remove_file(record) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| format!("cannot remove {}: {error}", record.display())),
    }
}

/// The switches that a record names. Nothing else is ever written to.
fn switched(record: &str) -> impl Iterator<Item = &Path> {
    let lines = record.get(..record.len().min(RECORD_MAX)).unwrap_or_default().lines();
    lines.map(Path::new).filter(|path| {
        let last = path.file_name().and_then(|name| name.to_str());
        path.starts_with(SWITCHES)
            && matches!(last, Some("forwarding" | "force_forwarding"))
            && path.components().all(|part| part != std::path::Component::ParentDir)
    })
}

/// The largest packet of an interface.
pub(super) fn mtu(interface: &str) -> Result<u32, Errno> {
    // Not from below `/sys`, which shows the network namespace of whoever has mounted it.
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    network::mtu(socket.as_fd(), interface)
}

/// Lets an interface of ours pass packets on. `v6`: whether by force; without it IPv6 is switched off there.
pub(super) fn pass_on(interface: &str, v4: bool, v6: Option<bool>) -> Result<(), Errno> {
    let folder = Path::new(SWITCHES);
    let own = |family: &str, name: &str| folder.join(family).join("conf").join(interface).join(name);
    let write = |path: PathBuf, value: &str| {
        fs::write(path, value).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    if v4 {
        write(own("ipv4", "forwarding"), "1")?;
    }
    match v6 {
        Some(true) => write(own("ipv6", "force_forwarding"), "1"),
        Some(false) => Ok(()),
        None => {
            // Without IPv6 in the kernel there is nothing to switch off.
            let _ = write(own("ipv6", "disable_ipv6"), "1");
            Ok(())
        }
    }
}

/// Switches IPv6 off at an interface, if the kernel has it.
pub(super) fn without_v6(interface: &str) {
    let path = Path::new(SWITCHES)
        .join("ipv6/conf")
        .join(interface)
        .join("disable_ipv6");
    // Then its addresses of IPv6 lead nowhere, as they do anyway.
    let _ = fs::write(path, "1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_switches_and_nothing_else() {
        let record = "/proc/sys/net/ipv4/conf/eth0/forwarding\n/etc/passwd\n/proc/sys/net/ipv4/conf/../../../kernel/forwarding\n\
                      /proc/sys/net/ipv6/conf/eth0/force_forwarding\n/proc/sys/net/core/somaxconn\n";
        let found: Vec<&Path> = switched(record).collect();
        assert_eq!(
            found,
            [
                Path::new("/proc/sys/net/ipv4/conf/eth0/forwarding"),
                Path::new("/proc/sys/net/ipv6/conf/eth0/force_forwarding")
            ]
        );
    }

    #[test]
    fn what_was_never_switched_needs_no_restoring() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(restore(&folder.path().join("none")), Ok(()));
        assert_eq!(forget(&folder.path().join("none")), Ok(()));
    }
}
