//! Every setting of the platform, with its default. Parsed and checked completely before anything is opened or bound.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sonagi_model::Mebibytes;
use sonagi_sandbox_linux::ProcView;

/// How CPU is shared between instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuShare {
    /// In proportion to memory when cores are scarce, free otherwise.
    Weight,
    /// Never more than memory's share of a core (1769 MiB: one core), as the providers do.
    Cap,
}

/// How functions reach what is outside of their sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// The best that this host offers: [`Egress::Nat`], or else [`Egress::Proxy`].
    Auto,
    /// By addresses of their own, which the host's packet filter translates. Needs root and `nft`.
    Nat,
    /// By a network stack in user space. Not in this build.
    Userspace,
    /// By a proxy on the instance's own loopback address, of which variables tell.
    Proxy,
    /// Not at all.
    None,
}

impl Egress {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Nat => "nat",
            Self::Userspace => "userspace",
            Self::Proxy => "proxy",
            Self::None => "none",
        }
    }
}

/// Settings of `sonagi up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The state directory.
    pub data: PathBuf,
    /// The one address that everything is served on.
    pub listen: SocketAddr,
    /// Base of the host names under which functions are reached, for instance `localhost`.
    pub base_domain: String,
    /// Memory for all instances together; `None`: 80 % of the machine's.
    pub node_memory: Option<Mebibytes>,
    /// How long an idle instance is kept.
    pub keep_alive: Duration,
    /// How long an instance is idle before its processes are stopped from running.
    pub freeze_after: Duration,
    /// How CPU is shared.
    pub cpu: CpuShare,
    /// Concurrent invocations of one account.
    pub account_concurrency: u32,
    /// Waits before the second, third … attempt of an asynchronous invocation that failed.
    pub retry_delays: Vec<Duration>,
    /// Age at which an asynchronous event is given up.
    pub event_max_age: Duration,
    /// How long a graceful stop waits for invocations under way.
    pub drain: Duration,
    /// Cells prepared ahead, all runtimes together.
    pub cells: usize,
    /// How functions reach the outside.
    pub egress: Egress,
    /// What functions see of `/proc`.
    pub proc: ProcView,
    /// First of the host uids set aside for instances; each node takes a block of its own from there on, and each live
    /// instance has its own uid.
    pub uid_base: u32,
    /// Host uids of this node, and so the most instances and ready cells at once.
    pub uid_count: u32,
    /// Further directories to search for language interpreters.
    pub interpreters: Vec<PathBuf>,
    /// File with the key that seals secrets; `None`: in the state directory.
    pub key_file: Option<PathBuf>,
    /// Folder with packages that runtimes bring, one folder for each provider and runtime in it.
    pub bundles: Option<PathBuf>,
    /// Settings of providers, by `PROVIDER.NAME`.
    pub provider_settings: BTreeMap<String, String>,
    /// Accept unsigned and unauthenticated requests; only with a loopback address.
    pub insecure_dev: bool,
}

/// A setting is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct OptionsError {
    /// Which.
    pub setting: &'static str,
    /// What is wrong, and the limit.
    pub problem: String,
}

impl Options {
    /// Defaults, with the state in this directory.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            listen: SocketAddr::from(([127, 0, 0, 1], 4747)),
            base_domain: "localhost".to_owned(),
            node_memory: None,
            keep_alive: Duration::from_secs(600),
            freeze_after: Duration::from_millis(50),
            cpu: CpuShare::Weight,
            account_concurrency: 1000,
            retry_delays: vec![Duration::from_secs(60), Duration::from_secs(120)],
            event_max_age: Duration::from_secs(6 * 3600),
            drain: Duration::from_secs(900),
            cells: 8,
            egress: Egress::Auto,
            proc: ProcView::Compat,
            uid_base: 1_000_000_000,
            uid_count: 4096,
            interpreters: Vec::new(),
            key_file: None,
            bundles: None,
            provider_settings: BTreeMap::new(),
            insecure_dev: false,
        }
    }

    /// Checks every setting against its limits and against the others.
    ///
    /// # Errors
    /// [`OptionsError`] for the first one that is wrong.
    pub fn check(&self) -> Result<(), OptionsError> {
        let fail = |setting, problem: String| Err(OptionsError { setting, problem });
        if self.data.as_os_str().is_empty() {
            return fail("data", "the directory has no name".to_owned());
        }
        if self.insecure_dev && !self.listen.ip().is_loopback() {
            return fail(
                "insecure-dev",
                format!("refused with {}: only a loopback address is allowed", self.listen),
            );
        }
        let label = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if self.base_domain.len() > 200 || !self.base_domain.split('.').all(label) {
            return fail("base-domain", format!("{:?} is not a host name", self.base_domain));
        }
        if self.keep_alive < self.freeze_after {
            return fail(
                "keep-alive",
                format!(
                    "{:?} is shorter than freeze-after {:?}",
                    self.keep_alive, self.freeze_after
                ),
            );
        }
        if self.account_concurrency == 0 {
            return fail("account-concurrency", "must be at least 1".to_owned());
        }
        if self.retry_delays.len() > 10 {
            return fail(
                "retry-delays",
                format!("{} delays, more than 10", self.retry_delays.len()),
            );
        }
        if self.uid_base < 65_536 || self.uid_count == 0 || self.uid_base.checked_add(self.uid_count).is_none() {
            let range = format!("{} uids from {}", self.uid_count, self.uid_base);
            return fail("uid-base", format!("{range} is no range above 65535"));
        }
        if self.egress == Egress::Userspace {
            let problem = "userspace is not in this build; hint: nat as root, proxy without".to_owned();
            return fail("egress", problem);
        }
        if self.cells > 1024 {
            return fail("cells", format!("{} is more than 1024", self.cells));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Alter = fn(&mut Options);

    #[test]
    fn each_wrong_setting_is_named() {
        let base = || Options::new("/tmp/x".into());
        assert_eq!(base().check(), Ok(()));
        let cases: [(&str, Alter); 7] = [
            ("egress", |o| o.egress = Egress::Userspace),
            ("insecure-dev", |o| {
                o.insecure_dev = true;
                o.listen = SocketAddr::from(([0, 0, 0, 0], 1));
            }),
            ("base-domain", |o| o.base_domain = "a..b".to_owned()),
            ("keep-alive", |o| o.keep_alive = Duration::ZERO),
            ("account-concurrency", |o| o.account_concurrency = 0),
            ("uid-base", |o| o.uid_base = 1000),
            ("cells", |o| o.cells = 5000),
        ];
        for (setting, alter) in cases {
            let mut options = base();
            alter(&mut options);
            assert_eq!(options.check().unwrap_err().setting, setting);
        }
    }
}
