//! Requests about bindings.

use http::Method;

use super::query::Path;
use super::{Client, ClientError, Outgoing, Scope};
use crate::{Binding, Bindings, NewBinding};

/// # Errors
/// As every other request.
#[expect(
    clippy::missing_errors_doc,
    reason = "documented once, on the block: they all fail alike"
)]
impl Client {
    /// Bindings of a namespace, by name.
    pub async fn bindings(&self, scope: &Scope) -> Result<Bindings, ClientError> {
        let path = Path::new("/bindings").scope(scope).finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// Makes a binding.
    pub async fn bind(&self, scope: &Scope, new: &NewBinding) -> Result<Binding, ClientError> {
        let path = Path::new("/bindings").scope(scope).finish();
        self.document(Outgoing::new(Method::POST, path).json(new)).await
    }

    /// Removes a binding.
    pub async fn unbind(&self, scope: &Scope, name: &str) -> Result<(), ClientError> {
        let path = Path::new("/bindings").segment(name).scope(scope).finish();
        self.nothing(Outgoing::new(Method::DELETE, path)).await
    }
}
