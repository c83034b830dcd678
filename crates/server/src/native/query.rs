//! Queries of the native API. Unknown parameters are refused.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Refusal;

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Self(value))
            .map_err(|rejection| Refusal::invalid(rejection.body_text()))
    }
}

/// In which namespace a name is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ScopeParams {
    pub(super) namespace: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) account: Option<String>,
}

/// A query with a scope. Spelled out in each struct, since serde cannot both flatten and refuse unknown fields.
macro_rules! scoped {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            namespace: Option<String>,
            provider: Option<String>,
            account: Option<String>,
            $($(#[$field_doc])* pub(super) $field: $kind,)*
        }

        impl $name {
            /// Its scope.
            pub(super) fn scope(&self) -> ScopeParams {
                ScopeParams {
                    namespace: self.namespace.clone(),
                    provider: self.provider.clone(),
                    account: self.account.clone(),
                }
            }
        }
    };
}

scoped!(
    /// Only a scope.
    ScopeQuery {}
);
scoped!(
    /// `GET /functions`.
    ListQuery {
        /// Of all accounts.
        all: bool,
    }
);
scoped!(
    /// `GET /functions/NAME`.
    ShowQuery {
        /// With the values of variables.
        values: bool,
    }
);
scoped!(
    /// `invoke` and `send`.
    CallQuery {
        /// Version or alias.
        qualifier: Option<String>,
    }
);
scoped!(
    /// `GET /functions/NAME/logs`.
    LogQuery {
        /// Moment.
        since: Option<String>,
        /// Lines.
        limit: Option<usize>,
        /// One invocation.
        invocation: Option<String>,
        /// Without an end.
        follow: bool,
    }
);
scoped!(
    /// `GET /runs`.
    RunsQuery {
        /// Name of a function.
        function: Option<String>,
        /// Moment.
        since: Option<String>,
        /// Failed ones only.
        failed: bool,
        /// Attempts.
        limit: Option<usize>,
    }
);
scoped!(
    /// `GET /events`, `GET /dlq`.
    EventsQuery {
        /// Name of a function.
        function: Option<String>,
        /// Older than this event.
        before: Option<String>,
        /// Events.
        limit: Option<usize>,
    }
);
scoped!(
    /// `GET /usage`.
    UsageQuery {
        /// Moment.
        since: Option<String>,
        /// Moment.
        until: Option<String>,
    }
);

/// Accounts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AccountQuery {
    /// Of this provider.
    pub(super) provider: Option<String>,
}

/// `GET /environment/PROVIDER`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EnvironmentQuery {
    /// For this account.
    pub(super) account: Option<String>,
    /// The platform's address as the client reaches it.
    pub(super) endpoint: Option<String>,
}
