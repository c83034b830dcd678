//! Requests to the kernel about interfaces, addresses and routes of a network namespace.
//!
//! Source of message forms and numbers: Linux `include/uapi/linux/netlink.h`, `rtnetlink.h`, `if_link.h`, `if_addr.h`,
//! `veth.h`.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
const HEADER_LEN: usize = 16;
/// The hardware address of both ends of every pair. Neither end asks for the other's (`IFF_NOARP`): the kernel then takes
/// its own for the destination, which is the other's as well. Locally administered.
const HARDWARE_ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A message that is being written.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | ACKNOWLEDGE | flags).to_ne_bytes());
        bytes.extend_from_slice(header);
        Self(bytes)
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |message| message.0.extend_from_slice(value));
    }

    /// An attribute whose value is what `write` writes.
    fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        write(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// A pair of interfaces to be made: whatever leaves one arrives at the other. The end here is up, the other one is not yet.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    /// The name of the end in the socket's namespace.
    pub(crate) here: &'a str,
    /// The name of the other end.
    pub(crate) there: &'a str,
    /// The namespace of the other end.
    pub(crate) namespace: BorrowedFd<'a>,
    /// Largest packet, bytes.
    pub(crate) mtu: u32,
}

fn interface(message: &mut Message, name: &str, mtu: u32) {
    const ADDRESS: u16 = 1;
    const NAME: u16 = 3;
    const MTU: u16 = 4;
    const SEND_QUEUES: u16 = 31;
    const RECEIVE_QUEUES: u16 = 32;
    message.put(ADDRESS, &HARDWARE_ADDRESS);
    message.nest(NAME, |message| {
        message.0.extend_from_slice(name.as_bytes());
        message.0.push(0);
    });
    message.put(MTU, &mtu.to_ne_bytes());
    // Else there is one for each processor, with its memory.
    message.put(SEND_QUEUES, &1_u32.to_ne_bytes());
    message.put(RECEIVE_QUEUES, &1_u32.to_ne_bytes());
}

/// `struct ifinfomsg` of an interface, by its number (0: a new one), with flags to be set.
fn interface_header(number: u32, flags: libc::c_int) -> [u8; 16] {
    let flags = flags.cast_unsigned().to_ne_bytes();
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&number.to_ne_bytes());
    header[8..12].copy_from_slice(&flags);
    header[12..16].copy_from_slice(&flags);
    header
}

fn pair_message(pair: &Pair<'_>) -> Vec<u8> {
    const LINK: u16 = 18;
    const LINK_KIND: u16 = 1;
    const LINK_DATA: u16 = 2;
    const PEER: u16 = 1;
    const NAMESPACE: u16 = 28;
    let header = interface_header(0, libc::IFF_UP | libc::IFF_NOARP);
    let mut message = Message::new(NEW_LINK, CREATE | EXCLUSIVE, &header);
    interface(&mut message, pair.here, pair.mtu);
    message.nest(LINK | NESTED, |message| {
        message.put(LINK_KIND, b"veth");
        message.nest(LINK_DATA | NESTED, |message| {
            message.nest(PEER | NESTED, |message| {
                // It cannot be up before the pair is one.
                message.0.extend_from_slice(&interface_header(0, libc::IFF_NOARP));
                interface(message, pair.there, pair.mtu);
                message.put(NAMESPACE, &pair.namespace.as_raw_fd().to_ne_bytes());
            });
        });
    });
    message.finish()
}

fn family(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (libc::AF_INET as u8, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6 as u8, address.octets().to_vec()),
    }
}

fn address_message(interface: u32, address: IpAddr) -> Vec<u8> {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    /// `IFA_F_NODAD`: nobody else can have it.
    const NO_DUPLICATES: u8 = 2;
    let (family, octets) = family(address);
    let length = if address.is_ipv4() { 32 } else { 128 };
    let flags = if address.is_ipv4() { 0 } else { NO_DUPLICATES };
    let mut header = vec![family, length, flags, 0];
    header.extend_from_slice(&interface.to_ne_bytes());
    let mut message = Message::new(NEW_ADDRESS, CREATE | EXCLUSIVE, &header);
    message.put(LOCAL, &octets);
    message.put(ADDRESS, &octets);
    message.finish()
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// To one address.
    One(IpAddr),
    /// To every address of the family of this one.
    All(IpAddr),
}

fn route_message(interface: u32, to: To) -> Vec<u8> {
    const DESTINATION: u16 = 1;
    const INTERFACE: u16 = 4;
    const MAIN_TABLE: u8 = 254;
    const BY_ADMINISTRATOR: u8 = 4;
    const LINK: u8 = 253;
    const UNIVERSE: u8 = 0;
    const UNICAST: u8 = 1;
    let (To::One(address) | To::All(address)) = to;
    let (family, octets) = family(address);
    let length = match to {
        To::One(_) => u8::try_from(octets.len() * 8).unwrap_or(u8::MAX),
        To::All(_) => 0,
    };
    let scope = if address.is_ipv4() { LINK } else { UNIVERSE };
    let header = [
        family,
        length,
        0,
        0,
        MAIN_TABLE,
        BY_ADMINISTRATOR,
        scope,
        UNICAST,
        0,
        0,
        0,
        0,
    ];
    let mut message = Message::new(NEW_ROUTE, CREATE | EXCLUSIVE, &header);
    if length > 0 {
        message.put(DESTINATION, &octets);
    }
    message.put(INTERFACE, &interface.to_ne_bytes());
    message.finish()
}

/// The kernel's word about the network namespace in which this was opened.
#[derive(Debug)]
pub(crate) struct Network(OwnedFd);

impl Network {
    /// That of the calling process.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn open() -> Result<Self, Errno> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self(socket))
    }

    /// Makes a pair of interfaces.
    ///
    /// # Errors
    /// As the kernel says; `EEXIST` when the name is in use.
    pub(crate) fn make_pair(&self, pair: &Pair<'_>) -> Result<(), Errno> {
        self.ask(&pair_message(pair))
    }

    /// The number of an interface.
    ///
    /// # Errors
    /// `ENODEV` when there is none of that name.
    pub(crate) fn number_of(&self, interface: &str) -> Result<u32, Errno> {
        // Any socket of the namespace will do.
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::netdevice::name_to_index(socket.as_fd(), interface)
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn bring_up(&self, interface: u32) -> Result<(), Errno> {
        self.ask(&Message::new(NEW_LINK, 0, &interface_header(interface, libc::IFF_UP)).finish())
    }

    /// Gives an address, alone in its network, to an interface.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn add_address(&self, interface: u32, address: IpAddr) -> Result<(), Errno> {
        self.ask(&address_message(interface, address))
    }

    /// Adds a route that leads out of an interface.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn add_route(&self, interface: u32, to: To) -> Result<(), Errno> {
        self.ask(&route_message(interface, to))
    }

    fn ask(&self, message: &[u8]) -> Result<(), Errno> {
        rustix::net::send(&self.0, message, SendFlags::empty())?;
        let mut answer = [0; 4096];
        let (length, _) = rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut answer, RecvFlags::empty()))?;
        outcome(&answer[..length])
    }
}

/// What the kernel answered: an error number, 0 for success.
fn outcome(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
    let code = answer
        .get(HEADER_LEN..HEADER_LEN + 4)
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(code)) => Err(Errno::from_raw_os_error(code.saturating_neg())),
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_how_long_they_and_their_parts_are() {
        let message = route_message(7, To::One("198.18.0.1".parse().unwrap()));
        assert_eq!(usize::from(message[0]), message.len());
        assert_eq!(message.len(), HEADER_LEN + 12 + 8 + 8);
        assert_eq!(message[HEADER_LEN..HEADER_LEN + 2], [libc::AF_INET as u8, 32]);
        assert_eq!(message[28..36], [8, 0, 1, 0, 198, 18, 0, 1]);
        assert_eq!(message[36..44], [8, 0, 4, 0, 7, 0, 0, 0]);
        let all = route_message(7, To::All("::".parse().unwrap()));
        assert_eq!(all.len(), HEADER_LEN + 12 + 8);
        let mut message = Message::new(0, 0, &[]);
        message.put(3, b"ab\0");
        assert_eq!(message.finish()[HEADER_LEN..], [7, 0, 3, 0, b'a', b'b', 0, 0]);
    }

    #[test]
    fn answers_are_read() {
        let answer = |kind: u16, code: i32| {
            let mut bytes = vec![0; HEADER_LEN];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes
        };
        assert_eq!(outcome(&answer(ERROR, 0)), Ok(()));
        assert_eq!(outcome(&answer(ERROR, -17)), Err(Errno::EXIST));
        assert_eq!(outcome(&answer(NEW_LINK, 0)), Err(Errno::PROTO));
        assert_eq!(outcome(&[]), Err(Errno::PROTO));
    }
}
