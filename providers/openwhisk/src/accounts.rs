//! Namespaces and their keys, and who a request comes from.
//! Source: HTTP Basic with a UUID and a key of 64 characters: apache/openwhisk (commit 1fae641), `BasicAuthenticate.scala`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sonagi_ports::{Entropy, MetadataStore, Record, StoreError};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::errors::WhiskError;
use crate::names::{SYSTEM, is_name};
use crate::table::Table;

/// The set of documents that holds namespaces.
const COLLECTION: &str = "openwhisk.namespaces";
/// The namespace that is made at the first start.
pub(crate) const GUEST: &str = "guest";
/// Longest name of a namespace: it is part of the core's.
const NAME_MAX: usize = 100;

/// A namespace with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) namespace: String,
    pub(crate) uuid: String,
    /// 64 letters and digits.
    pub(crate) key: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("namespace", &self.namespace)
            .field("uuid", &self.uuid)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// `uuid:key`, as clients are given it.
    pub(crate) fn auth(&self) -> String {
        format!("{}:{}", self.uuid, self.key)
    }

    fn generate(namespace: &str, entropy: &dyn Entropy) -> Self {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ab";
        let mut bytes = [0; 80];
        entropy.fill(&mut bytes);
        let (uuid, key) = bytes.split_at(16);
        let uuid = Uuid::from_slice(uuid).unwrap_or_default();
        Self {
            namespace: namespace.to_owned(),
            uuid: uuid::Builder::from_random_bytes(*uuid.as_bytes())
                .into_uuid()
                .to_string(),
            key: key
                .iter()
                .map(|byte| char::from(LETTERS[usize::from(byte & 63)]))
                .collect(),
        }
    }
}

/// Whether requests need keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Yes.
    Required,
    /// No: whoever shows none is the first namespace.
    Off,
}

/// All namespaces.
#[derive(Debug)]
pub(crate) struct Accounts {
    table: Table<Account>,
    by_uuid: ArcSwap<HashMap<String, Arc<Account>>>,
    entropy: Arc<dyn Entropy>,
    mode: AuthMode,
    /// Additions and removals one after the other.
    turn: Mutex<()>,
}

/// A namespace cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error("namespace {0:?} exists already")]
    Exists(String),
    #[error("namespace {0:?} must be 1 to 100 letters, digits, '_', '-' and '.', beginning with a letter or digit")]
    Name(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// The namespaces among the records; makes the first one if there is none.
    pub(crate) async fn load(
        records: &[Record],
        store: Arc<dyn MetadataStore>,
        entropy: Arc<dyn Entropy>,
        mode: AuthMode,
    ) -> Result<Self, StoreError> {
        let accounts = Self {
            table: Table::load(records, COLLECTION, store)?,
            by_uuid: ArcSwap::default(),
            entropy,
            mode,
            turn: Mutex::new(()),
        };
        accounts.index();
        if accounts.all().is_empty() {
            match accounts.add(Some(GUEST)).await {
                Ok(_) | Err(AddError::Exists(_) | AddError::Name(_)) => {}
                Err(AddError::Store(error)) => return Err(error),
            }
        }
        Ok(accounts)
    }

    fn index(&self) {
        let all = self.table.all().into_iter();
        self.by_uuid
            .store(Arc::new(all.map(|account| (account.uuid.clone(), account)).collect()));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        self.table.all()
    }

    pub(crate) fn get(&self, namespace: &str) -> Option<Arc<Account>> {
        self.table.get(namespace, "")
    }

    /// The first one: the guest's, unless that was removed.
    pub(crate) fn first(&self) -> Option<Arc<Account>> {
        self.get(GUEST).or_else(|| self.all().into_iter().next())
    }

    /// Makes a namespace; without a name, one is made up.
    pub(crate) async fn add(&self, name: Option<&str>) -> Result<Arc<Account>, AddError> {
        let _turn = self.turn.lock().await;
        let name = name.map_or_else(|| format!("ns-{:08x}", self.entropy_word()), str::to_owned);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !is_name(&name) || name.len() > NAME_MAX || !name.chars().all(allowed) || name == SYSTEM || name == "_" {
            return Err(AddError::Name(name));
        }
        if self.get(&name).is_some() {
            return Err(AddError::Exists(name));
        }
        let account = Account::generate(&name, self.entropy.as_ref());
        let account = self.table.put(&name, "", account).await?;
        self.index();
        Ok(account)
    }

    fn entropy_word(&self) -> u32 {
        let mut bytes = [0; 4];
        self.entropy.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub(crate) async fn remove(&self, namespace: &str) -> Result<bool, StoreError> {
        let _turn = self.turn.lock().await;
        let found = self.table.remove(namespace, "").await?;
        self.index();
        Ok(found)
    }

    /// Who a request comes from.
    ///
    /// # Errors
    /// 401 without valid credentials.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Account>, WhiskError> {
        match headers.get(header::AUTHORIZATION) {
            None if self.mode == AuthMode::Off => self.first().ok_or_else(WhiskError::unauthorized),
            Some(value) => self.check(value.as_bytes()).ok_or_else(WhiskError::unauthorized),
            None => Err(WhiskError::unauthorized()),
        }
    }

    fn check(&self, header: &[u8]) -> Option<Arc<Account>> {
        let text = std::str::from_utf8(header).ok()?;
        let (scheme, encoded) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (uuid, key) = decoded.split_once(':')?;
        let account = self.by_uuid.load().get(uuid).cloned()?;
        bool::from(account.key.as_bytes().ct_eq(key.as_bytes())).then_some(account)
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::{FakeMetadataStore, SeededEntropy};

    use super::*;

    #[tokio::test]
    async fn keys_open_their_namespace_only() {
        let store = Arc::new(FakeMetadataStore::new());
        let load = async || {
            let records = store.load().await.unwrap();
            let entropy = Arc::new(SeededEntropy::default());
            Accounts::load(&records, Arc::clone(&store) as _, entropy, AuthMode::Required)
                .await
                .unwrap()
        };
        let accounts = load().await;
        let guest = accounts.first().unwrap();
        assert_eq!((guest.namespace.as_str(), guest.key.len()), ("guest", 64));
        let other = accounts.add(Some("other")).await.unwrap();
        for bad in ["guest", "a b", "whisk.system", "", "a/b"] {
            assert!(accounts.add(Some(bad)).await.is_err(), "{bad}");
        }
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", text.parse().unwrap());
            load_from(&accounts, &headers)
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(with(&basic(&guest.auth())).unwrap(), "guest");
        assert_eq!(with(&basic(&other.auth())).unwrap(), "other");
        for wrong in [
            basic(&format!("{}:{}", guest.uuid, other.key)),
            basic("a"),
            "Basic !".to_owned(),
            format!("Bearer {}", STANDARD.encode(guest.auth())),
        ] {
            assert_eq!(with(&wrong).unwrap_err().status, 401);
        }
        assert_eq!(accounts.authenticate(&HeaderMap::new()).unwrap_err().status, 401);
        assert_eq!(load().await.all(), accounts.all());
        assert!(!format!("{guest:?}").contains(&guest.key));
    }

    fn load_from(accounts: &Accounts, headers: &HeaderMap) -> Result<String, WhiskError> {
        accounts.authenticate(headers).map(|account| account.namespace.clone())
    }
}
