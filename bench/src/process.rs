//! Processes that the harness starts, and what the kernel says about processes.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// Longest wait for a server's first line.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that prints its port on its first line; it ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Its port.
    pub port: u16,
}

impl Server {
    /// Starts one.
    ///
    /// # Errors
    /// It cannot be started, or prints no port.
    pub async fn start(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.as_std()))?;
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().context("its output")?);
        timeout(PATIENCE, lines.read_line(&mut line))
            .await
            .context("no port in time")??;
        let port = line.trim().parse().with_context(|| format!("{line:?} is no port"))?;
        Ok(Self { child, port })
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn end(mut self) -> Result<()> {
        self.child.kill().await.context("cannot end a server")
    }
}

/// How long a program takes from being started until it has ended, milliseconds.
///
/// # Errors
/// It cannot be started or fails.
pub async fn run_time(program: &Path, arguments: &[&str]) -> Result<f64> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear();
    let begun = Instant::now();
    let status = command
        .status()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    let took = begun.elapsed();
    if !status.success() {
        bail!("{}: {status}", program.display());
    }
    Ok(took.as_secs_f64() * 1e3)
}

/// What a process and its children have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, KiB.
    pub resident_kib: u64,
    /// CPU time, clock ticks (10 ms).
    pub ticks: u64,
    /// Bytes handed to the disk.
    pub written: u64,
}

/// Looks at a process and at everything it started that is still there.
#[must_use]
pub fn usage(root: u32) -> Usage {
    let mut total = Usage::default();
    for id in family(root) {
        let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
        let number = |text: &str, name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default();
            line.split_whitespace()
                .next()
                .and_then(|number| number.parse::<u64>().ok())
                .unwrap_or(0)
        };
        // What several processes share, prepared runtimes above all, is counted once.
        total.resident_kib += number(&read("smaps_rollup"), "Pss:");
        total.written += number(&read("io"), "write_bytes:");
        // Fields 14 and 15, counted from behind the name, which may hold spaces.
        let stat = read("stat");
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        total.ticks += [11, 12]
            .iter()
            .filter_map(|at| fields.get(*at)?.parse::<u64>().ok())
            .sum::<u64>();
    }
    total
}

/// A process and everything it started that is still there.
#[must_use]
pub fn family(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(id) = found.get(at).copied() {
        let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_is_timed_and_a_failing_one_is_an_error() {
        assert!(run_time(Path::new("/bin/true"), &[]).await.unwrap() > 0.0);
        assert!(run_time(Path::new("/bin/false"), &[]).await.is_err());
    }

    #[test]
    fn this_process_uses_something() {
        assert!(usage(std::process::id()).resident_kib > 0);
        assert_eq!(usage(u32::MAX), Usage::default());
    }
}
