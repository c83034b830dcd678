//! Being written.

pub mod cgroup;
