//! One method per request of the API.

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::query::Path;
use super::{Client, ClientError, LogFilter, LogStream, Outgoing, RunFilter, Scope};
use crate::{
    Accepted, Account, Accounts, Alias, AliasTarget, Aliases, BackupReport, BackupRequest, Config, DeployRequest,
    Deployed, Doctor, Environment, Function, Functions, NewAccount, ProjectDeployed, ProjectRequest, Rollback, Run,
    Runs, Settings, Status, Usage, Version, Versions, header,
};

/// The answer to a synchronous call.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// The invocation.
    pub invocation: String,
    /// Whether the function failed; the body then is the error in the provider's shape.
    pub failed: bool,
    /// The answer.
    pub body: Bytes,
    /// What it used, and where the time went.
    pub run: Run,
    /// The end of its log.
    pub log_tail: Vec<u8>,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// # Errors
/// Every method returns [`ClientError`]: `Refused` when the platform says no, the others when it could not be asked.
#[expect(
    clippy::missing_errors_doc,
    reason = "documented once, on the block: they all fail alike"
)]
impl Client {
    /// What runs at the other end.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.document(Outgoing::new(Method::GET, "/status".to_owned())).await
    }

    /// Makes a zip archive live.
    pub async fn deploy(&self, request: &DeployRequest, archive: Bytes) -> Result<Deployed, ClientError> {
        let document = header::encode(request)?;
        self.document(self.archive("/deploy", header::DEPLOY, document, archive)?)
            .await
    }

    /// Makes everything live that a zip archive of a project describes.
    pub async fn deploy_project(
        &self,
        request: &ProjectRequest,
        archive: Bytes,
    ) -> Result<ProjectDeployed, ClientError> {
        let document = header::encode(request)?;
        self.document(self.archive("/projects", header::PROJECT, document, archive)?)
            .await
    }

    fn archive(
        &self,
        path: &str,
        name: &'static str,
        document: String,
        archive: Bytes,
    ) -> Result<Outgoing<'static>, ClientError> {
        let mut outgoing = Outgoing::new(Method::POST, path.to_owned()).bytes(archive);
        let value = HeaderValue::try_from(document).map_err(|_| self.foreign("base64 is no header value"))?;
        outgoing.headers.insert(HeaderName::from_static(name), value);
        outgoing
            .headers
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
        Ok(outgoing)
    }

    /// Functions of one namespace.
    pub async fn functions(&self, scope: &Scope) -> Result<Functions, ClientError> {
        self.document(Outgoing::new(
            Method::GET,
            Path::new("/functions").scope(scope).finish(),
        ))
        .await
    }

    /// Functions of all accounts' namespaces.
    pub async fn all_functions(&self) -> Result<Functions, ClientError> {
        self.document(Outgoing::new(Method::GET, "/functions?all=true".to_owned()))
            .await
    }

    /// One function, its variables without values.
    pub async fn function(&self, scope: &Scope, name: &str) -> Result<Function, ClientError> {
        self.document(Outgoing::new(Method::GET, Path::function(name).scope(scope).finish()))
            .await
    }

    /// One function, its variables with their values.
    pub async fn function_with_values(&self, scope: &Scope, name: &str) -> Result<Function, ClientError> {
        let path = Path::function(name).scope(scope).query("values", Some("true")).finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// Changes settings only.
    pub async fn configure(&self, scope: &Scope, name: &str, settings: &Settings) -> Result<Function, ClientError> {
        self.document(Outgoing::new(Method::PATCH, Path::function(name).scope(scope).finish()).json(settings))
            .await
    }

    /// Deletes a function.
    pub async fn remove(&self, scope: &Scope, name: &str) -> Result<(), ClientError> {
        self.nothing(Outgoing::new(
            Method::DELETE,
            Path::function(name).scope(scope).finish(),
        ))
        .await
    }

    /// Calls a function and waits for its answer, as long as that takes.
    pub async fn invoke(
        &self,
        scope: &Scope,
        name: &str,
        qualifier: Option<&str>,
        event: Bytes,
    ) -> Result<Invoked, ClientError> {
        let path = Path::function(name)
            .then("/invoke")
            .scope(scope)
            .query("qualifier", qualifier)
            .finish();
        let response = self
            .send_request(Outgoing::new(Method::POST, path).bytes(event))
            .await?;
        let headers = response.headers().clone();
        let missing = |name: &str| self.foreign(format!("no header {name}"));
        let invocation = text(&headers, header::INVOCATION)
            .ok_or_else(|| missing(header::INVOCATION))?
            .to_owned();
        let run = header::decode(text(&headers, header::RUN).ok_or_else(|| missing(header::RUN))?)
            .map_err(|error| self.foreign(format!("header {}: {error}", header::RUN)))?;
        let log_tail = match text(&headers, header::LOG_TAIL) {
            Some(tail) => header::text_to_bytes(tail)
                .map_err(|error| self.foreign(format!("header {}: {error}", header::LOG_TAIL)))?,
            None => Vec::new(),
        };
        let failed = text(&headers, header::FAILED) == Some("true");
        let body = self.collect(response).await?;
        Ok(Invoked {
            invocation,
            failed,
            body,
            run,
            log_tail,
        })
    }

    /// Hands over an event; the function runs later.
    pub async fn send(
        &self,
        scope: &Scope,
        name: &str,
        qualifier: Option<&str>,
        event: Bytes,
    ) -> Result<Accepted, ClientError> {
        let path = Path::function(name)
            .then("/send")
            .scope(scope)
            .query("qualifier", qualifier)
            .finish();
        self.document(Outgoing::new(Method::POST, path).bytes(event)).await
    }

    /// Versions of a function.
    pub async fn versions(&self, scope: &Scope, name: &str) -> Result<Versions, ClientError> {
        let path = Path::function(name).then("/versions").scope(scope).finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// Freezes the live revision under a version label.
    pub async fn publish(&self, scope: &Scope, name: &str) -> Result<Version, ClientError> {
        let path = Path::function(name).then("/versions").scope(scope).finish();
        self.document(Outgoing::new(Method::POST, path)).await
    }

    /// Aliases of a function.
    pub async fn aliases(&self, scope: &Scope, name: &str) -> Result<Aliases, ClientError> {
        let path = Path::function(name).then("/aliases").scope(scope).finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// Makes or moves an alias.
    pub async fn put_alias(
        &self,
        scope: &Scope,
        name: &str,
        alias: &str,
        target: &AliasTarget,
    ) -> Result<Alias, ClientError> {
        let path = Path::function(name)
            .then("/aliases")
            .segment(alias)
            .scope(scope)
            .finish();
        self.document(Outgoing::new(Method::PUT, path).json(target)).await
    }

    /// Removes an alias.
    pub async fn remove_alias(&self, scope: &Scope, name: &str, alias: &str) -> Result<(), ClientError> {
        let path = Path::function(name)
            .then("/aliases")
            .segment(alias)
            .scope(scope)
            .finish();
        self.nothing(Outgoing::new(Method::DELETE, path)).await
    }

    /// Makes an earlier revision live again.
    pub async fn roll_back(&self, scope: &Scope, name: &str, rollback: &Rollback) -> Result<Version, ClientError> {
        let path = Path::function(name).then("/rollback").scope(scope).finish();
        self.document(Outgoing::new(Method::POST, path).json(rollback)).await
    }

    /// A function's log, line by line.
    pub async fn logs(&self, scope: &Scope, name: &str, filter: &LogFilter) -> Result<LogStream, ClientError> {
        let limit = filter.limit.map(|limit| limit.to_string());
        let path = Path::function(name)
            .then("/logs")
            .scope(scope)
            .query("since", filter.since.as_deref())
            .query("limit", limit.as_deref())
            .query("invocation", filter.invocation.as_deref())
            .query("follow", filter.follow.then_some("true"))
            .finish();
        let response = self.send_request(Outgoing::new(Method::GET, path)).await?;
        Ok(LogStream::new(response.into_body(), self.endpoint.clone()))
    }

    /// Attempts, newest first.
    pub async fn runs(&self, scope: &Scope, filter: &RunFilter) -> Result<Runs, ClientError> {
        let limit = filter.limit.map(|limit| limit.to_string());
        let path = Path::new("/runs")
            .scope(scope)
            .query("function", filter.function.as_deref())
            .query("since", filter.since.as_deref())
            .query("failed", filter.failed.then_some("true"))
            .query("limit", limit.as_deref())
            .finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// All attempts of an invocation, oldest first.
    pub async fn run(&self, invocation: &str) -> Result<Runs, ClientError> {
        self.document(Outgoing::new(
            Method::GET,
            Path::new("/runs").segment(invocation).finish(),
        ))
        .await
    }

    /// Usage over a period.
    pub async fn usage(&self, scope: &Scope, since: Option<&str>, until: Option<&str>) -> Result<Usage, ClientError> {
        let path = Path::new("/usage")
            .scope(scope)
            .query("since", since)
            .query("until", until)
            .finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// Writes a backup on the platform's machine.
    pub async fn backup(&self, request: &BackupRequest) -> Result<BackupReport, ClientError> {
        self.document(Outgoing::new(Method::POST, "/backup".to_owned()).json(request))
            .await
    }

    /// Accounts; of one provider if given.
    pub async fn accounts(&self, provider: Option<&str>) -> Result<Accounts, ClientError> {
        self.document(Outgoing::new(
            Method::GET,
            Path::new("/accounts").query("provider", provider).finish(),
        ))
        .await
    }

    /// Makes an account.
    pub async fn add_account(&self, provider: Option<&str>, account: &NewAccount) -> Result<Account, ClientError> {
        let path = Path::new("/accounts").query("provider", provider).finish();
        self.document(Outgoing::new(Method::POST, path).json(account)).await
    }

    /// Removes an account that has no functions.
    pub async fn remove_account(&self, provider: Option<&str>, id: &str) -> Result<(), ClientError> {
        let path = Path::new("/accounts").segment(id).query("provider", provider).finish();
        self.nothing(Outgoing::new(Method::DELETE, path)).await
    }

    /// What a provider's own clients need to reach the platform at the address that this client uses.
    pub async fn environment(&self, provider: &str, account: Option<&str>) -> Result<Environment, ClientError> {
        let path = Path::new("/environment")
            .segment(provider)
            .query("account", account)
            .query("endpoint", Some(&self.endpoint))
            .finish();
        self.document(Outgoing::new(Method::GET, path)).await
    }

    /// The platform's own settings.
    pub async fn config(&self) -> Result<Config, ClientError> {
        self.document(Outgoing::new(Method::GET, "/config".to_owned())).await
    }

    /// What the platform found out about its host.
    pub async fn doctor(&self) -> Result<Doctor, ClientError> {
        self.document(Outgoing::new(Method::GET, "/doctor".to_owned())).await
    }
}
