//! The way out of cells: each has a pair of interfaces, one end in it and one in this host's network, and its address is
//! translated into the host's.
//!
//! Of the host's network only three things are touched: a table of our own in the packet filter, the interfaces of our own,
//! and the switch by which the uplink passes packets on. The switch is noted in a file before it is turned, and turned back
//! at the end, or at the next start if there was no end. Pairs need no removal: they go with the network namespace of their
//! cell, which the kernel takes down by itself (removing one by hand blocks for tens of milliseconds).

mod host;
mod rules;
mod slots;
mod uplink;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::thread::LinkNameSpaceType;

use self::host::{Nft, Switch};
use self::rules::{Facts, INTERFACES, TABLES, Way};
pub(super) use self::slots::Slot;
use self::slots::Slots;
use crate::launch::{Denied, NatTold};
use crate::netlink::{Network, Pair, To};
use crate::protocol::{At, Failure, words};
use crate::wire::Step;

/// Addresses of cells: a part of what is set aside for measuring devices, which no network routes.
/// Source: RFC 2544; IANA IPv4 Special-Purpose Address Registry.
const CELLS_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Nodes of one host that can have cells with addresses, each with a block of its own.
const BLOCKS: u32 = 16;
/// Length of the network of a block: [`slots::COUNT`] addresses.
const BLOCK_LEN: u8 = 19;
/// The interface inside of a cell.
const INSIDE: &str = "eth0";

/// The way out, open as long as this exists.
#[derive(Debug)]
pub(super) struct Nat {
    nft: Nft,
    table: String,
    prefix: String,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    /// How packets are passed on by interfaces of ours in the second family.
    force_v6: bool,
    mtu: u32,
    slots: Slots,
    record: PathBuf,
}

/// Removes what an earlier spawner of the same folder left: its table, and what it had switched.
///
/// # Errors
/// Text for people.
pub(super) fn sweep(folder: &Path, node: &str) -> Result<(), String> {
    host::restore(&record_in(folder))?;
    let Some(nft) = Nft::find() else { return Ok(()) };
    // A kernel without a packet filter has no tables of ours either.
    let Ok(listed) = nft.list_tables() else { return Ok(()) };
    let own = format!("{TABLES}{node}-");
    let left = rules::tables(&listed).into_iter().filter(|name| name.starts_with(&own));
    left.map(String::from).try_for_each(|name| nft.delete(&name))
}

fn record_in(folder: &Path) -> PathBuf {
    folder.join("switched")
}

impl Nat {
    /// Opens the way out; `node` is the name of this node in hexadecimal.
    ///
    /// # Errors
    /// Why there is none on this host, for people.
    pub(super) fn open(folder: &Path, node: &str, denied: &Denied) -> Result<(Self, NatTold), String> {
        let nft = Nft::find().ok_or("the program nft is not there; hint: apt-get install nftables")?;
        let listed = nft.list_tables()?;
        let others = rules::tables(&listed);
        let block = free_block(node, &others).ok_or(format!("all {BLOCKS} blocks of addresses are in use"))?;
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let routes_v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
        let v4 = uplink::v4(&routes).and_then(|name| Switch::v4(name).map(|switch| (name, switch)));
        let v6 = uplink::v6(&routes_v6).and_then(|name| Switch::v6(name).map(|switch| (name, switch)));
        let first = v4.as_ref().or(v6.as_ref()).ok_or("this host has no default route")?.0;
        // Another node of this host may have turned a switch, and whoever ends last turns it back.
        let turned = |bit: u8| others.iter().any(|name| flags_of(name) & bit != 0);
        let opened_v4 = v4.as_ref().is_some_and(|(_, switch)| !switch.is_on() || turned(1));
        let opened_v6 = v6
            .as_ref()
            .is_some_and(|(_, switch)| switch.is_forced() && (!switch.is_on() || turned(2)));
        let flags = u8::from(opened_v4) | u8::from(opened_v6) << 1;
        let table = format!("{TABLES}{node}-{block:x}-{flags}");
        let prefix = format!("{INTERFACES}{}", &node[..node.len().min(8)]);
        let (cells_v4, cells_v6) = (block_v4(block), network_v6(node));
        let mtu = host::mtu(first).map_err(|errno| format!("cannot read the MTU of {first}: {}", words(errno)))?;
        nft.load(&rules::text(&Facts {
            table: &table,
            prefix: &prefix,
            v4: v4.as_ref().map(|(uplink, _)| Way {
                uplink,
                cells: (cells_v4, BLOCK_LEN),
                opened: opened_v4,
            }),
            v6: v6.as_ref().map(|(uplink, _)| Way {
                uplink,
                cells: (cells_v6, 64),
                opened: opened_v6,
            }),
            denied,
        }))?;
        let nat = Self {
            nft,
            table,
            prefix,
            v4: v4.as_ref().map(|_| cells_v4),
            v6: v6.as_ref().map(|_| cells_v6),
            force_v6: v6.as_ref().is_some_and(|(_, switch)| switch.is_forced()),
            mtu,
            slots: Slots::default(),
            record: record_in(folder),
        };
        let switches = [
            v4.as_ref().filter(|_| opened_v4).map(|(_, switch)| switch),
            v6.as_ref().filter(|_| opened_v6).map(|(_, switch)| switch),
        ];
        if let Err(reason) = host::turn_on(&nat.record, switches.into_iter().flatten()) {
            nat.close();
            return Err(reason);
        }
        let told = nat.told(v4.map(|(name, _)| name), v6.map(|(name, _)| name));
        Ok((nat, told))
    }

    fn told(&self, v4: Option<&str>, v6: Option<&str>) -> NatTold {
        let way = |family: &str, uplink: Option<&str>| uplink.map(|name| format!("{family} by {name}"));
        let ways: Vec<String> = [way("IPv4", v4), way("IPv6", v6)].into_iter().flatten().collect();
        let closed = self.nft.list_chains().map(|listed| rules::closed_chains(&listed));
        NatTold {
            ways: ways.join(", "),
            mtu: self.mtu,
            closed: closed.unwrap_or_default(),
        }
    }

    /// A place for one more cell; `None` when there is none.
    pub(super) fn take(&self) -> Option<Slot> {
        self.slots.take()
    }

    /// Connects a cell; called in a process that is in its new network namespace. `host` is this host's.
    pub(super) fn connect(&self, slot: &Slot, host: BorrowedFd<'_>) -> Result<(), Failure> {
        let place = slot.number();
        let name = format!("{}{place:04x}", self.prefix);
        let cell = super::workshop::open("/proc/self/ns/net").at(Step::Network)?;
        enter(host)?;
        let world = Network::open().at(Step::Network)?;
        let pair = Pair {
            here: &name,
            there: INSIDE,
            namespace: cell.as_fd(),
            mtu: self.mtu,
        };
        world.make_pair(&pair).at_path(Step::Network, &name)?;
        let number = world.number_of(&name).at(Step::Network)?;
        for address in self.addresses(place) {
            world
                .add_route(number, To::One(address))
                .at_path(Step::Network, address.to_string())?;
        }
        host::pass_on(&name, self.v4.is_some(), self.v6.map(|_| self.force_v6)).at_path(Step::Network, &name)?;
        enter(cell.as_fd())?;
        let inside = Network::open().at(Step::Network)?;
        let number = inside.number_of(INSIDE).at(Step::Network)?;
        if self.v6.is_none() {
            host::without_v6(INSIDE);
        }
        inside.bring_up(number).at(Step::Network)?;
        for address in self.addresses(place) {
            inside
                .add_address(number, address)
                .at_path(Step::Network, address.to_string())?;
            inside
                .add_route(number, To::All(address))
                .at_path(Step::Network, address.to_string())?;
        }
        Ok(())
    }

    fn addresses(&self, place: u16) -> impl Iterator<Item = IpAddr> {
        let v4 = self
            .v4
            .map(|network| Ipv4Addr::from(u32::from(network) + u32::from(place)).into());
        let v6 = self
            .v6
            .map(|network| Ipv6Addr::from(u128::from(network) + u128::from(place) + 1).into());
        [v4, v6].into_iter().flatten()
    }

    /// Closes the way out and leaves the host as it was. What cannot be done is complained about, and done by the next
    /// start.
    pub(super) fn close(&self) {
        let others = self.nft.list_tables().unwrap_or_default();
        let flags = flags_of(&self.table);
        let still = |name: &&str| **name != self.table && flags_of(name) & flags != 0;
        let shared = rules::tables(&others).iter().any(still);
        let restored = if shared {
            host::forget(&self.record)
        } else {
            host::restore(&self.record)
        };
        let deleted = self.nft.delete(&self.table);
        for reason in [restored, deleted].into_iter().filter_map(Result::err) {
            super::complain(&reason);
        }
    }
}

fn enter(network: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::thread::move_into_link_name_space(network, Some(LinkNameSpaceType::Network)).at(Step::Network)
}

/// What a table's name says of the switches that were turned for it.
fn flags_of(table: &str) -> u8 {
    table
        .rsplit('-')
        .next()
        .and_then(|flags| flags.parse().ok())
        .unwrap_or(0)
}

/// The block of a node: the one that follows from its name, or the next that no other table has.
fn free_block(node: &str, tables: &[&str]) -> Option<u32> {
    let taken = |block: u32| {
        tables
            .iter()
            .any(|name| name.split('-').nth(2) == Some(&format!("{block:x}")))
    };
    let first = number_of(node) as u32 % BLOCKS;
    (0..BLOCKS)
        .map(|step| (first + step) % BLOCKS)
        .find(|block| !taken(*block))
}

fn block_v4(block: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(CELLS_V4) + (block << (32 - BLOCK_LEN)))
}

/// A unique local network of 64 bits; its 40 bits of randomness are the node's name. Source: RFC 4193.
fn network_v6(node: &str) -> Ipv6Addr {
    let global = u128::from(number_of(node)) >> 24;
    Ipv6Addr::from(0xfd_u128 << 120 | global << 80)
}

fn number_of(node: &str) -> u64 {
    u64::from_str_radix(node, 16).unwrap_or(0)
}

/// A name of ours is at most 15 bytes long. Source: Linux `include/uapi/linux/if.h`, `IFNAMSIZ`.
const _: () = assert!(INTERFACES.len() + 8 + 4 < 16, "names of interfaces fit");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_blocks_of_their_own() {
        assert_eq!(free_block("000000000000001f", &[]), Some(15));
        assert_eq!(
            free_block("000000000000001f", &["sonagi-00000000000000aa-f-0"]),
            Some(0)
        );
        let all: Vec<String> = (0..16).map(|block| format!("sonagi-00-{block:x}-0")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(free_block("000000000000001f", &all), None);
        assert_eq!(block_v4(0), Ipv4Addr::new(198, 18, 0, 0));
        assert_eq!(block_v4(15), Ipv4Addr::new(198, 19, 224, 0));
        assert_eq!(network_v6("0102030405060708").to_string(), "fd01:203:405::");
    }

    #[test]
    fn a_table_says_what_was_switched_for_it() {
        for (name, flags) in [("sonagi-00-f-0", 0), ("sonagi-00-f-3", 3), ("sonagi-00", 0), ("x", 0)] {
            assert_eq!(flags_of(name), flags, "{name}");
        }
    }
}
