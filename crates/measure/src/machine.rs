//! Which machine and which commit a figure belongs to.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde::Serialize;
use tokio::time::Instant;

use crate::Error;
use crate::stats::Samples;

/// The machine and the state it was in.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processor, as the kernel names it.
    pub processor: String,
    /// Processors that are online.
    pub cores: usize,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Whether the cgroup mount has `favordynmods`, which makes attaching cheap at the cost of forks.
    pub favordynmods: bool,
    /// Load over the last minute when the suite began: absolute figures hold below 0.6.
    pub load: f64,
    /// Commit of the checkout; with `+` when files differ from it; empty where there is no checkout.
    pub commit: String,
    /// When, UTC.
    pub when: String,
}

impl Machine {
    /// Looks; `checkout` is the folder whose commit is meant.
    ///
    /// # Errors
    /// The kernel's tables cannot be read.
    pub fn look(checkout: &Path) -> Result<Self, Error> {
        let read = |path: &str| fs::read_to_string(path).map_err(|source| file(Path::new(path), source));
        let processors = read("/proc/cpuinfo")?;
        let processor = field(&processors, "model name", ':').unwrap_or_else(|| "unknown".to_owned());
        let memory = field(&read("/proc/meminfo")?, "MemTotal", ':').unwrap_or_default();
        let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let load = read("/proc/loadavg")?
            .split_whitespace()
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(f64::NAN);
        let git = |words: &[&str]| output(Command::new("git").current_dir(checkout).args(words));
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
        Ok(Self {
            processor,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            favordynmods: read("/proc/mounts")?.lines().any(|line| line.contains("favordynmods")),
            load,
            commit: git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default() + if changed { "+" } else { "" },
            when: output(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])).unwrap_or_default(),
        })
    }
}

fn file(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}

fn field(table: &str, name: &str, separator: char) -> Option<String> {
    let line = table.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(separator)?.1.trim().to_owned())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How long the disk takes to make 4 KiB durable in this folder, milliseconds.
///
/// # Errors
/// The folder cannot be written.
pub fn fsync(folder: &Path, rounds: usize) -> Result<Samples, Error> {
    let failed = |source| file(folder, source);
    let mut block = tempfile::tempfile_in(folder).map_err(failed)?;
    let mut samples = Samples::default();
    for _ in 0..rounds {
        block.write_all(&[7; 4096]).map_err(failed)?;
        let begun = Instant::now();
        block.sync_all().map_err(failed)?;
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_a_disk() {
        let machine = Machine::look(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(
            machine.cores >= 1 && machine.memory_mib > 0 && !machine.kernel.is_empty(),
            "{machine:?}"
        );
        assert!(fsync(&std::env::temp_dir(), 3).unwrap().summary().unwrap().min > 0.0);
    }
}
