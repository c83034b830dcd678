//! Limits of concurrency, as atomic counts: a call passes or is refused at once.
//!
//! A function with reserved concurrency has exactly that many places, which nobody else of its tenant can take. All
//! other functions of the tenant share what is left of its limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use sonagi_model::{Function, FunctionId, TenantId, ThrottleReason};

/// Attempts that run at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Running {
    /// Of the function.
    pub function: u32,
    /// Of all functions of its tenant.
    pub tenant: u32,
}

/// The gates of all functions.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    functions: papaya::HashMap<FunctionId, Arc<FunctionGate>>,
    tenants: papaya::HashMap<TenantId, Arc<TenantGate>>,
}

#[derive(Debug)]
struct FunctionGate {
    running: AtomicU32,
    reserved: AtomicU64,
    tenant: Arc<TenantGate>,
}

#[derive(Debug, Default)]
struct TenantGate {
    running: AtomicU32,
    /// Of those, the ones of functions without reserved concurrency.
    unreserved: AtomicU32,
    /// Sum of all reservations.
    reserved: AtomicU64,
}

/// [`FunctionGate::reserved`] of a function without reserved concurrency.
const UNRESERVED: u64 = u64::MAX;

fn encode(reserved: Option<u32>) -> u64 {
    reserved.map_or(UNRESERVED, u64::from)
}

fn places(encoded: u64) -> u64 {
    if encoded == UNRESERVED { 0 } else { encoded }
}

/// The right to run one attempt; given back when dropped.
#[derive(Debug)]
pub(crate) struct Token {
    gate: Arc<FunctionGate>,
    share: Share,
}

/// Where an attempt's place came from. Reservations may change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Reserved,
    Unreserved,
}

impl Drop for Token {
    fn drop(&mut self) {
        let tenant = &self.gate.tenant;
        if self.share == Share::Unreserved {
            tenant.unreserved.fetch_sub(1, Ordering::AcqRel);
        }
        tenant.running.fetch_sub(1, Ordering::AcqRel);
        self.gate.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts one more unless that would be more than `limit`.
fn enter(count: &AtomicU32, limit: u64) -> bool {
    let more = |running: u32| (u64::from(running) < limit).then(|| running + 1);
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
}

impl FunctionGate {
    fn reserve(&self, reserved: Option<u32>) {
        let new = encode(reserved);
        let old = self.reserved.swap(new, Ordering::AcqRel);
        let (old, new) = (places(old), places(new));
        if new >= old {
            self.tenant.reserved.fetch_add(new - old, Ordering::AcqRel);
        } else {
            self.tenant.reserved.fetch_sub(old - new, Ordering::AcqRel);
        }
    }
}

impl Admission {
    fn gate(&self, function: FunctionId, tenant: &TenantId) -> Arc<FunctionGate> {
        let functions = self.functions.pin();
        if let Some(gate) = functions.get(&function) {
            return gate.clone();
        }
        let tenant = self
            .tenants
            .pin()
            .get_or_insert_with(tenant.clone(), Arc::default)
            .clone();
        let new = || {
            Arc::new(FunctionGate {
                running: AtomicU32::new(0),
                reserved: AtomicU64::new(UNRESERVED),
                tenant: tenant.clone(),
            })
        };
        functions.get_or_insert_with(function, new).clone()
    }

    /// The function's reserved concurrency from now on.
    pub(crate) fn reserve(&self, function: &Function) {
        self.gate(function.id, &function.tenant)
            .reserve(function.reserved_concurrency);
    }

    /// The function is gone, and its reservation with it.
    pub(crate) fn forget(&self, function: FunctionId) {
        if let Some(gate) = self.functions.pin().remove(&function) {
            gate.reserve(None);
        }
    }

    /// One more attempt of a function, whose tenant may run `tenant_limit` in all.
    pub(crate) fn enter(&self, function: &Function, tenant_limit: u32) -> Result<Token, ThrottleReason> {
        let gate = self.gate(function.id, &function.tenant);
        // The caller has just looked the function up: what it says is newer than what is known here, or the same.
        if gate.reserved.load(Ordering::Acquire) != encode(function.reserved_concurrency) {
            gate.reserve(function.reserved_concurrency);
        }
        let share = if let Some(reserved) = function.reserved_concurrency {
            if !enter(&gate.running, u64::from(reserved)) {
                return Err(ThrottleReason::FunctionConcurrency);
            }
            Share::Reserved
        } else {
            let left = u64::from(tenant_limit).saturating_sub(gate.tenant.reserved.load(Ordering::Acquire));
            if !enter(&gate.tenant.unreserved, left) {
                return Err(ThrottleReason::TenantConcurrency);
            }
            gate.running.fetch_add(1, Ordering::AcqRel);
            Share::Unreserved
        };
        gate.tenant.running.fetch_add(1, Ordering::AcqRel);
        Ok(Token { gate, share })
    }

    /// What of a function and of its tenant runs now.
    pub(crate) fn running(&self, function: FunctionId) -> Running {
        self.functions
            .pin()
            .get(&function)
            .map_or_else(Running::default, |gate| Running {
                function: gate.running.load(Ordering::Acquire),
                tenant: gate.tenant.running.load(Ordering::Acquire),
            })
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::sample;

    use super::*;

    fn function(name: &str, reserved: Option<u32>) -> Function {
        Function {
            reserved_concurrency: reserved,
            ..sample::function(name)
        }
    }

    #[test]
    fn reserved_places_are_a_guarantee_and_a_cap() {
        let admission = Admission::default();
        let (reserved, shared) = (function("a", Some(2)), function("b", None));
        admission.reserve(&reserved);
        let limit = 5;
        let shared_tokens: Vec<_> = (0..3).map(|_| admission.enter(&shared, limit).unwrap()).collect();
        assert_eq!(
            admission.enter(&shared, limit).unwrap_err(),
            ThrottleReason::TenantConcurrency
        );
        let _first = admission.enter(&reserved, limit).unwrap();
        let second = admission.enter(&reserved, limit).unwrap();
        assert_eq!(
            admission.enter(&reserved, limit).unwrap_err(),
            ThrottleReason::FunctionConcurrency
        );
        assert_eq!(admission.running(reserved.id), Running { function: 2, tenant: 5 });
        drop(second);
        assert!(admission.enter(&reserved, limit).is_ok());
        drop(shared_tokens);
        assert_eq!(admission.running(shared.id), Running { function: 0, tenant: 1 });
    }

    #[test]
    fn zero_stops_a_function_and_changes_count_at_once() {
        let admission = Admission::default();
        let mut changing = function("a", Some(0));
        let other = function("b", None);
        assert_eq!(
            admission.enter(&changing, 10).unwrap_err(),
            ThrottleReason::FunctionConcurrency
        );
        changing.reserved_concurrency = Some(10);
        let inside = admission.enter(&changing, 10).unwrap();
        assert_eq!(
            admission.enter(&other, 10).unwrap_err(),
            ThrottleReason::TenantConcurrency
        );
        changing.reserved_concurrency = None;
        let shared = admission.enter(&changing, 10).unwrap();
        assert!(admission.enter(&other, 10).is_ok());
        drop((inside, shared));
        assert_eq!(admission.running(changing.id), Running::default());
    }

    #[test]
    fn a_function_that_is_gone_gives_its_reservation_back() {
        let admission = Admission::default();
        let (gone, other) = (function("a", Some(10)), function("b", None));
        let last = admission.enter(&gone, 10).unwrap();
        assert!(admission.enter(&other, 10).is_err());
        admission.forget(gone.id);
        assert!(admission.enter(&other, 10).is_ok());
        drop(last);
    }
}
