//! Reserved concurrency.

use http::{Response, StatusCode};
use serde::Serialize;
use sonagi_control::Edit;
use sonagi_wire::Body;

use super::provisioned::{claimed, total};
use super::request::ConcurrencyInput;
use super::validate::Violations;
use super::{Control, ControlCall, json, no_content};
use crate::arn::Named;
use crate::errors::LambdaError;
use crate::records::read;

/// `Concurrency`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Reserved {
    reserved_concurrent_executions: u32,
}

impl Reserved {
    pub(super) const fn new(reserved_concurrent_executions: u32) -> Self {
        Self {
            reserved_concurrent_executions,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Maybe {
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_concurrent_executions: Option<u32>,
}

impl Control {
    /// `PutFunctionConcurrency`.
    pub(super) async fn put_concurrency(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = unqualified(call, name)?;
        let input: ConcurrencyInput = call.input()?;
        let mut found = Violations::default();
        found.required(
            "reservedConcurrentExecutions",
            input.reserved_concurrent_executions.is_some(),
        );
        found.range(
            "reservedConcurrentExecutions",
            input.reserved_concurrent_executions,
            0..=i64::from(i32::MAX),
        );
        found.finish()?;
        let wanted = u32::try_from(input.reserved_concurrent_executions.unwrap_or_default()).unwrap_or(u32::MAX);
        self.reserve(&named, Some(wanted)).await?;
        Ok(json(StatusCode::OK, &Reserved::new(wanted)))
    }

    /// `GetFunctionConcurrency`: an empty object when nothing is reserved.
    pub(super) fn get_concurrency(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = unqualified(call, name)?;
        let reserved_concurrent_executions = self.entry(&named)?.function.reserved_concurrency;
        Ok(json(
            StatusCode::OK,
            &Maybe {
                reserved_concurrent_executions,
            },
        ))
    }

    /// `DeleteFunctionConcurrency`: 204, also when nothing is reserved.
    pub(super) async fn delete_concurrency(
        &self,
        call: &ControlCall,
        name: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let named = unqualified(call, name)?;
        self.reserve(&named, None).await?;
        Ok(no_content())
    }

    /// Reserves concurrency for a function, or gives it up.
    ///
    /// # Errors
    /// 400 when too little would be left to functions without a reservation.
    pub(crate) async fn reserve(&self, named: &Named, wanted: Option<u32>) -> Result<(), LambdaError> {
        let _turn = self.may_reserve(named, wanted).await?;
        let decide = |edit: &mut Edit| {
            set_reservation(edit, wanted);
            Ok(())
        };
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.runner.reserve(&entry.function);
        Ok(())
    }

    /// Whether a function may reserve so much; nobody else's reservation changes until the answer is dropped.
    ///
    /// # Errors
    /// 400 when too little would be left to functions without a reservation.
    pub(crate) async fn may_reserve(
        &self,
        named: &Named,
        wanted: Option<u32>,
    ) -> Result<tokio::sync::MutexGuard<'_, ()>, LambdaError> {
        let turn = self.reservations.lock().await;
        if let Some(wanted) = wanted {
            let mut others = 0;
            for entry in self.of_account(&named.place.account) {
                if entry.function.name != named.name || entry.function.namespace != named.place.namespace() {
                    others += claimed(&entry)?;
                } else {
                    let provisioned = total(&read(&entry.function.document)?);
                    if u64::from(wanted) < provisioned {
                        return Err(LambdaError::invalid(format!(
                            "ReservedConcurrentExecutions {wanted} should not be lower than function's total provisioned \
                             concurrency [{provisioned}]."
                        )));
                    }
                }
            }
            let minimum = self.limits.unreserved_concurrency;
            if others + u64::from(wanted) + u64::from(minimum) > u64::from(self.limits.account_concurrency)
                && wanted > 0
            {
                return Err(LambdaError::invalid(format!(
                    "Specified ReservedConcurrentExecutions for function decreases account's \
                     UnreservedConcurrentExecution below its minimum value of [{minimum}]."
                )));
            }
        }
        Ok(turn)
    }
}

/// Changes the draft of a function; [`Control::may_reserve`] has been asked, and the runner is told afterwards.
pub(crate) fn set_reservation(edit: &mut Edit, wanted: Option<u32>) {
    if edit.entry().function.reserved_concurrency != wanted {
        edit.function(|function| function.reserved_concurrency = wanted);
    }
}

fn unqualified(call: &ControlCall, name: &str) -> Result<Named, LambdaError> {
    let named = call.named(name)?;
    if named.qualifier.is_some() {
        return Err(LambdaError::invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.",
        ));
    }
    Ok(named)
}
