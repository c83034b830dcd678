//! What `sonagi doctor` hears from a running platform: the host's condition, each finding with what to do about it.

use std::path::Path;
use std::sync::Arc;

use sonagi_api::{Check, CheckState};
use sonagi_ports::{Interpreters, Language};

use crate::egress::Way;
use crate::native::Checks;

/// Looks at the host when asked. `groups` says which control groups are in use.
pub(crate) fn of_host(interpreters: Arc<dyn Interpreters>, groups: String, way: Way, secrets: Check) -> Checks {
    Arc::new(move || {
        vec![
            check("groups in use", CheckState::Ok, groups.clone(), None),
            egress_of(&way),
            secrets.clone(),
            mtu(&way),
            packet_filter(&way),
            names(),
            landlock(sonagi_sandbox_linux::landlock_version()),
            interpreter(
                interpreters.as_ref(),
                Language::Python,
                "Python",
                "apt-get install python3",
            ),
            interpreter(
                interpreters.as_ref(),
                Language::Node,
                "Node.js",
                "apt-get install nodejs",
            ),
        ]
    })
}

fn check(name: &str, state: CheckState, found: String, hint: Option<&str>) -> Check {
    Check {
        name: name.to_owned(),
        state,
        found,
        hint: hint.map(str::to_owned),
    }
}

/// How secrets are kept, by the name of their key and its file.
pub(crate) fn secrets(key: &str, file: Option<&Path>) -> Check {
    let (place, hint) = match file {
        Some(file) => (file.display().to_string(), None),
        None => (
            "master.key in the state directory".to_owned(),
            Some("who copies the whole directory has the key too: `sonagi key rotate --to FILE` puts it elsewhere"),
        ),
    };
    check(
        "secrets",
        CheckState::Ok,
        format!("sealed with key {key}, {place}"),
        hint,
    )
}

fn egress_of(way: &Way) -> Check {
    match way {
        Way::Nat(told) => {
            let found = format!("nat: functions reach public addresses, {}", told.ways);
            check("egress", CheckState::Ok, found, None)
        }
        Way::Proxy { instead } => {
            let found = "proxy: functions reach public addresses by HTTP_PROXY and HTTPS_PROXY".to_owned();
            let hint = "programs that do not read these variables reach nothing; Node.js 24 reads them with NODE_USE_ENV_PROXY=1";
            let better = instead
                .as_ref()
                .map(|reason| format!("{hint}; not nat, because {reason}"));
            check("egress", CheckState::Ok, found, Some(better.as_deref().unwrap_or(hint)))
        }
        Way::Nothing => check(
            "egress",
            CheckState::Ok,
            "none: functions reach nothing".to_owned(),
            None,
        ),
    }
}

/// Smallest packet that IPv6 lets a network have. Source: RFC 8200 section 5.
const MTU_MIN: u32 = 1280;

fn mtu(way: &Way) -> Check {
    match way {
        Way::Nat(told) if told.mtu < MTU_MIN => {
            let hint = "below 1280 bytes IPv6 does not work, and much of IPv4 is slow: raise it with `ip link set`";
            check("mtu", CheckState::Warning, told.mtu.to_string(), Some(hint))
        }
        Way::Nat(told) => check("mtu", CheckState::Ok, format!("{}, as of the uplink", told.mtu), None),
        Way::Proxy { .. } | Way::Nothing => {
            check("mtu", CheckState::Ok, "of the loopback interface only".to_owned(), None)
        }
    }
}

fn packet_filter(way: &Way) -> Check {
    match way {
        Way::Nat(told) if !told.closed.is_empty() => {
            let hint =
                "others drop what is forwarded unless their chains accept it: let interfaces named sng* through there";
            check("packet filter", CheckState::Warning, told.closed.join(", "), Some(hint))
        }
        Way::Nat(_) => check(
            "packet filter",
            CheckState::Ok,
            "nftables, a table of our own".to_owned(),
            None,
        ),
        Way::Proxy { .. } | Way::Nothing => check("packet filter", CheckState::Ok, "not used".to_owned(), None),
    }
}

/// Where this host looks for names, which the proxy and the resolver of functions do too.
fn names() -> Check {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<String> = sonagi_egress::name_servers(&text)
        .map(|server| server.to_string())
        .collect();
    if servers.is_empty() {
        let hint =
            "write a `nameserver` line into /etc/resolv.conf: without one functions reach addresses, but no names";
        return check("name servers", CheckState::Warning, "none".to_owned(), Some(hint));
    }
    check("name servers", CheckState::Ok, servers.join(", "), None)
}

fn landlock(version: Option<u32>) -> Check {
    match version {
        Some(version) if version >= 2 => check("landlock", CheckState::Ok, format!("version {version}"), None),
        old => {
            let found = old.map_or_else(
                || "not there".to_owned(),
                |version| format!("version {version}, not used"),
            );
            let hint = "a second wall around files, from Linux 5.19 on; switch it on with lsm=landlock,... at boot";
            check("landlock", CheckState::Warning, found, Some(hint))
        }
    }
}

fn interpreter(interpreters: &dyn Interpreters, language: Language, name: &str, install: &str) -> Check {
    let found: Vec<String> = interpreters
        .all()
        .into_iter()
        .filter(|found| found.language == language)
        .map(|found| format!("{} ({})", found.version, found.program))
        .collect();
    if found.is_empty() {
        let hint = format!("`{install}`, then restart the platform");
        return check(name, CheckState::Warning, "none found".to_owned(), Some(&hint));
    }
    check(name, CheckState::Ok, found.join(", "), None)
}

#[cfg(test)]
mod tests {
    use sonagi_sandbox_linux::NatTold;

    use super::*;

    #[test]
    fn what_may_hinder_packets_is_named() {
        let way = |mtu: u32, closed: &[&str]| {
            Way::Nat(NatTold {
                ways: "IPv4 by eth0".to_owned(),
                mtu,
                closed: closed.iter().map(|chain| (*chain).to_owned()).collect(),
            })
        };
        let good = way(1500, &[]);
        assert_eq!(
            (mtu(&good).state, packet_filter(&good).state),
            (CheckState::Ok, CheckState::Ok)
        );
        let bad = way(900, &["ip filter FORWARD"]);
        assert_eq!(
            (mtu(&bad).state, packet_filter(&bad).state),
            (CheckState::Warning, CheckState::Warning)
        );
        assert_eq!(packet_filter(&bad).found, "ip filter FORWARD");
        let proxy = Way::Proxy {
            instead: Some("no nft".to_owned()),
        };
        assert!(
            egress_of(&proxy)
                .hint
                .is_some_and(|hint| hint.ends_with("because no nft"))
        );
    }

    #[test]
    fn a_missing_wall_is_named() {
        assert_eq!(landlock(Some(2)).state, CheckState::Ok);
        for version in [None, Some(1)] {
            let check = landlock(version);
            assert!(check.state == CheckState::Warning && check.hint.is_some());
        }
    }
}
