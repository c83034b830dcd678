//! Accounts of providers, and what their clients need.

use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The provider.
    pub provider: String,
    /// The provider's id of it.
    pub id: String,
    /// Key id that clients use. The secret is shown by `GET /environment/PROVIDER` only.
    pub key: String,
    /// The namespace in which its functions are deployed by default.
    pub namespace: String,
}

/// Accounts, by provider and id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// The accounts.
    pub accounts: Vec<Account>,
}

/// An account to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewAccount {
    /// Its id; without one, the provider makes one up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A variable.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; may be a secret.
    pub value: String,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Variables that a provider's own clients need, secrets included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The variables, in order.
    pub variables: Vec<Variable>,
}
