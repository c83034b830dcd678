//! The secrets by which signatures of requests for objects are checked. Whether a key may be used at all (its token, the
//! door it came through, its time) has been decided before.

use std::sync::Arc;

use sonagi_aws_s3::Keys;

use crate::auth::Sessions;
use crate::credentials::TemporaryCredentials;

#[derive(Debug)]
pub(super) struct AccountKeys {
    pub(super) sessions: Arc<Sessions>,
    pub(super) temporary: Arc<TemporaryCredentials>,
}

impl Keys for AccountKeys {
    fn secret(&self, access_key: &str) -> Option<String> {
        if let Some(account) = self.sessions.accounts.by_key(access_key) {
            return Some(account.secret.clone());
        }
        if let Some(found) = self.temporary.lookup(access_key) {
            return Some(found.secret.clone());
        }
        self.sessions.secret(access_key).map(|(_, secret)| secret)
    }
}
