//! Attempts and usage.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use sonagi_api as api;
use sonagi_model::InvocationId;
use sonagi_ports::{RunFilter, UsageFilter};

use super::answer::Refusal;
use super::query::{Params, RunsQuery, UsageQuery};
use super::{Shared, convert, moment};

/// The most attempts in one answer, as [`RunFilter`] has it.
const RUNS_MAX: usize = 1000;

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<RunsQuery>,
) -> Result<Json<api::Runs>, Refusal> {
    let namespace = shared.only(&query.scope())?;
    let now = shared.clock.now();
    let since = query
        .since
        .as_deref()
        .map(|text| moment::parse("since", text, now))
        .transpose()?;
    let of = |name: &str| shared.function_id(&shared.place_of(&query.scope(), name)?, name);
    let function = query.function.as_deref().map(of).transpose()?;
    let limit = query.limit.unwrap_or(0);
    if limit > RUNS_MAX {
        return Err(Refusal::invalid(format!("limit {limit} is more than {RUNS_MAX}")));
    }
    let filter = RunFilter {
        function,
        namespace,
        since,
        failed: query.failed,
        limit,
    };
    let records = shared.runs.recent(filter).await?;
    Ok(Json(api::Runs {
        runs: records.into_iter().map(convert::run).collect(),
    }))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(invocation): Path<String>,
) -> Result<Json<api::Runs>, Refusal> {
    let id: InvocationId = invocation
        .parse()
        .map_err(|_| Refusal::invalid(format!("{invocation:?} is no invocation's id")))?;
    let records = shared.runs.attempts(id).await?;
    if records.is_empty() {
        return Err(Refusal::missing(format!("no attempt of invocation {id} is known"))
            .hint("an event that was accepted shows up when its first attempt ends; `sonagi runs` lists attempts"));
    }
    Ok(Json(api::Runs {
        runs: records.into_iter().map(convert::run).collect(),
    }))
}

pub(super) async fn usage(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<UsageQuery>,
) -> Result<Json<api::Usage>, Refusal> {
    let namespace = shared.only(&query.scope())?;
    let now = shared.clock.now();
    let from = query
        .since
        .as_deref()
        .map(|text| moment::parse("since", text, now))
        .transpose()?;
    let to = query
        .until
        .as_deref()
        .map_or(Ok(now), |text| moment::parse("until", text, now))?;
    if from.is_some_and(|from| from > to) {
        return Err(Refusal::invalid("the period ends before it begins"));
    }
    let filter = UsageFilter {
        tenant: None,
        namespace,
        from,
        to: Some(to),
    };
    let rows = shared.runs.usage(filter).await?;
    let priced = (shared.price)(&rows);
    let amounts = priced.rows.into_iter().chain(std::iter::repeat(None));
    let rows = rows
        .into_iter()
        .zip(amounts)
        .map(|(row, amount)| convert::usage_row(row, amount))
        .collect();
    Ok(Json(api::Usage {
        since: from.map(moment::text),
        until: moment::text(to),
        rows,
        totals: priced.totals,
    }))
}
