//! Which addresses no function may reach. Pure, and the same for every way out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4, with what they are. Source: IANA IPv4 Special-Purpose Address Registry; metadata services live in
/// the link-local one (169.254.169.254, 169.254.170.2).
pub const V4: &[(Ipv4Addr, u8, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by carriers"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (
        Ipv4Addr::new(169, 254, 0, 0),
        16,
        "link-local, where metadata services are",
    ),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved or broadcast"),
];

/// Networks of IPv6, with what they are. Source: IANA IPv6 Special-Purpose Address Registry. Those in which an IPv4
/// address is embedded lead to it by way of a translator, or not at all. Metadata services: `fd00:ec2::254`.
pub const V6: &[(Ipv6Addr, u8, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 127, "unspecified or loopback"),
    (Ipv6Addr::UNSPECIFIED, 96, "an embedded IPv4 address"),
    (
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),
        96,
        "an IPv4 address in IPv6 form",
    ),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "translated IPv4"),
    (
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0),
        48,
        "locally translated IPv4",
    ),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discarded"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "tunnelled IPv4"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "tunnelled IPv4"),
    (
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
        "private, where metadata services are",
    ),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// Why an address may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It lies in a network of [`V4`] or [`V6`], which is this.
    Network(&'static str),
    /// It is one of the host's own.
    Host,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(what) => f.write_str(what),
            Self::Host => f.write_str("an address of this host"),
        }
    }
}

/// Decides about one address. `is_own` says whether an address is one of the host's; it is asked last.
///
/// An IPv4 address in IPv6 form is taken for what it is, and never allowed in that form.
///
/// # Errors
/// [`Denied`]: it may not be reached.
pub fn check(address: IpAddr, is_own: impl FnOnce(IpAddr) -> bool) -> Result<(), Denied> {
    let network = match address {
        IpAddr::V4(address) => {
            let bits = u32::from(address);
            V4.iter()
                .find(|(network, length, _)| (bits ^ u32::from(*network)) >> (32 - length) == 0)
                .map(|(_, _, what)| *what)
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            V6.iter()
                .find(|(network, length, _)| (bits ^ u128::from(*network)) >> (128 - length) == 0)
                .map(|(_, _, what)| *what)
        }
    };
    match network {
        Some(what) => Err(Denied::Network(what)),
        None if is_own(address) => Err(Denied::Host),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(address: &str) -> Result<(), Denied> {
        let own: IpAddr = "203.0.113.7".parse().unwrap();
        check(address.parse().unwrap(), |address| address == own)
    }

    #[test]
    fn what_is_not_of_the_public_internet_is_denied() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(matches!(decided(address), Err(Denied::Network(_))), "{address}");
        }
    }

    #[test]
    fn the_public_internet_is_reached_but_not_the_host() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2600::1",
            "2001:4860:4860::8888",
            "2003::1",
        ] {
            assert_eq!(decided(address), Ok(()), "{address}");
        }
        assert_eq!(decided("203.0.113.7"), Err(Denied::Host));
    }
}
