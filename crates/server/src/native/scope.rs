//! From what a request names to an adapter and a namespace.

use std::sync::Arc;

use sonagi_model::{FunctionId, FunctionName, Namespace};
use sonagi_ports::{AccountView, Adapter};

use super::NativeState;
use super::answer::Refusal;
use super::query::ScopeParams;

/// Where a name is meant.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The provider.
    pub(super) adapter: Arc<dyn Adapter>,
    /// The namespace.
    pub(super) namespace: Namespace,
}

impl NativeState {
    /// The provider of this name; the first one if `None`.
    pub(super) fn adapter(&self, provider: Option<&str>) -> Result<&Arc<dyn Adapter>, Refusal> {
        let found = match provider {
            Some(wanted) => self
                .adapters
                .iter()
                .find(|adapter| adapter.provider() == wanted || adapter.nicknames().contains(&wanted)),
            None => self.adapters.first(),
        };
        found.ok_or_else(|| {
            let known: Vec<_> = self.adapters.iter().map(|adapter| adapter.provider()).collect();
            Refusal::missing(format!("provider {:?} is not served here", provider.unwrap_or("")))
                .hint(format!("this platform serves: {}", known.join(", ")))
        })
    }

    /// The place that a scope means.
    pub(super) fn place(&self, scope: &ScopeParams) -> Result<Place, Refusal> {
        if let Some(text) = &scope.namespace {
            let namespace = Namespace::parse(text).map_err(|error| Refusal::invalid(error.to_string()))?;
            let provider = text.split('/').next();
            return Ok(Place {
                adapter: Arc::clone(self.adapter(provider)?),
                namespace,
            });
        }
        let account = self.account(scope.provider.as_deref(), scope.account.as_deref())?;
        let adapter = self.adapter(account.namespace.as_str().split('/').next())?;
        Ok(Place {
            adapter: Arc::clone(adapter),
            namespace: account.namespace,
        })
    }

    /// The place of a function: where nothing says which provider is meant, the first one whose default account has a
    /// function of this name, and the default place if none has.
    pub(super) fn place_of(&self, scope: &ScopeParams, name: &str) -> Result<Place, Refusal> {
        let default = self.place(scope)?;
        let Some(parsed) = FunctionName::parse(name)
            .ok()
            .filter(|_| *scope == ScopeParams::default())
        else {
            return Ok(default);
        };
        if self.catalog.find(&default.namespace, &parsed).is_some() {
            return Ok(default);
        }
        let others = self.adapters.iter().filter_map(|adapter| {
            Some(Place {
                adapter: Arc::clone(adapter),
                namespace: adapter.accounts().into_iter().next()?.namespace,
            })
        });
        let found = others
            .into_iter()
            .find(|place| self.catalog.find(&place.namespace, &parsed).is_some());
        Ok(found.unwrap_or(default))
    }

    /// The one namespace that a scope means; `None` where nothing is said: all of them.
    pub(super) fn only(&self, scope: &ScopeParams) -> Result<Option<Namespace>, Refusal> {
        if *scope == ScopeParams::default() {
            return Ok(None);
        }
        self.place(scope).map(|place| Some(place.namespace))
    }

    /// An account by id, of any provider or of this one; the first account if no id is given.
    fn account(&self, provider: Option<&str>, id: Option<&str>) -> Result<AccountView, Refusal> {
        let first = self.adapter(provider)?;
        let adapters = match (provider, id) {
            (None, Some(_)) => self.adapters.as_slice(),
            (Some(_), _) | (None, None) => std::slice::from_ref(first),
        };
        let mut accounts = adapters.iter().flat_map(|adapter| adapter.accounts());
        let found = accounts.find(|account| id.is_none_or(|id| account.id == id));
        found.ok_or_else(|| match id {
            Some(id) => Refusal::missing(format!("account {id:?} does not exist"))
                .hint("`sonagi account ls` lists accounts, `sonagi account add ID` makes one"),
            None => Refusal::missing(format!("provider {} has no account", first.provider()))
                .hint("`sonagi account add` makes one"),
        })
    }

    /// The function of this name.
    pub(super) fn function_id(&self, place: &Place, name: &str) -> Result<FunctionId, Refusal> {
        let missing = || {
            Refusal::missing(format!("function {name:?} does not exist in {}", place.namespace))
                .hint("`sonagi ls` lists functions")
        };
        let parsed = FunctionName::parse(name).map_err(|_| missing())?;
        let entry = self.catalog.find(&place.namespace, &parsed).ok_or_else(missing)?;
        Ok(entry.function.id)
    }
}
