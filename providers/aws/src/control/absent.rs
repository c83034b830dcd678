//! Operations of what this platform does not have: listings are truly empty, single things are not found, and whatever
//! would create one is refused by name. Beside them the small configurations that tools ask for.

use http::{Response, StatusCode};
use serde_json::json;
use sonagi_control::Edit;
use sonagi_wire::Body;

use super::request::{RecursionInput, RuntimeManagementInput};
use super::validate::Violations;
use super::versions::alter_record;
use super::{Control, ControlCall, json as answer, revision_of};
use crate::errors::LambdaError;
use crate::records::{FunctionRecord, RecursiveLoop, UpdateRuntimeOn, read};

const fn recursive_loop(value: RecursiveLoop) -> &'static str {
    match value {
        RecursiveLoop::Terminate => "Terminate",
        RecursiveLoop::Allow => "Allow",
    }
}

const fn update_runtime_on(value: UpdateRuntimeOn) -> &'static str {
    match value {
        UpdateRuntimeOn::Auto => "Auto",
        UpdateRuntimeOn::FunctionUpdate => "FunctionUpdate",
    }
}

impl Control {
    /// The function of a request must exist before anything about it can be said.
    fn existing(&self, call: &ControlCall, name: &str) -> Result<crate::arn::Named, LambdaError> {
        let named = call.named(name)?;
        revision_of(&*self.entry(&named)?, &named)?;
        Ok(named)
    }

    /// `GetFunctionCodeSigningConfig`: none is attached. The model requires both members.
    pub(super) fn code_signing(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = self.existing(call, name)?;
        Ok(answer(
            StatusCode::OK,
            &json!({ "CodeSigningConfigArn": "", "FunctionName": named.name }),
        ))
    }

    /// `GetFunctionRecursionConfig`.
    pub(super) fn get_recursion(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = self.existing(call, name)?;
        let record: FunctionRecord = read(&self.entry(&named)?.function.document)?;
        Ok(answer(
            StatusCode::OK,
            &json!({ "RecursiveLoop": recursive_loop(record.recursive_loop) }),
        ))
    }

    /// `PutFunctionRecursionConfig`.
    pub(super) async fn put_recursion(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = self.existing(call, name)?;
        let input: RecursionInput = call.input()?;
        let mut found = Violations::default();
        found.required("recursiveLoop", input.recursive_loop.is_some());
        found.one_of(
            "recursiveLoop",
            input.recursive_loop.as_deref(),
            &["Allow", "Terminate"],
        );
        found.finish()?;
        let value = match input.recursive_loop.as_deref() {
            Some("Allow") => RecursiveLoop::Allow,
            Some(_) | None => RecursiveLoop::Terminate,
        };
        let decide = |edit: &mut Edit| {
            alter_record(edit, |record| {
                record.recursive_loop = value;
                Ok(())
            })
        };
        self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        Ok(answer(
            StatusCode::OK,
            &json!({ "RecursiveLoop": recursive_loop(value) }),
        ))
    }

    /// `GetRuntimeManagementConfig`.
    pub(super) fn get_runtime_management(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = self.existing(call, name)?;
        let record: FunctionRecord = read(&self.entry(&named)?.function.document)?;
        let shown = json!({ "FunctionArn": named.qualified_arn(), "UpdateRuntimeOn": update_runtime_on(record.update_runtime_on) });
        Ok(answer(StatusCode::OK, &shown))
    }

    /// `PutRuntimeManagementConfig`. Runtimes are the host's interpreters, so one version cannot be pinned by an ARN.
    pub(super) async fn put_runtime_management(
        &self,
        call: &ControlCall,
        name: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let named = self.existing(call, name)?;
        let input: RuntimeManagementInput = call.input()?;
        let mut found = Violations::default();
        found.required("updateRuntimeOn", input.update_runtime_on.is_some());
        found.one_of(
            "updateRuntimeOn",
            input.update_runtime_on.as_deref(),
            &["Auto", "Manual", "FunctionUpdate"],
        );
        found.finish()?;
        let value = match input.update_runtime_on.as_deref() {
            Some("Manual") => {
                return Err(LambdaError::not_offered(
                    "Pinned runtime versions (UpdateRuntimeOn Manual) are",
                ));
            }
            Some("FunctionUpdate") => UpdateRuntimeOn::FunctionUpdate,
            Some(_) | None => UpdateRuntimeOn::Auto,
        };
        let decide = |edit: &mut Edit| {
            alter_record(edit, |record| {
                record.update_runtime_on = value;
                Ok(())
            })
        };
        self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        let shown = json!({ "FunctionArn": named.qualified_arn(), "UpdateRuntimeOn": update_runtime_on(value) });
        Ok(answer(StatusCode::OK, &shown))
    }
}
