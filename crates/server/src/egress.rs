//! Which way functions reach the outside on this host.

use std::sync::Arc;

use sonagi_egress::{NattedSandbox, ProxiedSandbox, deny};
use sonagi_ports::Sandbox;
use sonagi_sandbox_linux::{Denied, NatTold};

use crate::Egress;

/// The way that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// By addresses of their own.
    Nat(NatTold),
    /// By a proxy. `instead` says why there is no better way, if one was wanted.
    Proxy { instead: Option<String> },
    /// None.
    Nothing,
}

/// What the sandbox is asked for: the networks that no function may reach, if there is to be a way out.
pub(crate) fn wanted(egress: Egress) -> Option<Denied> {
    match egress {
        Egress::Auto | Egress::Nat => Some(Denied {
            v4: deny::V4
                .iter()
                .map(|(network, length, _)| (*network, *length))
                .collect(),
            v6: deny::V6
                .iter()
                .map(|(network, length, _)| (*network, *length))
                .collect(),
        }),
        Egress::Userspace | Egress::Proxy | Egress::None => None,
    }
}

/// The way for a setting, by what the sandbox said of it.
///
/// # Errors
/// Why the way that was asked for is none on this host.
pub(crate) fn choose(egress: Egress, nat: Option<Result<NatTold, String>>) -> Result<Way, String> {
    match (egress, nat) {
        (Egress::Auto | Egress::Nat, Some(Ok(told))) => Ok(Way::Nat(told)),
        (Egress::Auto, other) => Ok(Way::Proxy {
            instead: other.and_then(Result::err),
        }),
        (Egress::Nat, Some(Err(reason))) => Err(reason),
        (Egress::Nat | Egress::Userspace, _) => Err("this build has no such way".to_owned()),
        (Egress::Proxy, _) => Ok(Way::Proxy { instead: None }),
        (Egress::None, _) => Ok(Way::Nothing),
    }
}

impl Way {
    /// The sandbox with what is served for this way.
    pub(crate) fn around(&self, sandbox: Arc<dyn Sandbox>) -> Arc<dyn Sandbox> {
        match self {
            Self::Nat(_) => Arc::new(NattedSandbox::new(sandbox)),
            Self::Proxy { .. } => Arc::new(ProxiedSandbox::new(sandbox)),
            Self::Nothing => sandbox,
        }
    }

    /// Its name among the settings.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Nat(_) => Egress::Nat.name(),
            Self::Proxy { .. } => Egress::Proxy.name(),
            Self::Nothing => Egress::None.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_way_is_taken_and_one_that_was_asked_for_is_not_replaced() {
        let told = NatTold {
            ways: "IPv4 by eth0".to_owned(),
            mtu: 1500,
            closed: Vec::new(),
        };
        let (open, shut) = (|| Some(Ok(told.clone())), || Some(Err("no nft".to_owned())));
        let proxy = |instead: Option<&str>| {
            Ok(Way::Proxy {
                instead: instead.map(str::to_owned),
            })
        };
        assert_eq!(choose(Egress::Auto, open()), Ok(Way::Nat(told.clone())));
        assert_eq!(choose(Egress::Nat, open()), Ok(Way::Nat(told.clone())));
        assert_eq!(choose(Egress::Auto, shut()), proxy(Some("no nft")));
        assert_eq!(choose(Egress::Nat, shut()), Err("no nft".to_owned()));
        assert_eq!(choose(Egress::Proxy, None), proxy(None));
        assert_eq!(choose(Egress::None, None), Ok(Way::Nothing));
    }

    #[test]
    fn what_may_not_be_reached_is_passed_to_the_packet_filter() {
        let denied = wanted(Egress::Auto).unwrap();
        assert_eq!((denied.v4.len(), denied.v6.len()), (deny::V4.len(), deny::V6.len()));
        assert_eq!(wanted(Egress::Proxy), None);
    }
}
