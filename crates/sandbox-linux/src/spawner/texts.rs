//! Files of `/etc` and `/proc` that a function sees instead of the host's. Pure text.

use sonagi_model::Mebibytes;

/// Host name inside every cell.
pub(super) const HOSTNAME: &str = "sonagi";

/// Files of `/etc`: the same in every cell.
pub(super) const ETC: &[(&str, &str)] = &[
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nfunction:x:1000:1000:function:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("group", "root:x:0:\nfunction:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost sonagi\n::1 localhost\n"),
    // With no name server listed, the resolver asks the loopback address and is refused at once.
    ("resolv.conf", ""),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("hostname", "sonagi\n"),
];

/// `/proc/meminfo` of an instance: what it may use, all of it free. The fields are those that runtimes read to size
/// themselves.
pub(super) fn meminfo(memory: Mebibytes) -> String {
    let kib = memory.bytes() / 1024;
    let mut text = String::new();
    for (name, value) in [
        ("MemTotal", kib),
        ("MemFree", kib),
        ("MemAvailable", kib),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Shmem", 0),
        ("Slab", 0),
    ] {
        text.push_str(&format!("{:<16}{value:>8} kB\n", format!("{name}:")));
    }
    text
}

/// `/proc/stat`: the host's processors and boot time, without what they have done. `ps` counts from the boot time.
pub(super) fn stat(host: &str) -> String {
    let mut text = String::new();
    for line in host.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        if name.starts_with("cpu") {
            text.push_str(name);
            text.push_str(if name == "cpu" {
                "  0 0 0 0 0 0 0 0 0 0\n"
            } else {
                " 0 0 0 0 0 0 0 0 0 0\n"
            });
        } else if name == "btime" {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str("ctxt 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n");
    text
}

/// `/proc/uptime`.
pub(super) const UPTIME: &str = "1.00 1.00\n";
/// `/proc/loadavg`.
pub(super) const LOADAVG: &str = "0.00 0.00 0.00 1/1 1\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_sees_its_own_memory() {
        let text = meminfo(Mebibytes(128));
        assert!(
            text.starts_with("MemTotal:         131072 kB\nMemFree:          131072 kB\n"),
            "{text}"
        );
        assert!(text.contains("SwapTotal:             0 kB\n"), "{text}");
    }

    #[test]
    fn processors_are_shown_and_their_work_is_not() {
        let host = "cpu  10 2 3\ncpu0 5 1 2\ncpu1 5 1 1\nintr 99 1 2\nctxt 77\nbtime 1700000000\nprocesses 9\n";
        assert_eq!(
            stat(host),
            "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nbtime 1700000000\n\
             ctxt 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n"
        );
    }
}
