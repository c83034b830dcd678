//! The packet filter between cells and the world, as text for `nft`: one table of our own. Pure.
//!
//! Everything that a cell sends arrives at an interface whose name begins with the node's prefix. What is for this host
//! itself is refused, whatever its address; what is to be passed on is passed on to the uplink only, never to another cell,
//! and not to a denied network. Nothing comes in that does not answer something. IPv4 and IPv6 go the same way.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::launch::Denied;

/// What begins the name of every interface of every node.
pub(super) const INTERFACES: &str = "sng";
/// What begins the name of every table of every node.
pub(super) const TABLES: &str = "sonagi-";
/// Connections, and what counts as one, that one cell may have at once.
const CONNECTIONS_MAX: u32 = 1024;

/// What the text depends on.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) table: &'a str,
    /// What begins the names of this node's interfaces.
    pub(super) prefix: &'a str,
    pub(super) v4: Option<Way<'a, Ipv4Addr>>,
    pub(super) v6: Option<Way<'a, Ipv6Addr>>,
    pub(super) denied: &'a Denied,
}

/// The way out in one family.
#[derive(Debug)]
pub(super) struct Way<'a, A> {
    pub(super) uplink: &'a str,
    /// Addresses of cells: network and length.
    pub(super) cells: (A, u8),
    /// Whether the uplink did not pass anything on before: then nothing but ours is let through.
    pub(super) opened: bool,
}

/// The whole table. It is written as one transaction; one of the same name is replaced.
pub(super) fn text(facts: &Facts<'_>) -> String {
    let (table, prefix) = (facts.table, facts.prefix);
    let mut outgoing = String::new();
    let mut passing = String::new();
    let mut masquerade = String::new();
    let mut sets = String::new();
    let families = [
        facts.v4.as_ref().map(|way| {
            let cells = format!("{}/{}", way.cells.0, way.cells.1);
            ("ipv4", "ip", way.uplink, cells, way.opened)
        }),
        facts.v6.as_ref().map(|way| {
            let cells = format!("{}/{}", way.cells.0, way.cells.1);
            ("ipv6", "ip6", way.uplink, cells, way.opened)
        }),
    ];
    for (family, header, uplink, cells, opened) in families.into_iter().flatten() {
        let denied = match family {
            "ipv4" => elements(&facts.denied.v4),
            _ => elements(&facts.denied.v6),
        };
        let _ = write!(
            sets,
            "  set denied_{family} {{ type {family}_addr; flags interval; auto-merge; elements = {{ {denied} }} }}\n  \
             set connections_{family} {{ type {family}_addr; size 65535; flags dynamic; }}\n"
        );
        let _ = writeln!(
            outgoing,
            "    meta nfproto {family} oifname \"{uplink}\" {header} saddr {cells} jump {family}"
        );
        let _ = write!(
            passing,
            "  chain {family} {{\n    {header} daddr @denied_{family} reject with icmpx admin-prohibited\n    \
             ct state established,related accept\n    ct state invalid drop\n    \
             add @connections_{family} {{ {header} saddr ct count over {CONNECTIONS_MAX} }} reject with icmpx \
             admin-prohibited\n    accept\n  }}\n"
        );
        if opened {
            let _ = write!(
                masquerade,
                "  chain others_{family} {{\n    type filter hook forward priority filter - 9; policy accept;\n    \
                 meta nfproto {family} iifname \"{uplink}\" oifname != \"{INTERFACES}*\" drop\n  }}\n"
            );
        }
        let _ = write!(
            masquerade,
            "  chain leave_{family} {{\n    type nat hook postrouting priority srcnat; policy accept;\n    \
             {header} saddr {cells} oifname \"{uplink}\" masquerade\n  }}\n"
        );
    }
    format!(
        "table inet {table} {{}}\ndelete table inet {table}\ntable inet {table} {{\n{sets}{passing}  chain outgoing {{\n\
         {outgoing}    reject with icmpx admin-prohibited\n  }}\n  chain incoming {{\n    ct state established,related accept\n    \
         drop\n  }}\n  chain input {{\n    type filter hook input priority filter - 10; policy accept;\n    \
         iifname \"{prefix}*\" reject with icmpx admin-prohibited\n  }}\n  chain forward {{\n    \
         type filter hook forward priority filter - 10; policy accept;\n    iifname \"{prefix}*\" jump outgoing\n    \
         oifname \"{prefix}*\" jump incoming\n  }}\n{masquerade}}}\n"
    )
}

fn elements<A: std::fmt::Display>(networks: &[(A, u8)]) -> String {
    let texts: Vec<String> = networks
        .iter()
        .map(|(address, length)| format!("{address}/{length}"))
        .collect();
    texts.join(", ")
}

/// Tables of Sonagi, this node's and others', in what `nft list tables` prints.
pub(super) fn tables(listed: &str) -> Vec<&str> {
    let names = listed.lines().filter_map(|line| line.strip_prefix("table inet "));
    names.map(str::trim).filter(|name| name.starts_with(TABLES)).collect()
}

/// Chains of others that let nothing be passed on unless they are told otherwise, in what `nft list chains` prints.
pub(super) fn closed_chains(listed: &str) -> Vec<String> {
    let (mut table, mut chain, mut found) = ("", "", Vec::new());
    for line in listed.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(" {");
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches(" {");
        } else if line.contains("hook forward") && line.contains("policy drop") {
            found.push(format!("{table} {chain}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_as_it_was_reviewed() {
        let denied = Denied {
            v4: vec![(Ipv4Addr::new(10, 0, 0, 0), 8), (Ipv4Addr::new(169, 254, 0, 0), 16)],
            v6: vec![(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)],
        };
        let facts = Facts {
            table: "sonagi-x-0-1",
            prefix: "sng01",
            v4: Some(Way {
                uplink: "eth0",
                cells: (Ipv4Addr::new(198, 18, 0, 0), 19),
                opened: true,
            }),
            v6: Some(Way {
                uplink: "eth1",
                cells: (Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, 0), 64),
                opened: false,
            }),
            denied: &denied,
        };
        assert_eq!(text(&facts), include_str!("reviewed.nft"));
    }

    #[test]
    fn what_nft_prints_is_read() {
        let listed = "table ip filter\ntable inet sonagi-0-1-2\ntable ip6 sonagi-9\ntable inet other\n";
        assert_eq!(tables(listed), ["sonagi-0-1-2"]);
        let listed = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n\
                      \tchain X {\n\t}\n}\ntable inet t {\n\tchain forward {\n\t\ttype filter hook forward priority 0; policy \
                      accept;\n\t}\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n";
        assert_eq!(closed_chains(listed), ["ip filter FORWARD"]);
    }
}
