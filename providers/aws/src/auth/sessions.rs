//! Sessions of assumed roles: temporary keys that verify without being kept. The account stands in the key's id, the
//! secret is derived from the account's own and the id, and the token says, signed, who it is and until when. So they
//! work after a restart, and die with the account.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sonagi_model::Timestamp;
use sonagi_ports::Entropy;
use subtle::ConstantTimeEq;

use super::accounts::{Account, Accounts};
use super::sigv4::hmac;
use crate::place::AccountId;

/// Characters of a key's id after its prefix (RFC 4648 base32), five bits each.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// How many of them say which account: 40 bits hold twelve digits.
const ACCOUNT_CHARS: usize = 8;
/// Bytes of a token's signature.
const SIGNATURE: usize = 32;

/// Who has a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The role's name, without its path.
    pub role: String,
    /// What the session calls itself.
    pub name: String,
    /// When it is over, seconds since 1970.
    pub expires: i64,
}

/// The keys of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionKeys {
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

/// Makes sessions and finds who has one.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

fn account_digits(account: &AccountId) -> u64 {
    account.as_str().parse().unwrap_or(0)
}

fn digit(character: u8) -> Option<u64> {
    BASE32.iter().position(|known| *known == character).map(|at| at as u64)
}

/// The account that a key's id names.
fn account_of(access_key: &str) -> Option<AccountId> {
    let text = access_key.strip_prefix("ASIA")?.as_bytes();
    let named = text.get(..ACCOUNT_CHARS).filter(|_| text.len() == 2 * ACCOUNT_CHARS)?;
    let number = named
        .iter()
        .try_fold(0, |number, character| Some(number << 5 | digit(*character)?))?;
    AccountId::parse(&format!("{number:012}")).ok()
}

fn secret_of(account: &Account, access_key: &str) -> String {
    let key = hmac(account.secret.as_bytes(), b"sonagi session secret");
    STANDARD.encode(&hmac(&key, access_key.as_bytes())[..30])
}

fn signature_of(account: &Account, access_key: &str, content: &[u8]) -> [u8; SIGNATURE] {
    let key = hmac(account.secret.as_bytes(), b"sonagi session token");
    hmac(&key, &[access_key.as_bytes(), b"\n", content].concat())
}

impl Sessions {
    /// Keys for a session.
    pub(crate) fn issue(&self, account: &Account, session: &Session) -> SessionKeys {
        let number = account_digits(&account.id);
        let mut access_key = "ASIA".to_owned();
        for place in (0..ACCOUNT_CHARS).rev() {
            let five = usize::try_from(number >> (5 * place) & 31).unwrap_or(0);
            access_key.push(char::from(BASE32[five]));
        }
        let mut random = [0; ACCOUNT_CHARS];
        self.entropy.fill(&mut random);
        access_key.extend(random.iter().map(|byte| char::from(BASE32[usize::from(byte & 31)])));
        let content = serde_json::to_vec(session).unwrap_or_default();
        let signature = signature_of(account, &access_key, &content);
        SessionKeys {
            secret: secret_of(account, &access_key),
            token: STANDARD.encode([signature.as_slice(), &content].concat()),
            access_key,
        }
    }

    /// The account and secret of a key's id, if it is one of a session, whether or not that is over.
    pub(crate) fn secret(&self, access_key: &str) -> Option<(Arc<Account>, String)> {
        let account = self.accounts.get(&account_of(access_key)?)?;
        let secret = secret_of(&account, access_key);
        Some((account, secret))
    }

    /// Whose token it is; `None` if it was not made for this key.
    pub(crate) fn open(account: &Account, access_key: &str, token: &str) -> Option<Session> {
        let bytes = STANDARD.decode(token).ok()?;
        let (signature, content) = bytes.split_at_checked(SIGNATURE)?;
        let expected = signature_of(account, access_key, content);
        if !bool::from(expected.as_slice().ct_eq(signature)) {
            return None;
        }
        serde_json::from_slice(content).ok()
    }
}

impl Session {
    /// Whether it is over.
    pub(crate) const fn is_over(&self, now: Timestamp) -> bool {
        now.as_secs() >= self.expires
    }

    /// The ARN of its holder.
    pub(crate) fn arn(&self, account: &AccountId) -> String {
        format!("arn:aws:sts::{account}:assumed-role/{}/{}", self.role, self.name)
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::{FakeMetadataStore, SeededEntropy};

    use super::*;

    #[tokio::test]
    async fn keys_verify_without_being_kept() {
        let entropy = Arc::new(SeededEntropy::default());
        let id = AccountId::parse("123456789012").unwrap();
        let store = Arc::new(FakeMetadataStore::new());
        let accounts = Arc::new(Accounts::load(&[], store, &id, entropy.clone()).await.unwrap());
        let account = accounts.get(&id).unwrap();
        let sessions = Sessions {
            accounts: Arc::clone(&accounts),
            entropy,
        };
        let session = Session {
            role: "r".to_owned(),
            name: "s".to_owned(),
            expires: 100,
        };
        let keys = sessions.issue(&account, &session);
        assert_eq!((keys.access_key.len(), keys.secret.len()), (20, 40));
        let (found, secret) = sessions.secret(&keys.access_key).unwrap();
        assert_eq!((&found.id, &secret), (&id, &keys.secret));
        assert_eq!(
            Sessions::open(&account, &keys.access_key, &keys.token),
            Some(session.clone())
        );
        assert!(session.is_over(Timestamp::from_millis(100_000)) && !session.is_over(Timestamp::from_millis(99_000)));
        assert_eq!(session.arn(&id), "arn:aws:sts::123456789012:assumed-role/r/s");

        let other = sessions.issue(&account, &session);
        assert_ne!(other.access_key, keys.access_key);
        assert_eq!(Sessions::open(&account, &other.access_key, &keys.token), None);
        assert_eq!(Sessions::open(&account, &keys.access_key, "x"), None);
        for bad in [
            "",
            "ASIA",
            "AKIAABCDEFGHIJKLMNOP",
            "ASIAabcdefghijklmnop",
            "ASIA7777777777777777",
        ] {
            assert!(sessions.secret(bad).is_none(), "{bad:?}");
        }
    }
}
