//! Deploying, describing and changing functions.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use sonagi_api as api;
use sonagi_ports::{AliasView, Deploy, DeployProject};

use super::answer::Refusal;
use super::convert::{self, Values};
use super::query::{ListQuery, Params, ScopeParams, ScopeQuery, ShowQuery};
use super::{Shared, body};

type SharedState = State<Arc<Shared>>;

pub(super) async fn deploy(
    State(shared): SharedState,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<api::Deployed>, Refusal> {
    let request: api::DeployRequest = document_in(&headers, api::header::DEPLOY)?;
    let scope = ScopeParams {
        namespace: request.namespace,
        provider: request.provider,
        account: request.account,
    };
    let place = shared.place(&scope)?;
    let _turn = shared.deploys.acquire().await.expect("the semaphore is never closed");
    let archive = archive_in(&shared, body).await?;
    let deployed = place
        .adapter
        .deploy(Deploy {
            namespace: place.namespace,
            name: request.name,
            archive,
            settings: convert::settings(request.settings),
            url: request.url.map(convert::url),
        })
        .await?;
    Ok(Json(convert::deployed(deployed)))
}

pub(super) async fn deploy_project(
    State(shared): SharedState,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<api::ProjectDeployed>, Refusal> {
    let request: api::ProjectRequest = document_in(&headers, api::header::PROJECT)?;
    let scope = ScopeParams {
        namespace: request.namespace,
        provider: request.provider,
        account: request.account,
    };
    let place = shared.place(&scope)?;
    let _turn = shared.deploys.acquire().await.expect("the semaphore is never closed");
    let project = DeployProject {
        namespace: place.namespace,
        archive: archive_in(&shared, body).await?,
        variables: request.variables,
    };
    let deployed = place.adapter.deploy_project(project).await?;
    Ok(Json(convert::project_deployed(deployed)))
}

async fn archive_in(shared: &Shared, body: Body) -> Result<bytes::Bytes, Refusal> {
    let archive = body::read(body, "archive", shared.limits.archive).await?;
    if archive.is_empty() {
        return Err(Refusal::invalid("the body has no archive").hint("send the zip archive as the body"));
    }
    Ok(archive)
}

fn document_in<T: serde::de::DeserializeOwned>(headers: &HeaderMap, header: &str) -> Result<T, Refusal> {
    let Some(value) = headers.get(header) else {
        return Err(Refusal::invalid(format!("the header {header} is missing"))
            .hint("it holds the deployment's JSON document in base64"));
    };
    let text = value
        .to_str()
        .map_err(|_| Refusal::invalid(format!("header {header}: not base64")))?;
    api::header::decode(text).map_err(|error| Refusal::invalid(format!("header {header}: {error}")))
}

pub(super) async fn list(
    State(shared): SharedState,
    Params(query): Params<ListQuery>,
) -> Result<Json<api::Functions>, Refusal> {
    let mut views = Vec::new();
    if query.all {
        for adapter in &shared.adapters {
            let mut namespaces: Vec<_> = adapter
                .accounts()
                .into_iter()
                .map(|account| account.namespace)
                .collect();
            namespaces.dedup();
            views.extend(namespaces.iter().flat_map(|namespace| adapter.list(namespace)));
        }
    } else if let Some(namespace) = shared.only(&query.scope())? {
        let place = shared.place(&query.scope())?;
        views = place.adapter.list(&namespace);
    } else {
        for adapter in &shared.adapters {
            let first = adapter.accounts().into_iter().next();
            views.extend(first.into_iter().flat_map(|account| adapter.list(&account.namespace)));
        }
    }
    let functions = views
        .into_iter()
        .map(|view| convert::function(view, Values::Hidden))
        .collect();
    Ok(Json(api::Functions { functions }))
}

pub(super) async fn show(
    State(shared): SharedState,
    Path(name): Path<String>,
    Params(query): Params<ShowQuery>,
) -> Result<Json<api::Function>, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let view = place.adapter.describe(&place.namespace, &name)?;
    let values = if query.values { Values::Shown } else { Values::Hidden };
    Ok(Json(convert::function(view, values)))
}

pub(super) async fn configure(
    State(shared): SharedState,
    Path(name): Path<String>,
    Params(query): Params<ScopeQuery>,
    body: Body,
) -> Result<Json<api::Function>, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let settings: api::Settings = body::document(body, shared.limits.document).await?;
    let view = place
        .adapter
        .configure(&place.namespace, &name, convert::settings(settings))
        .await?;
    Ok(Json(convert::function(view, Values::Hidden)))
}

pub(super) async fn remove(
    State(shared): SharedState,
    Path(name): Path<String>,
    Params(query): Params<ScopeQuery>,
) -> Result<StatusCode, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    place.adapter.remove(&place.namespace, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn versions(
    State(shared): SharedState,
    Path(name): Path<String>,
    Params(query): Params<ScopeQuery>,
) -> Result<Json<api::Versions>, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let view = place.adapter.describe(&place.namespace, &name)?;
    Ok(Json(api::Versions {
        versions: view.versions.into_iter().map(convert::version).collect(),
    }))
}

pub(super) async fn publish(
    State(shared): SharedState,
    Path(name): Path<String>,
    Params(query): Params<ScopeQuery>,
) -> Result<(StatusCode, Json<api::Version>), Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let version = place.adapter.publish(&place.namespace, &name).await?;
    Ok((StatusCode::CREATED, Json(convert::version(version))))
}

pub(super) async fn aliases(
    State(shared): SharedState,
    Path(name): Path<String>,
    Params(query): Params<ScopeQuery>,
) -> Result<Json<api::Aliases>, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let view = place.adapter.describe(&place.namespace, &name)?;
    Ok(Json(api::Aliases {
        aliases: view.aliases.into_iter().map(convert::alias).collect(),
    }))
}

pub(super) async fn put_alias(
    State(shared): SharedState,
    Path((name, alias)): Path<(String, String)>,
    Params(query): Params<ScopeQuery>,
    body: Body,
) -> Result<Json<api::Alias>, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let target: api::AliasTarget = body::document(body, shared.limits.document).await?;
    let split = target.split.map(|split| (split.version, split.share));
    if let Some((_, share)) = &split
        && !(0.0..=1.0).contains(share)
    {
        return Err(Refusal::invalid(format!("share {share} is not between 0 and 1")));
    }
    let wanted = AliasView {
        name: alias,
        version: target.version,
        split,
    };
    let alias = place.adapter.put_alias(&place.namespace, &name, wanted).await?;
    Ok(Json(convert::alias(alias)))
}

pub(super) async fn remove_alias(
    State(shared): SharedState,
    Path((name, alias)): Path<(String, String)>,
    Params(query): Params<ScopeQuery>,
) -> Result<StatusCode, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    place.adapter.remove_alias(&place.namespace, &name, &alias).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn roll_back(
    State(shared): SharedState,
    Path(name): Path<String>,
    Params(query): Params<ScopeQuery>,
    body: Body,
) -> Result<Json<api::Version>, Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let rollback: api::Rollback = body::document(body, shared.limits.document).await?;
    let version = place
        .adapter
        .roll_back(&place.namespace, &name, rollback.to.as_deref())
        .await?;
    Ok(Json(convert::version(version)))
}
