//! Accounts and their tokens, and who a request comes from. The open-source server knows neither: there, whoever reaches the
//! address may do everything.
//! Source: bearer tokens as the `fn` command line sends them (fnproject/fn_go, provider `default`, variable `FN_TOKEN`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sonagi_ports::{Entropy, MetadataStore, Record, StoreError};
use tokio::sync::Mutex;

use crate::errors::FnError;
use crate::scoped::Scoped;

/// The set of documents that holds accounts.
const COLLECTION: &str = "fn.accounts";
/// The account that is made at the first start.
pub(crate) const FIRST: &str = "default";
/// Longest name of an account: it is part of the core's namespaces.
const NAME_MAX: usize = 100;
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// An account with its token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) token: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Whether requests need tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Yes.
    Required,
    /// No: whoever shows none is the first account.
    Off,
}

/// All accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    table: Scoped<Account>,
    /// By the digest of the token, so that no comparison tells how much of a token is right.
    by_token: ArcSwap<HashMap<[u8; 32], Arc<Account>>>,
    entropy: Arc<dyn Entropy>,
    mode: AuthMode,
    /// Additions and removals one after the other.
    turn: Mutex<()>,
}

/// An account cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error("account {0:?} exists already")]
    Exists(String),
    #[error("account {0:?} must be 1 to 100 letters, digits, '_' and '-'")]
    Name(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// The accounts among the records; makes the first one if there is none.
    pub(crate) async fn load(
        records: &[Record],
        store: Arc<dyn MetadataStore>,
        entropy: Arc<dyn Entropy>,
        mode: AuthMode,
    ) -> Result<Self, StoreError> {
        let accounts = Self {
            table: Scoped::load(records, COLLECTION, store)?,
            by_token: ArcSwap::default(),
            entropy,
            mode,
            turn: Mutex::new(()),
        };
        accounts.index();
        if accounts.all().is_empty() {
            match accounts.add(Some(FIRST)).await {
                Ok(_) | Err(AddError::Exists(_) | AddError::Name(_)) => {}
                Err(AddError::Store(error)) => return Err(error),
            }
        }
        Ok(accounts)
    }

    fn index(&self) {
        let all = self.all().into_iter();
        let by_token = all.map(|account| (digest(account.token.as_bytes()), account)).collect();
        self.by_token.store(Arc::new(by_token));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        self.table.entries().into_iter().map(|(_, account)| account).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Account>> {
        self.table.get(name, "")
    }

    /// The first one: the default, unless that was removed.
    pub(crate) fn first(&self) -> Option<Arc<Account>> {
        self.get(FIRST).or_else(|| self.all().into_iter().next())
    }

    /// Makes an account; without a name, one is made up.
    pub(crate) async fn add(&self, name: Option<&str>) -> Result<Arc<Account>, AddError> {
        let _turn = self.turn.lock().await;
        let name = name.map_or_else(|| format!("acct-{}", hex::encode(self.random::<4>())), str::to_owned);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(allowed) {
            return Err(AddError::Name(name));
        }
        if self.get(&name).is_some() {
            return Err(AddError::Exists(name));
        }
        let token = hex::encode(self.random::<TOKEN_BYTES>());
        let account = self
            .table
            .put(
                &name,
                "",
                Account {
                    name: name.clone(),
                    token,
                },
            )
            .await?;
        self.index();
        Ok(account)
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let _turn = self.turn.lock().await;
        let found = self.table.remove(name, "").await?;
        self.index();
        Ok(found)
    }

    /// Who a request comes from.
    ///
    /// # Errors
    /// 401 without a valid token.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Account>, FnError> {
        match headers.get(header::AUTHORIZATION) {
            None if self.mode == AuthMode::Off => self.first(),
            Some(value) => self.check(value.as_bytes()),
            None => None,
        }
        .ok_or_else(FnError::unauthorized)
    }

    fn check(&self, header: &[u8]) -> Option<Arc<Account>> {
        let text = std::str::from_utf8(header).ok()?;
        let (scheme, token) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        self.by_token.load().get(&digest(token.trim().as_bytes())).cloned()
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::{FakeMetadataStore, SeededEntropy};

    use super::*;

    #[tokio::test]
    async fn tokens_open_their_account_only() {
        let store = Arc::new(FakeMetadataStore::new());
        let load = async |mode| {
            let records = store.load().await.unwrap();
            let entropy = Arc::new(SeededEntropy::default());
            Accounts::load(&records, Arc::clone(&store) as _, entropy, mode)
                .await
                .unwrap()
        };
        let accounts = load(AuthMode::Required).await;
        let first = accounts.first().unwrap();
        assert_eq!((first.name.as_str(), first.token.len()), (FIRST, 64));
        let other = accounts.add(Some("other")).await.unwrap();
        for bad in ["default", "a b", "a/b", "a.b", ""] {
            assert!(accounts.add(Some(bad)).await.is_err(), "{bad}");
        }
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", text.parse().unwrap());
            accounts.authenticate(&headers).map(|account| account.name.clone())
        };
        assert_eq!(with(&format!("Bearer {}", first.token)).unwrap(), "default");
        assert_eq!(with(&format!("bearer {}", other.token)).unwrap(), "other");
        for wrong in ["Bearer x", "Basic eA==", "x"] {
            assert_eq!(with(wrong).unwrap_err().status, 401);
        }
        assert_eq!(accounts.authenticate(&HeaderMap::new()).unwrap_err().status, 401);
        let open = load(AuthMode::Off).await;
        assert_eq!(open.authenticate(&HeaderMap::new()).unwrap().name, "default");
        assert!(!format!("{first:?}").contains(&first.token));
    }
}
