//! How many connections each address has: one caller cannot take all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections by address. Addresses without connections are forgotten, so there are never more than connections.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place among those of its address, until this is dropped.
#[derive(Debug)]
pub(crate) struct CallerPlace {
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Callers {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// A place, unless the address has as many as it may. A loopback address stands for everybody on this host and is not
    /// counted; an IPv6 address stands for its /64, which is one subscriber's.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Option<CallerPlace>> {
        let address = subscriber(address);
        if address.is_loopback() {
            return Some(None);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Some(CallerPlace {
            address,
            open: Arc::clone(&self.open),
        }))
    }
}

impl Drop for CallerPlace {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::from((u128::from(address) & !u128::from(u64::MAX)).to_be_bytes())
        }
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_only_so_many_places() {
        let callers = Callers::new(2);
        let admit = |address: &str| callers.admit(address.parse().unwrap());
        let (first, second) = (admit("192.0.2.1"), admit("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(admit("192.0.2.1").is_none());
        assert!(admit("192.0.2.2").is_some());
        drop(first);
        assert!(admit("192.0.2.1").is_some());
        let neighbors = (admit("2001:db8::1"), admit("2001:db8::2"));
        assert!(admit("2001:db8::ffff:3").is_none(), "{neighbors:?}");
        assert!(admit("2001:db8:0:1::1").is_some());
        for _ in 0..5 {
            std::mem::forget(admit("127.0.0.1"));
        }
        assert!(admit("127.0.0.1").is_some());
        drop((second, neighbors));
        assert!(callers.open.lock().unwrap().is_empty());
    }
}
