//! Tests against the kernel of this host. They need root.

mod cgroup;
mod interpreter;
mod seccomp;
