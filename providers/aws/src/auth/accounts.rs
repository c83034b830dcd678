//! The accounts of this platform and their keys. Made at the first start or by the operator, kept as documents, looked up
//! in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sonagi_control::Documents;
use sonagi_model::Document;
use sonagi_ports::{Entropy, MetadataStore, Record, StoreError};
use tokio::sync::Mutex;

use crate::place::AccountId;

/// The set of documents that holds accounts.
const COLLECTION: &str = "aws.accounts";

/// Characters of a key id after its prefix (RFC 4648 base32).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// An account with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// `AKIA` and 16 characters.
    pub access_key: String,
    /// 40 characters. Kept readable, because signatures are checked with it.
    pub secret: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

impl Account {
    fn generate(id: AccountId, entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 46];
        entropy.fill(&mut bytes);
        let (key, secret) = bytes.split_at(16);
        let key: String = key
            .iter()
            .map(|byte| char::from(BASE32[usize::from(byte & 31)]))
            .collect();
        Self {
            id,
            access_key: format!("AKIA{key}"),
            secret: STANDARD.encode(secret),
        }
    }
}

/// All accounts.
#[derive(Debug)]
pub struct Accounts {
    documents: Documents,
    by_key: ArcSwap<HashMap<String, Arc<Account>>>,
    entropy: Arc<dyn Entropy>,
    /// Additions and removals one after the other.
    turn: Mutex<()>,
}

/// An account cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AddAccountError {
    /// There is one already.
    #[error("account {0} exists already")]
    Exists(AccountId),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// The accounts among the records; makes the default one if there is none at all.
    ///
    /// # Errors
    /// [`StoreError`]: an account cannot be read, or the default one cannot be stored.
    pub async fn load(
        records: &[Record],
        store: Arc<dyn MetadataStore>,
        default: &AccountId,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let accounts = Self {
            documents: Documents::load(records, COLLECTION, store),
            by_key: ArcSwap::default(),
            entropy,
            turn: Mutex::new(()),
        };
        accounts.index()?;
        if accounts.all().is_empty() {
            match accounts.add(default.clone()).await {
                Ok(_) | Err(AddAccountError::Exists(_)) => {}
                Err(AddAccountError::Store(error)) => return Err(error),
            }
        }
        Ok(accounts)
    }

    fn index(&self) -> Result<(), StoreError> {
        let mut by_key = HashMap::new();
        for (id, document) in self.documents.all().iter() {
            let account: Account =
                serde_json::from_value(document.0.clone()).map_err(|error| StoreError::Unreadable {
                    what: format!("account {id}"),
                    why: error.to_string(),
                })?;
            by_key.insert(account.access_key.clone(), Arc::new(account));
        }
        self.by_key.store(Arc::new(by_key));
        Ok(())
    }

    /// The account of a key id.
    #[must_use]
    pub fn by_key(&self, access_key: &str) -> Option<Arc<Account>> {
        self.by_key.load().get(access_key).cloned()
    }

    /// The account of this id.
    #[must_use]
    pub fn get(&self, id: &AccountId) -> Option<Arc<Account>> {
        self.by_key.load().values().find(|account| account.id == *id).cloned()
    }

    /// All accounts, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Account>> {
        let mut all: Vec<_> = self.by_key.load().values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Makes an account with a fresh key.
    ///
    /// # Errors
    /// [`AddAccountError`].
    pub async fn add(&self, id: AccountId) -> Result<Arc<Account>, AddAccountError> {
        let _turn = self.turn.lock().await;
        if self.get(&id).is_some() {
            return Err(AddAccountError::Exists(id));
        }
        let account = Account::generate(id, &*self.entropy);
        let value = serde_json::json!({
            "id": account.id, "access_key": account.access_key, "secret": account.secret,
        });
        self.documents.put(account.id.as_str(), Document(value)).await?;
        self.index()?;
        Ok(Arc::new(account))
    }

    /// An id that no account has.
    #[must_use]
    pub fn free_id(&self) -> AccountId {
        loop {
            let mut bytes = [0; 8];
            self.entropy.fill(&mut bytes);
            let digits = format!("{:012}", 1 + u64::from_le_bytes(bytes) % 999_999_999_999);
            if let Ok(id) = AccountId::parse(&digits)
                && self.get(&id).is_none()
            {
                return id;
            }
        }
    }

    /// Removes an account; its key is worthless from now on. Says whether it was there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, id: &AccountId) -> Result<bool, StoreError> {
        let _turn = self.turn.lock().await;
        let found = self.documents.remove(id.as_str()).await?;
        self.index()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::{FakeMetadataStore, SeededEntropy};

    use super::*;

    #[tokio::test]
    async fn the_default_account_is_made_once_and_keys_are_kept() {
        let store = Arc::new(FakeMetadataStore::new());
        let default = AccountId::parse("000000000000").unwrap();
        let load = || async {
            let records = store.load().await.unwrap();
            let entropy = Arc::new(SeededEntropy::default());
            Accounts::load(&records, Arc::clone(&store) as _, &default, entropy)
                .await
                .unwrap()
        };
        let first = load().await;
        let account = first.all().remove(0);
        assert_eq!((account.access_key.len(), account.secret.len()), (20, 40));
        assert!(account.access_key.starts_with("AKIA"));
        let other = first.add(AccountId::parse("111111111111").unwrap()).await.unwrap();
        assert_ne!(other.secret, account.secret);
        assert!(matches!(
            first.add(other.id.clone()).await,
            Err(AddAccountError::Exists(_))
        ));

        let second = load().await;
        assert_eq!(second.all(), first.all());
        assert_eq!(second.by_key(&account.access_key), Some(account));
        assert!(second.remove(&other.id).await.unwrap());
        assert_eq!(second.by_key(&other.access_key), None);
        assert!(!format!("{other:?}").contains(&other.secret));
    }
}
