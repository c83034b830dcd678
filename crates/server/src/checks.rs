//! What `sonagi doctor` hears from a running platform: the host's condition, each finding with what to do about it.

use std::sync::Arc;

use sonagi_api::{Check, CheckState};
use sonagi_ports::{Interpreters, Language};

use crate::Egress;
use crate::native::Checks;

/// Looks at the host when asked. `groups` says which control groups are in use.
pub(crate) fn of_host(interpreters: Arc<dyn Interpreters>, groups: String, egress: Egress) -> Checks {
    Arc::new(move || {
        vec![
            check("groups in use", CheckState::Ok, groups.clone(), None),
            egress_of(egress),
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

fn egress_of(egress: Egress) -> Check {
    match egress.chosen() {
        Egress::Auto | Egress::Proxy => {
            let found = "proxy: functions reach public addresses by HTTP_PROXY and HTTPS_PROXY".to_owned();
            let hint = "programs that do not read these variables reach nothing; Node.js 24 reads them with NODE_USE_ENV_PROXY=1";
            check("egress", CheckState::Ok, found, Some(hint))
        }
        Egress::None => check(
            "egress",
            CheckState::Ok,
            "none: functions reach nothing".to_owned(),
            None,
        ),
    }
}

/// Where this host looks for names, which the proxy does too.
fn names() -> Check {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<&str> = text.lines().filter_map(name_server).collect();
    if servers.is_empty() {
        let hint =
            "write a `nameserver` line into /etc/resolv.conf: without one functions reach addresses, but no names";
        return check("name servers", CheckState::Warning, "none".to_owned(), Some(hint));
    }
    check("name servers", CheckState::Ok, servers.join(", "), None)
}

/// Source: resolv.conf(5).
fn name_server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next())?
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
    use super::*;

    #[test]
    fn name_servers_are_read() {
        for (line, expected) in [
            ("nameserver 192.0.2.1", Some("192.0.2.1")),
            (" nameserver\t2001:db8::1 # near", Some("2001:db8::1")),
            ("# nameserver 192.0.2.1", None),
            ("nameserver", None),
            ("search example.com", None),
        ] {
            assert_eq!(name_server(line), expected, "{line}");
        }
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
