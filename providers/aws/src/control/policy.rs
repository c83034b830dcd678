//! Resource policies: the three operations, how statements are shown, and what they allow.
//! Source: "AddPermission" of the Lambda API reference; statements recorded from the real service.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sonagi_control::{Edit, FunctionEntry};
use sonagi_wire::Body;
use uuid::Uuid;

use super::request::PermissionInput;
use super::validate::Violations;
use super::versions::{alter_record, touch};
use super::{Control, ControlCall, json, no_content, revision_of};
use crate::arn::{LATEST, Named, Qualifier};
use crate::errors::{Code, LambdaError};
use crate::records::{
    AliasRecord, Conditions, FunctionRecord, PrincipalRule, RevisionRecord, Statement, UrlAuth, read, write,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Added {
    statement: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyShown {
    policy: String,
    revision_id: String,
}

/// Under which key the policy, and the URL, of a qualifier is kept.
pub(crate) fn key_of(qualifier: Option<&Qualifier>) -> String {
    match qualifier {
        None | Some(Qualifier::Latest) => LATEST.to_owned(),
        Some(qualifier) => qualifier.to_string(),
    }
}

/// A request to use a function, as far as statements look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access<'a> {
    /// The caller's ARN and the other ARNs that stand for it; empty for somebody who did not sign.
    pub(crate) principals: &'a [String],
    /// For instance `lambda:InvokeFunction`.
    pub(crate) action: &'a str,
    /// The URL's authorization type, for calls through a URL.
    pub(crate) url: Option<UrlAuth>,
}

impl Statement {
    /// Whether this statement allows the access.
    pub(crate) fn allows(&self, access: &Access<'_>) -> bool {
        self.has_action(access.action) && self.has_principal(access.principals) && self.conditions.hold(access.url)
    }

    fn has_action(&self, action: &str) -> bool {
        match self.action.as_str() {
            "*" | "lambda:*" => true,
            own => own.eq_ignore_ascii_case(action),
        }
    }

    fn has_principal(&self, principals: &[String]) -> bool {
        match &self.principal {
            PrincipalRule::Everyone => true,
            PrincipalRule::Aws(arn) => principals.contains(arn),
            PrincipalRule::Service(_) => false,
        }
    }

    fn shown(&self, resource: &str) -> Value {
        let principal = match &self.principal {
            PrincipalRule::Everyone => json!("*"),
            PrincipalRule::Service(name) => json!({ "Service": name }),
            PrincipalRule::Aws(arn) => json!({ "AWS": arn }),
        };
        let mut statement = json!({
            "Sid": self.sid, "Effect": "Allow", "Principal": principal, "Action": self.action, "Resource": resource,
        });
        let conditions = self.conditions.shown();
        if !conditions.is_empty() {
            statement["Condition"] = Value::Object(conditions);
        }
        statement
    }
}

impl Conditions {
    /// Requests come from clients here, not from other services: what only a service can vouch for does not hold.
    fn hold(&self, url: Option<UrlAuth>) -> bool {
        let Self {
            source_arn,
            source_account,
            organization,
            event_source_token,
            url_auth,
            via_url,
        } = self;
        let from_service = source_arn.is_some() || source_account.is_some() || event_source_token.is_some();
        !from_service
            && organization.is_none()
            && url_auth.is_none_or(|wanted| url == Some(wanted))
            && via_url.is_none_or(|wanted| url.is_some() == wanted)
    }

    fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        let mut add = |operator: &str, key: &str, value: Option<String>| {
            if let Some(value) = value {
                let operator = shown.entry(operator).or_insert_with(|| json!({}));
                operator[key] = json!(value);
            }
        };
        add("StringEquals", "AWS:SourceAccount", self.source_account.clone());
        add("StringEquals", "aws:PrincipalOrgID", self.organization.clone());
        add(
            "StringEquals",
            "lambda:EventSourceToken",
            self.event_source_token.clone(),
        );
        add(
            "StringEquals",
            "lambda:FunctionUrlAuthType",
            self.url_auth.map(|auth| auth.as_str().to_owned()),
        );
        add(
            "Bool",
            "lambda:InvokedViaFunctionUrl",
            self.via_url.map(|via| via.to_string()),
        );
        add("ArnLike", "AWS:SourceArn", self.source_arn.clone());
        shown
    }
}

/// The statements that make a URL public, as deploy tools and the console add them.
pub(crate) fn public_url_statements() -> Vec<Statement> {
    let statement = |sid: &str, action: &str, conditions| Statement {
        sid: sid.to_owned(),
        principal: PrincipalRule::Everyone,
        action: action.to_owned(),
        conditions,
    };
    vec![
        statement(
            "FunctionURLAllowPublicAccess",
            "lambda:InvokeFunctionUrl",
            Conditions {
                url_auth: Some(UrlAuth::None),
                ..Conditions::default()
            },
        ),
        statement(
            "FunctionURLInvokeAllowPublicAccess",
            "lambda:InvokeFunction",
            Conditions {
                via_url: Some(true),
                ..Conditions::default()
            },
        ),
    ]
}

/// Whether one of the statements allows a call through a URL. Either of the two actions is enough: new URLs get both,
/// older ones only the first.
pub(crate) fn url_allowed(statements: &[Statement], principals: &[String], auth: UrlAuth) -> bool {
    ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]
        .iter()
        .any(|action| {
            let access = Access {
                principals,
                action,
                url: Some(auth),
            };
            let direct = *action == "lambda:InvokeFunction";
            // A permission to call the API is none to use the URL, unless it says so.
            statements
                .iter()
                .any(|statement| statement.allows(&access) && (!direct || statement.conditions.via_url == Some(true)))
        })
}

/// Forgets the policy and the URL of a qualifier that is gone.
///
/// # Errors
/// 500 when the record cannot be read.
pub(crate) fn forget_qualifier(edit: &mut Edit, qualifier: &str) -> Result<(), LambdaError> {
    alter_record(edit, |record| {
        record.policies.remove(qualifier);
        record.urls.remove(qualifier);
        Ok(())
    })
}

fn policy_text(statements: &[Statement], resource: &str) -> String {
    let statements: Vec<Value> = statements.iter().map(|statement| statement.shown(resource)).collect();
    json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements }).to_string()
}

fn statement_of(input: &PermissionInput) -> Result<Statement, LambdaError> {
    let mut found = Violations::default();
    found.required("statementId", input.statement_id.is_some());
    found.required("action", input.action.is_some());
    found.required("principal", input.principal.is_some());
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    found.longest("statementId", input.statement_id.as_deref(), 100);
    if let Some(sid) = input
        .statement_id
        .as_deref()
        .filter(|sid| sid.is_empty() || !sid.bytes().all(word))
    {
        found.add(
            sid,
            "statementId",
            "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)",
        );
    }
    found.form(
        "action",
        input.action.as_deref(),
        r"(lambda:[*]|lambda:[a-zA-Z]+|[*])",
        |action| {
            let name = action.strip_prefix("lambda:").unwrap_or_default();
            action == "*" || name == "*" || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()))
        },
    );
    found.form("principal", input.principal.as_deref(), r"[^\s]+", |text| {
        !text.is_empty() && !text.contains(char::is_whitespace)
    });
    found.form("sourceAccount", input.source_account.as_deref(), r"\d{12}", |text| {
        text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
    });
    found.form(
        "sourceArn",
        input.source_arn.as_deref(),
        r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)",
        |text| text.starts_with("arn:aws") && text.split(':').count() >= 6,
    );
    found.one_of(
        "functionUrlAuthType",
        input.function_url_auth_type.as_deref(),
        &["AWS_IAM", "NONE"],
    );
    found.finish()?;
    let action = input.action.clone().unwrap_or_default();
    let url_auth = match input.function_url_auth_type.as_deref() {
        None => None,
        Some("AWS_IAM") => Some(UrlAuth::Iam),
        Some(_) => Some(UrlAuth::None),
    };
    if url_auth.is_some() && action != "lambda:InvokeFunctionUrl" {
        return Err(LambdaError::invalid(
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ));
    }
    Ok(Statement {
        sid: input.statement_id.clone().unwrap_or_default(),
        principal: principal_of(input.principal.as_deref().unwrap_or_default())?,
        action,
        conditions: Conditions {
            source_arn: input.source_arn.clone(),
            source_account: input.source_account.clone(),
            organization: input.principal_org_id.clone(),
            event_source_token: input.event_source_token.clone(),
            url_auth,
            via_url: input.invoked_via_function_url,
        },
    })
}

fn principal_of(text: &str) -> Result<PrincipalRule, LambdaError> {
    if text == "*" {
        return Ok(PrincipalRule::Everyone);
    }
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(PrincipalRule::Aws(format!("arn:aws:iam::{text}:root")));
    }
    if text.starts_with("arn:aws") {
        return Ok(PrincipalRule::Aws(text.to_owned()));
    }
    if text.contains('.') {
        return Ok(PrincipalRule::Service(text.to_owned()));
    }
    Err(LambdaError::invalid(
        "The provided principal was invalid. Please check the principal and try again.",
    ))
}

impl Control {
    /// What a policy belongs to: the function, a version or an alias, which must exist.
    fn guarded(&self, call: &ControlCall, name: &str) -> Result<(Named, Arc<FunctionEntry>), LambdaError> {
        let named = call.named(name)?;
        if named.qualifier == Some(Qualifier::Latest) {
            return Err(LambdaError::invalid(
                "We currently do not support adding policies for $LATEST.",
            ));
        }
        let entry = self.catalog.find(&named.place.namespace(), &named.name);
        let entry = entry.ok_or_else(|| LambdaError::function_not_found(&named.qualified_arn()))?;
        revision_of(&entry, &named)?;
        Ok((named, entry))
    }

    /// `AddPermission`.
    pub(super) async fn add_permission(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let input: PermissionInput = call.input()?;
        let statement = statement_of(&input)?;
        let (named, _) = self.guarded(call, name)?;
        let resource = named.qualified_arn();
        let decide = |edit: &mut Edit| {
            check_lock(edit.entry(), &named, input.revision_id.as_deref())?;
            alter_record(edit, |record| {
                let statements = record.policies.entry(key_of(named.qualifier.as_ref())).or_default();
                if statements.iter().any(|other| other.sid == statement.sid) {
                    let text = format!(
                        "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.",
                        statement.sid
                    );
                    return Err(LambdaError::new(Code::ResourceConflict, text));
                }
                statements.push(statement.clone());
                if policy_text(statements, &resource).len() > self.limits.policy {
                    let text = format!(
                        "The final policy size is bigger than the limit ({}).",
                        self.limits.policy
                    );
                    return Err(LambdaError::new(Code::PolicyLengthExceeded, text));
                }
                Ok(())
            })?;
            renew(edit, &named)
        };
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.routes.sync(&self.catalog, entry.function.id);
        let statement = statement.shown(&resource).to_string();
        Ok(json(StatusCode::CREATED, &Added { statement }))
    }

    /// `RemovePermission`.
    pub(super) async fn remove_permission(
        &self,
        call: &ControlCall,
        name: &str,
        sid: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let (named, _) = self.guarded(call, name)?;
        let lock = call.query.get("RevisionId");
        let decide = |edit: &mut Edit| {
            alter_record(edit, |record| {
                let key = key_of(named.qualifier.as_ref());
                let statements = record
                    .policies
                    .get_mut(&key)
                    .ok_or_else(LambdaError::resource_not_found)?;
                let before = statements.len();
                statements.retain(|statement| statement.sid != sid);
                if statements.len() == before {
                    let text = format!("Statement {sid} is not found in resource policy.");
                    return Err(LambdaError::new(Code::ResourceNotFound, text));
                }
                if statements.is_empty() {
                    record.policies.remove(&key);
                }
                Ok(())
            })?;
            check_lock(edit.entry(), &named, lock)?;
            renew(edit, &named)
        };
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.routes.sync(&self.catalog, entry.function.id);
        Ok(no_content())
    }

    /// `GetPolicy`.
    pub(super) fn get_policy(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let (named, entry) = self.guarded(call, name)?;
        let record: FunctionRecord = read(&entry.function.document)?;
        let statements = record.policies.get(&key_of(named.qualifier.as_ref()));
        let statements = statements.ok_or_else(LambdaError::resource_not_found)?;
        let policy = policy_text(statements, &named.qualified_arn());
        Ok(json(
            StatusCode::OK,
            &PolicyShown {
                policy,
                revision_id: lock_of(&entry, &named)?.to_string(),
            },
        ))
    }
}

/// The id that changes with a policy: that of the alias or revision it belongs to.
fn lock_of(entry: &FunctionEntry, named: &Named) -> Result<Uuid, LambdaError> {
    if let Some(Qualifier::Alias(alias)) = &named.qualifier
        && let Some(alias) = entry.aliases.get(alias)
    {
        return Ok(read::<AliasRecord>(&alias.document)?.revision_id);
    }
    Ok(read::<RevisionRecord>(&revision_of(entry, named)?.document)?.revision_id)
}

fn check_lock(entry: &FunctionEntry, named: &Named, given: Option<&str>) -> Result<(), LambdaError> {
    let Some(given) = given else { return Ok(()) };
    if lock_of(entry, named)?.to_string() != given {
        return Err(LambdaError::new(
            Code::PreconditionFailed,
            "The RevisionId provided does not match the latest RevisionId. Call the GetPolicy API to retrieve the latest \
             RevisionId",
        ));
    }
    Ok(())
}

fn renew(edit: &mut Edit, named: &Named) -> Result<(), LambdaError> {
    if let Some(Qualifier::Alias(alias)) = &named.qualifier
        && let Some(found) = edit.entry().aliases.get(alias).map(Arc::clone)
    {
        let record = AliasRecord {
            revision_id: Uuid::new_v4(),
            ..read(&found.document)?
        };
        edit.put_alias(alias.clone(), found.route.clone(), write(&record));
        return Ok(());
    }
    let revision = revision_of(edit.entry(), named)?.id;
    touch(edit, revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(principal: &str, action: &str, conditions: Conditions) -> Statement {
        let principal = principal_of(principal).unwrap();
        Statement {
            sid: "s".to_owned(),
            principal,
            action: action.to_owned(),
            conditions,
        }
    }

    #[test]
    fn statements_allow_what_they_name_and_nothing_else() {
        let other = ["arn:aws:iam::111111111111:root".to_owned()];
        let from_arn = Conditions {
            source_arn: Some("arn:aws:s3:::b".to_owned()),
            ..Conditions::default()
        };
        let cases = [
            (
                statement("111111111111", "lambda:InvokeFunction", Conditions::default()),
                true,
            ),
            (
                statement("arn:aws:iam::111111111111:root", "lambda:*", Conditions::default()),
                true,
            ),
            (statement("*", "*", Conditions::default()), true),
            (
                statement("222222222222", "lambda:InvokeFunction", Conditions::default()),
                false,
            ),
            (
                statement("111111111111", "lambda:GetFunction", Conditions::default()),
                false,
            ),
            (
                statement("s3.amazonaws.com", "lambda:InvokeFunction", Conditions::default()),
                false,
            ),
            (statement("*", "lambda:InvokeFunction", from_arn), false),
        ];
        for (statement, allowed) in cases {
            let access = Access {
                principals: &other,
                action: "lambda:InvokeFunction",
                url: None,
            };
            assert_eq!(statement.allows(&access), allowed, "{statement:?}");
        }
        let public = public_url_statements();
        assert!(url_allowed(&public[..1], &[], UrlAuth::None) && url_allowed(&public[1..], &[], UrlAuth::None));
        assert!(!url_allowed(&public[..1], &[], UrlAuth::Iam));
        let direct = [statement("*", "lambda:InvokeFunction", Conditions::default())];
        assert!(!url_allowed(&direct, &[], UrlAuth::None));
    }

    #[test]
    fn statements_are_shown_as_the_service_shows_them() {
        let conditions = Conditions {
            source_arn: Some("arn:aws:s3:::b".to_owned()),
            source_account: Some("000000000000".to_owned()),
            ..Conditions::default()
        };
        let text = statement("s3.amazonaws.com", "lambda:InvokeFunction", conditions)
            .shown("arn")
            .to_string();
        assert_eq!(
            text,
            r#"{"Sid":"s","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn","Condition":{"StringEquals":{"AWS:SourceAccount":"000000000000"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}}"#
        );
        assert_eq!(statement("*", "*", Conditions::default()).shown("a")["Principal"], "*");
        assert!(principal_of("nonsense").is_err());
    }
}
