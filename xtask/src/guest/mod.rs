//! `cargo xtask guest`: the sandbox's tests on unified control groups, which few kernels of test machines have alone. Boots
//! Debian's cloud kernel in QEMU's software emulation, on a Debian system made for it, and runs the tests inside.

mod image;
mod report;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::shell;

/// Longest life of a guest, seconds: whatever hangs in it ends with it.
const LIFE_MAX_SECS: &str = "1500";
/// Memory of the guest, MiB: the disk is outside of it.
const MEMORY_MIB: &str = "2048";
/// Test programs of the sandbox, with the tests in each that need nothing but a kernel and a Debian system.
const PROGRAMS: [(&str, &str); 2] = [("it", "cgroup:: seccomp:: --test-threads 1"), ("sandbox", "")];

/// Makes what is missing, boots, and runs the tests whose name contains the filter.
///
/// # Errors
/// A test failed, or the guest did not get to the end.
pub fn run(checkout: &Checkout, filter: Option<&str>) -> Result<()> {
    if shell::read(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("a Debian system can be made by root only: run this as root");
    }
    let guest = image::prepare(checkout)?;
    let payload = tempfile::tempdir()?;
    let disk = make_payload(checkout, payload.path(), filter)?;
    let results = boot(&guest, &disk)?;
    for result in &results {
        println!("guest: {result}");
    }
    let whole = results.len() == PROGRAMS.len() && results.iter().all(report::Result::is_good);
    if !whole {
        bail!("the tests do not hold on unified control groups");
    }
    println!("guest: everything holds on unified control groups");
    Ok(())
}

/// A disk with the test programs, and what is to be done with them.
fn make_payload(checkout: &Checkout, folder: &Path, filter: Option<&str>) -> Result<PathBuf> {
    let content = folder.join("content");
    std::fs::create_dir(&content)?;
    let mut script = String::from("export RUST_BACKTRACE=0 TMPDIR=/var/tmp\n");
    for (name, arguments) in PROGRAMS {
        let program = test_program(checkout, name)?;
        shell::run(Command::new("strip").arg("-o").arg(content.join(name)).arg(program))?;
        let arguments = filter.unwrap_or(arguments);
        script.push_str(&format!(
            "echo; echo '{begin} {name}'; /payload/{name} {arguments} 2>&1; echo; echo \"{end} {name} $?\"\n",
            begin = report::BEGIN,
            end = report::END,
        ));
    }
    std::fs::write(content.join("run"), script)?;
    let disk = folder.join("payload.ext4");
    image::make_disk(&content, &disk, 128)?;
    Ok(disk)
}

/// Builds one of the sandbox's test programs; where it is.
fn test_program(checkout: &Checkout, name: &str) -> Result<PathBuf> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(checkout.root()).stderr(Stdio::inherit());
    build.args([
        "test",
        "--locked",
        "--package",
        "sonagi-sandbox-linux",
        "--no-run",
        "--test",
        name,
    ]);
    let told = shell::read(build.arg("--message-format=json"))?;
    let program = report::executable(&told).with_context(|| format!("cargo names no program for test {name}"))?;
    Ok(program.into())
}

fn boot(guest: &image::Guest, payload: &Path) -> Result<Vec<report::Result>> {
    let disk = |path: &Path, more: &str| format!("file={},format=raw,if=virtio,{more}", path.display());
    let mut process = Command::new("timeout")
        .args([
            LIFE_MAX_SECS,
            "qemu-system-x86_64",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
        ])
        .args([
            "-smp",
            "2",
            "-m",
            MEMORY_MIB,
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
        ])
        .arg("-kernel")
        .arg(&guest.kernel)
        .arg("-initrd")
        .arg(&guest.initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all"])
        // What is written to it is forgotten: every boot is the first.
        .args(["-drive", &disk(&guest.root, "snapshot=on")])
        .args(["-drive", &disk(payload, "readonly=on")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64")?;
    let console = process.stdout.take().context("it has a console")?;
    let mut reading = report::Reading::default();
    for line in BufReader::new(console).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("  | {}", line.trim_end());
        reading.take(line.trim_end());
    }
    let status = process.wait()?;
    if !status.success() {
        bail!("the guest did not come to its end: {status}");
    }
    Ok(reading.results)
}
