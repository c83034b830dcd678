//! The platform itself: status, accounts, clients' variables, settings, checks.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::StatusCode;
use sonagi_api as api;
use sonagi_ports::Language;

use super::answer::Refusal;
use super::query::{AccountQuery, EnvironmentQuery, Params, ScopeParams};
use super::{Shared, body, convert};

type SharedState = State<Arc<Shared>>;

const fn language(language: Language) -> &'static str {
    match language {
        Language::Python => "python",
        Language::Node => "node",
    }
}

pub(super) async fn status(State(shared): SharedState) -> Json<api::Status> {
    let interpreters = shared.interpreters.all().into_iter().map(|found| api::Interpreter {
        language: language(found.language).to_owned(),
        version: found.version,
        program: found.program,
    });
    Json(api::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        endpoint: shared.endpoint.clone(),
        providers: shared
            .adapters
            .iter()
            .map(|adapter| adapter.provider().to_owned())
            .collect(),
        default_namespace: shared
            .place(&ScopeParams::default())
            .ok()
            .map(|place| place.namespace.to_string()),
        functions: shared.catalog.len() as u64,
        interpreters: interpreters.collect(),
    })
}

pub(super) async fn accounts(
    State(shared): SharedState,
    Params(query): Params<AccountQuery>,
) -> Result<Json<api::Accounts>, Refusal> {
    let adapters = match query.provider.as_deref() {
        Some(provider) => std::slice::from_ref(shared.adapter(Some(provider))?),
        None => shared.adapters.as_slice(),
    };
    let accounts = adapters.iter().flat_map(|adapter| {
        let provider = adapter.provider();
        adapter
            .accounts()
            .into_iter()
            .map(move |account| convert::account(provider, account))
    });
    Ok(Json(api::Accounts {
        accounts: accounts.collect(),
    }))
}

pub(super) async fn add_account(
    State(shared): SharedState,
    Params(query): Params<AccountQuery>,
    body: Body,
) -> Result<(StatusCode, Json<api::Account>), Refusal> {
    let adapter = shared.adapter(query.provider.as_deref())?;
    let wanted: api::NewAccount = body::document(body, shared.limits.document).await?;
    let account = adapter.add_account(wanted.id.as_deref()).await?;
    Ok((StatusCode::CREATED, Json(convert::account(adapter.provider(), account))))
}

pub(super) async fn remove_account(
    State(shared): SharedState,
    Path(id): Path<String>,
    Params(query): Params<AccountQuery>,
) -> Result<StatusCode, Refusal> {
    shared.adapter(query.provider.as_deref())?.remove_account(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn environment(
    State(shared): SharedState,
    Path(provider): Path<String>,
    Params(query): Params<EnvironmentQuery>,
) -> Result<Json<api::Environment>, Refusal> {
    let adapter = shared.adapter(Some(&provider))?;
    let endpoint = query.endpoint.as_deref().unwrap_or(&shared.endpoint);
    let variables = adapter.client_environment(query.account.as_deref(), endpoint)?;
    let variables = variables
        .into_iter()
        .map(|(name, value)| api::Variable { name, value })
        .collect();
    Ok(Json(api::Environment { variables }))
}

pub(super) async fn config(State(shared): SharedState) -> Json<api::Config> {
    Json(api::Config {
        settings: shared.settings.clone(),
    })
}

pub(super) async fn doctor(State(shared): SharedState) -> Result<Json<api::Doctor>, Refusal> {
    let checks = Arc::clone(&shared.checks);
    let checks = tokio::task::spawn_blocking(move || checks()).await;
    let checks = checks.map_err(|_| Refusal::new(api::ErrorCode::Platform, "a check of the host crashed"))?;
    Ok(Json(api::Doctor { checks }))
}
