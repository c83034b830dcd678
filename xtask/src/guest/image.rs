//! Kernel, first file system and disk of the guest, made once and kept in `.cache/guest`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::setup::{debian, stamp};
use crate::shell;

/// The release of the guest.
const RELEASE: &str = "bookworm";
/// Its kernel: one package for each build, so the name pins it as far as Debian keeps it.
const KERNEL: &str = "6.1.0-56-cloud-amd64";
/// Packages of its system beside the smallest one.
const PACKAGES: &str = "python3,iproute2,nftables";
/// Size of its disk, MiB.
const DISK_MIB: u32 = 700;
/// What its kernel needs to see the disk, in this order.
const MODULES: [&str; 6] = [
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci",
    "block/virtio_blk",
];
/// The first process: finds the disk and makes it the root.
const FIRST: &str = "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in MODULES; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox mount -t ext4 /dev/vda /system
/bin/busybox mount --move /dev /system/dev
exec /bin/busybox switch_root /system /sbin/guest
";
/// The only process of the system: one tree of control groups, no loopback but its own, then the payload.
const SECOND: &str = "#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p /dev/shm /payload
mount -t tmpfs shm /dev/shm
ip link set lo up
mount -o ro /dev/vdb /payload && sh /payload/run
sync
echo o > /proc/sysrq-trigger
sleep 60
";

/// A guest that can be booted.
#[derive(Debug)]
pub struct Guest {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    pub root: PathBuf,
}

/// Makes what is missing of the guest.
///
/// # Errors
/// A program is missing and cannot be installed, a package cannot be fetched, or there is no room.
pub fn prepare(checkout: &Checkout) -> Result<Guest> {
    debian::install(&[
        debian::Need::new(&["qemu-system-x86_64", "--version"], &["qemu-system-x86"]),
        debian::Need::new(&["debootstrap", "--version"], &["debootstrap"]),
        debian::Need::new(&["busybox", "true"], &["busybox-static"]),
        debian::Need::new(&["mke2fs", "-V"], &["e2fsprogs"]),
        debian::Need::new(&["strip", "--version"], &["binutils"]),
    ])?;
    let folder = checkout.cache("guest");
    let wanted = format!("{RELEASE} {KERNEL} {PACKAGES} {DISK_MIB}\n{FIRST}{SECOND}");
    if !stamp::matches(&folder, &wanted) {
        println!("guest: making a Debian {RELEASE} with kernel {KERNEL}");
        stamp::install(&folder, &wanted, || make(&folder))?;
    }
    Ok(Guest {
        kernel: folder.join("vmlinuz"),
        initramfs: folder.join("initramfs"),
        root: folder.join("root.ext4"),
    })
}

fn make(folder: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    let kernel = work.path().join("kernel");
    fetch_kernel(work.path(), &kernel)?;
    fs::copy(kernel.join(format!("boot/vmlinuz-{KERNEL}")), folder.join("vmlinuz"))?;
    make_initramfs(&kernel, &work.path().join("first"), &folder.join("initramfs"))?;
    let root = work.path().join("root");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), RELEASE]);
    shell::run(debootstrap.arg(&root).stdout(Stdio::null()))?;
    write_program(&root.join("sbin/guest"), SECOND)?;
    make_disk(&root, &folder.join("root.ext4"), DISK_MIB)
}

fn fetch_kernel(work: &Path, into: &Path) -> Result<()> {
    let package = format!("linux-image-{KERNEL}");
    // As root, for `_apt` may not write to a folder of ours.
    let mut fetch = Command::new("apt-get");
    fetch
        .current_dir(work)
        .args(["-qq", "-o", "APT::Sandbox::User=root", "download", &package]);
    shell::run(&mut fetch)?;
    let entries = fs::read_dir(work)?.filter_map(|entry| Some(entry.ok()?.path()));
    let archive = entries
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "deb"));
    let archive = archive.with_context(|| format!("apt-get has fetched no {package}"))?;
    shell::run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(into))
}

fn make_initramfs(kernel: &Path, content: &Path, into: &Path) -> Result<()> {
    for name in ["bin", "dev", "system", "modules"] {
        fs::create_dir_all(content.join(name))?;
    }
    let busybox = shell::read(Command::new("sh").args(["-c", "command -v busybox"]))?;
    fs::copy(busybox.trim(), content.join("bin/busybox"))?;
    let modules = kernel.join(format!("lib/modules/{KERNEL}/kernel/drivers"));
    let mut names = Vec::new();
    for module in MODULES {
        let name = module.rsplit('/').next().unwrap_or(module);
        let from = modules.join(format!("{module}.ko"));
        let to = content.join(format!("modules/{name}.ko"));
        fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        names.push(name);
    }
    write_program(&content.join("init"), &FIRST.replace("MODULES", &names.join(" ")))?;
    let mut pack = Command::new("sh");
    pack.current_dir(content)
        .args(["-c", "find . | busybox cpio -o -H newc"]);
    let status = pack.stdout(fs::File::create(into)?).stderr(Stdio::null()).status()?;
    if !status.success() {
        bail!("busybox cpio: {status}");
    }
    Ok(())
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// A file system of so many MiB with the content of a folder.
///
/// # Errors
/// It does not fit, or there is no room for it.
pub fn make_disk(content: &Path, disk: &Path, mib: u32) -> Result<()> {
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-d"]).arg(content).arg(disk);
    shell::run(make.arg(format!("{mib}M")))
}
