//! Tests against the kernel of this host. They need root.

mod cgroup;
mod seccomp;
