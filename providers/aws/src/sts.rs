//! Security Token Service: who is calling, and keys for a role.
//! Source: the service model `sts` of botocore 1.44.5 (protocol query); "AssumeRole" of the STS API reference.
//!
//! There is no service of roles here: every role of the caller's own account can be assumed, and its session may do what
//! the account may do. It is there for clients and tools that begin with it.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use sonagi_model::InvocationId;
use sonagi_ports::Clock;
use sonagi_wire::Body;

use crate::auth::{Caller, Principal, Session, Sessions, query_pairs};

/// Seconds that a session may last: least, most, and without a word.
const DURATION_SECS: (i64, i64, i64) = (900, 43_200, 3600);

/// A request's parameters.
struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A refusal: status, code, text.
type Refusal = (StatusCode, &'static str, String);

/// Answers one request.
pub(crate) fn answer(
    parts: &Parts,
    body: &Bytes,
    caller: &Caller,
    (sessions, clock): (&Sessions, &dyn Clock),
) -> Response<Body> {
    let text = String::from_utf8_lossy(body);
    let fields = if body.is_empty() {
        parts.uri.query().unwrap_or_default()
    } else {
        text.as_ref()
    };
    let form = Form(query_pairs(fields));
    let result = match form.get("Action") {
        Some("GetCallerIdentity") => Ok(identity(caller)),
        Some("AssumeRole") => assume(&form, caller, sessions, clock),
        Some(_) | None => Err((
            StatusCode::BAD_REQUEST,
            "InvalidAction",
            "Of STS, this platform answers GetCallerIdentity and AssumeRole.".to_owned(),
        )),
    };
    match result {
        Ok(text) => xml(StatusCode::OK, text),
        Err((status, code, message)) => refusal(status, code, &message),
    }
}

fn wrapped(operation: &str, result: &str) -> String {
    let id = InvocationId::generate();
    format!(
        "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result>{result}\
         </{operation}Result><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{operation}Response>"
    )
}

fn identity(caller: &Caller) -> String {
    let account = &caller.place.account;
    let user = match &caller.principal {
        Principal::Root => account.to_string(),
        Principal::Function(function) => {
            let name = function.rsplit(':').next().unwrap_or_default();
            format!("{}:{name}", caller.access_key)
        }
        Principal::Session(session) => format!("{}:{}", role_id(&session.role), session.name),
    };
    let result = format!(
        "<Arn>{}</Arn><UserId>{user}</UserId><Account>{account}</Account>",
        caller.arn()
    );
    wrapped("GetCallerIdentity", &result)
}

/// The unique id that stands for a role of this name.
fn role_id(role: &str) -> String {
    let digest = crate::auth::hmac(b"sonagi role", role.as_bytes());
    let letters = digest.iter().take(17).map(|byte| char::from(b'A' + byte % 26));
    format!("AROA{}", letters.collect::<String>())
}

fn invalid(message: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, "ValidationError", message.into())
}

fn is_word(text: &str, more: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn assume(form: &Form, caller: &Caller, sessions: &Sessions, clock: &dyn Clock) -> Result<String, Refusal> {
    let arn = form.get("RoleArn").unwrap_or_default();
    let name = form.get("RoleSessionName").unwrap_or_default();
    if !(2..=64).contains(&name.len()) || !is_word(name, "_=,.@-") {
        return Err(invalid(
            "Value at 'roleSessionName' failed to satisfy constraint: 2 to 64 characters of [\\w+=,.@-]",
        ));
    }
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let (account, path) = match parts.as_slice() {
        ["arn", partition, "iam", "", account, role] if partition.starts_with("aws") => {
            (*account, role.strip_prefix("role/").unwrap_or_default())
        }
        _ => ("", ""),
    };
    let role = path.rsplit('/').next().unwrap_or_default();
    if role.is_empty() || role.len() > 64 || !is_word(role, "_+=,.@-") {
        return Err(invalid(format!("{arn} is invalid")));
    }
    let seconds = form.get("DurationSeconds").map_or(Ok(DURATION_SECS.2), str::parse);
    let seconds = seconds
        .ok()
        .filter(|seconds| (DURATION_SECS.0..=DURATION_SECS.1).contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        invalid(format!(
            "DurationSeconds must be from {} to {}",
            DURATION_SECS.0, DURATION_SECS.1
        ))
    })?;
    let denied = || {
        let text = format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
            caller.arn()
        );
        (StatusCode::FORBIDDEN, "AccessDenied", text)
    };
    if account != caller.place.account.as_str() {
        return Err(denied());
    }
    let account = sessions.accounts.get(&caller.place.account).ok_or_else(denied)?;
    let session = Session {
        role: role.to_owned(),
        name: name.to_owned(),
        expires: clock.now().as_secs().saturating_add(seconds),
    };
    let keys = sessions.issue(&account, &session);
    let expires = jiff::Timestamp::from_second(session.expires).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let result = format!(
        "<AssumedRoleUser><AssumedRoleId>{}:{name}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser><Credentials>\
         <AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>{}</Expiration></Credentials><PackedPolicySize>0</PackedPolicySize>",
        role_id(role),
        session.arn(&account.id),
        keys.access_key,
        keys.secret,
        keys.token,
        expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    );
    Ok(wrapped("AssumeRole", &result))
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let id = InvocationId::generate();
    let message = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
    );
    xml(status, text)
}

fn xml(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}
