//! Policies of layer versions: which other accounts may use one.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json as document;
use sonagi_wire::Body;
use uuid::Uuid;

use super::operations::{missing, number};
use super::record::{LayerName, LayerStatement, VersionRecord};
use crate::control::validate::Violations;
use crate::control::{Control, ControlCall, json, no_content};
use crate::errors::{Code, LambdaError};

/// The one action that a policy can allow.
const ACTION: &str = "lambda:GetLayerVersion";

/// `AddLayerVersionPermission`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PermissionInput {
    statement_id: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    organization_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Added {
    statement: String,
    revision_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyShown {
    policy: String,
    revision_id: String,
}

fn shown(statement: &LayerStatement, arn: &str) -> serde_json::Value {
    let principal = match statement.principal.as_str() {
        "*" => document!("*"),
        account if account.starts_with("arn:") => document!({ "AWS": account }),
        account => document!({ "AWS": format!("arn:aws:iam::{account}:root") }),
    };
    let mut shown = document!({
        "Sid": statement.sid, "Effect": "Allow", "Principal": principal, "Action": ACTION, "Resource": arn,
    });
    if let Some(organization) = &statement.organization {
        shown["Condition"] = document!({ "StringEquals": { "aws:PrincipalOrgID": organization } });
    }
    shown
}

fn read(input: &PermissionInput) -> Result<LayerStatement, LambdaError> {
    let mut found = Violations::default();
    found.required("statementId", input.statement_id.is_some());
    found.required("action", input.action.is_some());
    found.required("principal", input.principal.is_some());
    found.longest("statementId", input.statement_id.as_deref(), 100);
    found.one_of("action", input.action.as_deref(), &[ACTION]);
    found.form(
        "principal",
        input.principal.as_deref(),
        r"\d{12}|\*|arn:(aws[a-zA-Z0-9-]*):iam::\d{12}:root",
        |text| {
            let digits = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
            let account = text
                .strip_prefix("arn:aws:iam::")
                .and_then(|rest| rest.strip_suffix(":root"));
            text == "*" || digits(text) || account.is_some_and(digits)
        },
    );
    found.finish()?;
    Ok(LayerStatement {
        sid: input.statement_id.clone().unwrap_or_default(),
        principal: input.principal.clone().unwrap_or_default(),
        organization: input.organization_id.clone(),
    })
}

impl Control {
    /// A version of the caller's own place.
    fn own_version(call: &ControlCall, (layer, version): (&str, &str)) -> Result<(LayerName, u64), LambdaError> {
        let (layer, number) = (LayerName::parse(layer, call.place())?, number(version)?);
        if layer.place != *call.place() {
            return Err(LambdaError::access_denied());
        }
        Ok((layer, number))
    }

    /// `GetLayerVersionPolicy`.
    pub(in crate::control) fn get_layer_policy(
        &self,
        call: &ControlCall,
        version: (&str, &str),
    ) -> Result<Response<Body>, LambdaError> {
        let (layer, number) = Self::own_version(call, version)?;
        let version = self
            .layers
            .version(&layer, number)
            .ok_or_else(|| missing(&layer, number))?;
        if version.policy.is_empty() {
            return Err(LambdaError::new(
                Code::ResourceNotFound,
                "No policy is associated with the given resource.",
            ));
        }
        let arn = layer.version_arn(number);
        let statements: Vec<_> = version.policy.iter().map(|statement| shown(statement, &arn)).collect();
        let policy = document!({ "Version": "2012-10-17", "Id": "default", "Statement": statements });
        Ok(json(
            StatusCode::OK,
            &PolicyShown {
                policy: policy.to_string(),
                revision_id: version.policy_revision,
            },
        ))
    }

    /// `AddLayerVersionPermission`.
    pub(in crate::control) async fn add_layer_permission(
        &self,
        call: &ControlCall,
        version: (&str, &str),
    ) -> Result<Response<Body>, LambdaError> {
        let (layer, number) = Self::own_version(call, version)?;
        let statement = read(&call.input()?)?;
        let added = statement.clone();
        let limit = self.limits.policy;
        let revision = self.alter_layer(call, (&layer, number), move |version| {
            if version.policy.iter().any(|other| other.sid == added.sid) {
                let text = format!(
                    "The statement id ({}) provided already exists. Please provide a new statement id, or remove the \
                     existing statement.",
                    added.sid
                );
                return Err(LambdaError::new(Code::ResourceConflict, text));
            }
            version.policy.push(added);
            let size: usize = version
                .policy
                .iter()
                .map(|statement| shown(statement, "").to_string().len())
                .sum();
            if size > limit {
                let text = format!("The final policy size is bigger than the limit ({limit}).");
                return Err(LambdaError::new(Code::PolicyLengthExceeded, text));
            }
            Ok(())
        });
        let revision_id = revision.await?;
        let statement = shown(&statement, &layer.version_arn(number)).to_string();
        Ok(json(StatusCode::CREATED, &Added { statement, revision_id }))
    }

    /// `RemoveLayerVersionPermission`.
    pub(in crate::control) async fn remove_layer_permission(
        &self,
        call: &ControlCall,
        version: (&str, &str),
        sid: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let (layer, number) = Self::own_version(call, version)?;
        let removed = self.alter_layer(call, (&layer, number), |version| {
            let before = version.policy.len();
            version.policy.retain(|statement| statement.sid != sid);
            if version.policy.len() == before {
                let text = format!("Statement {sid} is not found in resource policy.");
                return Err(LambdaError::new(Code::ResourceNotFound, text));
            }
            Ok(())
        });
        removed.await?;
        Ok(no_content())
    }

    /// Changes a version's policy; the policy's new revision.
    async fn alter_layer(
        &self,
        call: &ControlCall,
        (layer, number): (&LayerName, u64),
        alter: impl FnOnce(&mut VersionRecord) -> Result<(), LambdaError> + Send,
    ) -> Result<String, LambdaError> {
        let _turn = self.layers.turn.lock().await;
        let mut record = self.layers.get(layer).ok_or_else(|| missing(layer, number))?;
        let version = record.versions.get_mut(&number).ok_or_else(|| missing(layer, number))?;
        if call
            .query
            .get("RevisionId")
            .is_some_and(|given| given != version.policy_revision)
        {
            return Err(LambdaError::new(
                Code::PreconditionFailed,
                "The RevisionId provided does not match the latest RevisionId. Call the GetLayerVersionPolicy API to \
                 retrieve the latest RevisionId",
            ));
        }
        alter(version)?;
        let revision = Uuid::new_v4().to_string();
        version.policy_revision.clone_from(&revision);
        self.layers.put(layer, &record).await?;
        Ok(revision)
    }
}
