//! Ranges of IP addresses.

use std::net::IpAddr;

/// A range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr {
    network: IpAddr,
    bits: u32,
}

impl Cidr {
    /// Reads `ADDRESS/BITS`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = text
            .split_once('/')
            .filter(|(_, bits)| !bits.contains('/'))
            .ok_or_else(|| "Malformed CIDR, one '/' required".to_owned())?;
        let network: IpAddr = address
            .parse()
            .map_err(|_| "Malformed CIDR, IP address could not be parsed".to_owned())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let bits: u32 = bits
            .parse()
            .map_err(|_| "Malformed CIDR, mask bits must be an integer".to_owned())?;
        if bits > longest {
            return Err(format!(
                "IPv{} mask bits must not be more than {longest}",
                if longest == 32 { 4 } else { 6 }
            ));
        }
        Ok(Self { network, bits })
    }

    pub(super) fn holds(self, address: IpAddr) -> bool {
        let same = |differing: u128, width: u32| width == 0 || self.bits == 0 || differing >> (width - self.bits) == 0;
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                same(u128::from(network.to_bits() ^ address.to_bits()), u32::BITS)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => same(network.to_bits() ^ address.to_bits(), u128::BITS),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}
