//! Statements of resource policies: read from a request, shown, and what they allow.
//! Source: "AddPermission" of the Lambda API reference; statements recorded from the real service.

use serde_json::{Map, Value, json};

use super::request::PermissionInput;
use super::validate::Violations;
use crate::errors::LambdaError;
use crate::records::{Conditions, PrincipalRule, Statement, UrlAuth};

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

/// A request of a service to call a function for something of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceAccess<'a> {
    /// The service, for instance `s3.amazonaws.com`.
    pub(crate) service: &'a str,
    /// The ARN of what it calls for.
    pub(crate) source_arn: &'a str,
    /// The account that this belongs to.
    pub(crate) source_account: &'a str,
}

/// Whether a text matches a pattern of `ArnLike`: `*` is any text, `?` any character.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Where the last `*` was, and how much of the text it stood for when it was tried last.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

impl Statement {
    /// Whether this statement allows a service to invoke the function.
    pub(crate) fn allows_service(&self, access: &ServiceAccess<'_>) -> bool {
        let principal = match &self.principal {
            PrincipalRule::Everyone => true,
            PrincipalRule::Service(name) => name == access.service,
            PrincipalRule::Aws(_) => false,
        };
        let Conditions {
            source_arn,
            source_account,
            organization,
            event_source_token,
            url_auth,
            via_url,
        } = &self.conditions;
        principal
            && self.has_action("lambda:InvokeFunction")
            && source_arn
                .as_deref()
                .is_none_or(|pattern| like(pattern, access.source_arn))
            && source_account
                .as_deref()
                .is_none_or(|account| account == access.source_account)
            && organization.is_none()
            && event_source_token.is_none()
            && url_auth.is_none()
            && *via_url != Some(true)
    }

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

    pub(super) fn shown(&self, resource: &str) -> Value {
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

/// Reads the input of `AddPermission`.
///
/// # Errors
/// 400 for whatever the model or the service refuses.
pub(super) fn statement_of(input: &PermissionInput) -> Result<Statement, LambdaError> {
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
    fn services_are_allowed_for_what_a_statement_names() {
        let of = |arn: Option<&str>, account: Option<&str>| Conditions {
            source_arn: arn.map(str::to_owned),
            source_account: account.map(str::to_owned),
            ..Conditions::default()
        };
        let cases = [
            ("s3.amazonaws.com", of(None, None), true),
            (
                "s3.amazonaws.com",
                of(Some("arn:aws:s3:::b"), Some("000000000000")),
                true,
            ),
            ("s3.amazonaws.com", of(Some("arn:aws:s3:::*"), None), true),
            ("s3.amazonaws.com", of(Some("arn:aws:s3:::b?"), None), false),
            ("s3.amazonaws.com", of(Some("arn:*:b"), None), true),
            ("s3.amazonaws.com", of(Some("arn:aws:s3:::other"), None), false),
            ("s3.amazonaws.com", of(None, Some("111111111111")), false),
            ("events.amazonaws.com", of(None, None), false),
            ("000000000000", of(None, None), false),
            ("*", of(None, None), true),
        ];
        for (principal, conditions, allowed) in cases {
            let statement = statement(principal, "lambda:InvokeFunction", conditions);
            let access = ServiceAccess {
                service: "s3.amazonaws.com",
                source_arn: "arn:aws:s3:::b",
                source_account: "000000000000",
            };
            assert_eq!(statement.allows_service(&access), allowed, "{statement:?}");
        }
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
