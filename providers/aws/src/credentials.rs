//! Temporary credentials of instances: what code inside a sandbox signs its requests to the platform's own API with.
//!
//! A set of keys is derived from the instance's id with a secret that lives as long as the process, so planning a launch
//! keeps nothing; only an instance that was really started is entered in the table, and leaves it when its session
//! closes. Keys of an earlier run of the platform are worthless by construction.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sonagi_model::{InstanceId, Namespace};
use sonagi_ports::Entropy;

/// Length of an access key id: `ASIA` and 16 more characters.
/// Source: AWS IAM user guide, "unique identifiers": temporary (STS) keys begin with `ASIA`.
const ACCESS_KEY_LEN: usize = 20;
/// Characters of the part after `ASIA`: those of RFC 4648 base32.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Keys as an instance gets them in its environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// `AWS_ACCESS_KEY_ID`: `ASIA` and 16 characters.
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`: 40 characters of base64.
    pub secret: String,
    /// `AWS_SESSION_TOKEN`, which a signed request must carry as `X-Amz-Security-Token`.
    pub token: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// Whose keys they are.
#[derive(Clone, PartialEq, Eq)]
pub struct TemporaryCredential {
    /// The secret that signatures are checked with.
    pub secret: String,
    /// The token that must come with them; compare it in constant time.
    pub token: String,
    /// The instance they were given to.
    pub instance: InstanceId,
    /// The namespace in which that instance's function lives.
    pub namespace: Namespace,
    /// The function's ARN, without a qualifier.
    pub function_arn: String,
}

impl std::fmt::Debug for TemporaryCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemporaryCredential")
            .field("instance", &self.instance)
            .field("function_arn", &self.function_arn)
            .finish_non_exhaustive()
    }
}

/// The table of keys in use. Bounded by the number of live instances.
pub struct TemporaryCredentials {
    root: [u8; 32],
    table: papaya::HashMap<String, Arc<TemporaryCredential>>,
}

impl std::fmt::Debug for TemporaryCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemporaryCredentials")
            .field("live", &self.table.pin().len())
            .finish_non_exhaustive()
    }
}

impl TemporaryCredentials {
    /// An empty table with a fresh secret.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut root = [0; 32];
        entropy.fill(&mut root);
        Self {
            root,
            table: papaya::HashMap::new(),
        }
    }

    /// The keys that this instance has, or would have. Enters nothing.
    #[must_use]
    pub fn derive(&self, instance: InstanceId) -> Issued {
        let key = self.block(b"key", instance);
        let mut access_key = String::with_capacity(ACCESS_KEY_LEN);
        access_key.push_str("ASIA");
        access_key.extend(
            key[..ACCESS_KEY_LEN - 4]
                .iter()
                .map(|byte| char::from(BASE32[usize::from(byte & 31)])),
        );
        let mut token = Vec::with_capacity(96);
        token.extend_from_slice(&self.block(b"token-1", instance));
        token.extend_from_slice(&self.block(b"token-2", instance));
        token.extend_from_slice(&self.block(b"token-3", instance));
        Issued {
            access_key,
            secret: base64(&self.block(b"secret", instance)[..30]),
            token: base64(&token),
        }
    }

    /// Makes the keys of an instance valid, and returns them. Issuing again returns the same.
    pub fn issue(&self, instance: InstanceId, namespace: Namespace, function_arn: String) -> Issued {
        let issued = self.derive(instance);
        let entry = TemporaryCredential {
            secret: issued.secret.clone(),
            token: issued.token.clone(),
            instance,
            namespace,
            function_arn,
        };
        self.table.pin().insert(issued.access_key.clone(), Arc::new(entry));
        issued
    }

    /// Whose key it is; `None` if it is not valid, or no longer.
    #[must_use]
    pub fn lookup(&self, access_key: &str) -> Option<Arc<TemporaryCredential>> {
        self.table.pin().get(access_key).cloned()
    }

    /// Ends the validity of an instance's keys.
    pub fn revoke(&self, instance: InstanceId) {
        self.table.pin().remove(&self.derive(instance).access_key);
    }

    fn block(&self, label: &[u8], instance: InstanceId) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.root).expect("HMAC takes a key of any length");
        mac.update(label);
        mac.update(instance.as_uuid().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonagi_ports::SystemEntropy;

    fn namespace() -> Namespace {
        Namespace::parse("aws/000000000000/us-east-1").unwrap()
    }

    #[test]
    fn keys_have_the_form_that_clients_expect() {
        let table = TemporaryCredentials::new(&SystemEntropy::new());
        let issued = table.issue(InstanceId::generate(), namespace(), "arn".to_owned());
        assert_eq!(issued.access_key.len(), 20);
        assert!(issued.access_key.starts_with("ASIA"));
        assert!(
            issued
                .access_key
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        );
        assert_eq!(issued.secret.len(), 40);
        assert_eq!(issued.token.len(), 128);
    }

    #[test]
    fn keys_live_from_issue_to_revoke() {
        let table = TemporaryCredentials::new(&SystemEntropy::new());
        let (one, two) = (InstanceId::generate(), InstanceId::generate());
        let planned = table.derive(one);
        assert_eq!(
            table.lookup(&planned.access_key),
            None,
            "planning a launch must not make keys valid"
        );
        assert_eq!(table.issue(one, namespace(), "arn:one".to_owned()), planned);
        assert_ne!(
            table.issue(two, namespace(), "arn:two".to_owned()).secret,
            planned.secret
        );
        let found = table.lookup(&planned.access_key).unwrap();
        assert_eq!((found.instance, found.function_arn.as_str()), (one, "arn:one"));
        assert_eq!(found.secret, planned.secret);
        table.revoke(one);
        assert_eq!(table.lookup(&planned.access_key), None);
        assert!(table.lookup(&table.derive(two).access_key).is_some());
    }

    #[test]
    fn secrets_differ_between_runs_and_stay_out_of_debug_output() {
        let instance = InstanceId::generate();
        let (one, two) = (
            TemporaryCredentials::new(&SystemEntropy::new()),
            TemporaryCredentials::new(&SystemEntropy::new()),
        );
        let issued = one.issue(instance, namespace(), "arn".to_owned());
        assert_ne!(issued, two.derive(instance));
        let shown = format!("{issued:?} {:?} {one:?}", one.lookup(&issued.access_key));
        assert!(
            !shown.contains(&issued.secret) && !shown.contains(&issued.token),
            "{shown}"
        );
    }
}
