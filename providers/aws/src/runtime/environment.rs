//! The environment of a runtime process, variable by variable as Lambda sets it.
//!
//! Source: environments recorded from AWS Lambda, and AWS's open runtime interface emulator (commit 4fa2157) for what a
//! user may override. `AWS_ENDPOINT_URL` is ours: it leads SDKs inside functions to this platform.

use serde::Deserialize as _;
use sonagi_model::{Document, InstanceId, Revision, Timestamp};
use sonagi_ports::{ContractError, Interpreter, Language, Purpose};

use super::contract::RuntimeOptions;
use super::launch::{RUNTIME_DIR, Runtime, TASK_ROOT};
use crate::credentials::Issued;
use crate::place::Place;
use crate::records::{LogFormat, Logging};

/// Platform variables that a function's own variables replace.
const OVERRIDABLE: &[&str] = &[
    "TZ",
    "LANG",
    "PATH",
    "LD_LIBRARY_PATH",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "PYTHONPATH",
    "NODE_PATH",
    "AWS_ENDPOINT_URL",
];

/// The ARN of a revision's function, without a qualifier. `None` if its namespace is not `aws/ACCOUNT/REGION`.
#[must_use]
pub fn function_arn(revision: &Revision) -> Option<String> {
    let Place { account, region } = Place::of(&revision.namespace)?;
    Some(format!("arn:aws:lambda:{region}:{account}:function:{}", revision.name))
}

/// What the environment is made from.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) revision: &'a Revision,
    pub(super) instance: InstanceId,
    pub(super) purpose: Purpose,
    pub(super) runtime: Runtime<'a>,
    pub(super) interpreter: Option<&'a Interpreter>,
    pub(super) keys: &'a Issued,
    pub(super) now: Timestamp,
    pub(super) options: &'a RuntimeOptions,
}

/// The whole environment.
pub(super) fn build(facts: &Facts<'_>) -> Result<Vec<(String, String)>, ContractError> {
    let revision = facts.revision;
    let place = Place::of(&revision.namespace).ok_or_else(|| ContractError::EntryPoint {
        kind: "Runtime.InvalidNamespace".to_owned(),
        message: format!("namespace {} is not aws/ACCOUNT/REGION", revision.namespace),
    })?;
    let mut variables = Variables::default();
    identity(&mut variables, facts, place.region.as_str());
    process(&mut variables, facts.interpreter, facts.options);
    logging(&mut variables, &revision.document);
    if let Runtime::Managed(language, version) = facts.runtime {
        managed(&mut variables, &revision.spec.runtime, language, version);
    }
    for (name, value) in &revision.spec.environment {
        if !name.starts_with('_') && (OVERRIDABLE.contains(&name.as_str()) || !variables.has(name)) {
            variables.set(name, value.clone());
        }
    }
    if let Some(interpreter) = facts.interpreter {
        interpreter_needs(&mut variables, interpreter);
    }
    Ok(variables.0)
}

/// The part of the environment that every function of a managed runtime gets, whosever it is.
pub(super) fn of_runtime(
    runtime: &str,
    language: Language,
    version: &str,
    interpreter: &Interpreter,
    options: &RuntimeOptions,
) -> Vec<(String, String)> {
    let mut variables = Variables::default();
    process(&mut variables, Some(interpreter), options);
    managed(&mut variables, runtime, language, version);
    interpreter_needs(&mut variables, interpreter);
    variables.0
}

/// Which function this is, and its keys.
fn identity(variables: &mut Variables, facts: &Facts<'_>, region: &str) {
    let revision = facts.revision;
    variables.set("_HANDLER", revision.spec.handler.clone());
    variables.set("AWS_REGION", region);
    variables.set("AWS_DEFAULT_REGION", region);
    variables.set("AWS_LAMBDA_FUNCTION_NAME", revision.name.as_str());
    variables.set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", revision.spec.memory.0.to_string());
    variables.set("AWS_LAMBDA_FUNCTION_VERSION", revision.label.clone());
    // Source: AWS Lambda, "Defined runtime environment variables".
    let kind = super::system::initialization(facts.purpose);
    variables.set("AWS_LAMBDA_INITIALIZATION_TYPE", kind);
    variables.set("AWS_ACCESS_KEY_ID", facts.keys.access_key.clone());
    variables.set("AWS_SECRET_ACCESS_KEY", facts.keys.secret.clone());
    variables.set("AWS_SESSION_TOKEN", facts.keys.token.clone());
    let (group, stream) = log_names(revision, facts.instance, facts.now);
    variables.set("AWS_LAMBDA_LOG_GROUP_NAME", group);
    variables.set("AWS_LAMBDA_LOG_STREAM_NAME", stream);
}

/// What every runtime process gets.
fn process(variables: &mut Variables, interpreter: Option<&Interpreter>, options: &RuntimeOptions) {
    variables.set("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{}", options.runtime_port));
    variables.set(
        "AWS_ENDPOINT_URL",
        format!("http://127.0.0.1:{}", options.platform_port),
    );
    variables.set("LAMBDA_TASK_ROOT", TASK_ROOT);
    variables.set("LAMBDA_RUNTIME_DIR", RUNTIME_DIR);
    variables.set("TZ", ":UTC");
    variables.set("LANG", "en_US.UTF-8");
    // The directory of the interpreter comes first, so that `python3` or `node` in a child process is the same one.
    let place = interpreter
        .and_then(|interpreter| interpreter.program.rsplit_once('/'))
        .map(|(dir, _)| dir);
    let lead = place.map(|dir| format!("{dir}:")).unwrap_or_default();
    variables.set(
        "PATH",
        format!("{lead}/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
    );
    variables.set(
        "LD_LIBRARY_PATH",
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    );
    // Nothing listens there; an X-Ray client sends its segments into the void, as it does without a daemon anywhere.
    variables.set("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR");
    variables.set("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000");
    variables.set("_AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1");
    variables.set("_AWS_XRAY_DAEMON_PORT", "2000");
}

/// Managed runtimes only.
fn managed(variables: &mut Variables, runtime: &str, language: Language, version: &str) {
    variables.set("AWS_EXECUTION_ENV", format!("AWS_Lambda_{runtime}"));
    variables.set("PWD", TASK_ROOT);
    variables.set("SHLVL", "0");
    match language {
        Language::Python => variables.set("PYTHONPATH", RUNTIME_DIR),
        Language::Node => variables.set(
            "NODE_PATH",
            format!(
                "/opt/nodejs/node{version}/node_modules:/opt/nodejs/node_modules:\
                 /var/runtime/node_modules:/var/runtime:/var/task"
            ),
        ),
    }
}

/// A JSON log configuration in the function's own record.
fn logging(variables: &mut Variables, document: &Document) {
    let logging = logging_of(document);
    match logging.format {
        LogFormat::Json => {
            variables.set("AWS_LAMBDA_LOG_FORMAT", "JSON");
            variables.set(
                "AWS_LAMBDA_LOG_LEVEL",
                logging.application_level.as_deref().unwrap_or("INFO"),
            );
        }
        LogFormat::Text => {}
    }
}

/// How the function logs; the default if its record does not say.
fn logging_of(document: &Document) -> Logging {
    document
        .0
        .pointer("/settings/logging")
        .and_then(|value| Logging::deserialize(value).ok())
        .unwrap_or_default()
}

/// The interpreter's own needs come last and stay, whatever the user set; search paths are joined.
fn interpreter_needs(variables: &mut Variables, interpreter: &Interpreter) {
    for (name, value) in &interpreter.environment {
        match (name.as_str(), variables.get(name)) {
            ("LD_LIBRARY_PATH" | "PATH", Some(rest)) if !rest.is_empty() => {
                let joined = format!("{value}:{rest}");
                variables.set(name, joined);
            }
            _ => variables.set(name, value.clone()),
        }
    }
}

/// Log group and stream: `/aws/lambda/NAME` and `YYYY/MM/DD/[VERSION]INSTANCE`, or with a group of the user's choice
/// `YYYY/MM/DD/NAME[VERSION]INSTANCE`. The instance's id stands for the 32 hexadecimal digits of Lambda's.
fn log_names(revision: &Revision, instance: InstanceId, now: Timestamp) -> (String, String) {
    let day = jiff::Timestamp::from_microsecond(now.as_micros())
        .unwrap_or_default()
        .strftime("%Y/%m/%d")
        .to_string();
    let tail = format!("[{}]{}", revision.label, instance.as_uuid().simple());
    let usual = format!("/aws/lambda/{}", revision.name);
    match logging_of(&revision.document).group {
        Some(group) if !group.is_empty() && group != usual => (group, format!("{day}/{}{tail}", revision.name)),
        Some(_) | None => (usual, format!("{day}/{tail}")),
    }
}

/// Variables in order of their first setting, each once.
#[derive(Debug, Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((name.to_owned(), value.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use sonagi_model::{
        ArtifactRef, Digest, FunctionId, FunctionName, Mebibytes, Namespace, RevisionId, RevisionSpec, TenantId,
    };

    fn revision(runtime: &str, environment: &[(&str, &str)], document: serde_json::Value) -> Revision {
        let digest = Digest::from_bytes([0; 32]);
        Revision {
            id: RevisionId::generate(),
            function: FunctionId::generate(),
            namespace: Namespace::parse("aws/000000000000/eu-west-1").unwrap(),
            tenant: TenantId::parse("aws/000000000000").unwrap(),
            name: FunctionName::parse("hello").unwrap(),
            label: "$LATEST".to_owned(),
            artifact: ArtifactRef {
                digest,
                size: 1,
                tree: digest,
                unpacked_size: 1,
            },
            beside: None,
            spec: RevisionSpec {
                contract: "aws-lambda".to_owned(),
                runtime: runtime.to_owned(),
                handler: "app.handler".to_owned(),
                memory: Mebibytes(128),
                timeout: Duration::from_secs(3),
                scratch: Mebibytes(512),
                environment: environment
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
                concurrency: NonZeroU32::MIN,
                outside: sonagi_model::Outside::Open,
            },
            created: Timestamp::EPOCH,
            document: Document(document),
        }
    }

    fn python() -> Interpreter {
        Interpreter {
            language: Language::Python,
            version: "3.11.7".to_owned(),
            program: "/usr/local/python/bin/python3.11".to_owned(),
            mounts: Vec::new(),
            environment: vec![("LD_LIBRARY_PATH".to_owned(), "/usr/local/python/lib".to_owned())],
        }
    }

    fn environment(revision: &Revision, interpreter: Option<&Interpreter>) -> BTreeMap<String, String> {
        let instance = InstanceId::from_uuid(uuid::Uuid::from_u128(0xab));
        let keys = Issued {
            access_key: "ASIA".to_owned(),
            secret: "s".to_owned(),
            token: "t".to_owned(),
        };
        let facts = Facts {
            revision,
            instance,
            purpose: Purpose::Demand,
            runtime: Runtime::parse(&revision.spec.runtime).unwrap(),
            interpreter,
            keys: &keys,
            now: Timestamp::from_millis(1_700_000_000_000),
            options: &RuntimeOptions::default(),
        };
        let list = build(&facts).unwrap();
        let map: BTreeMap<_, _> = list.iter().cloned().collect();
        assert_eq!(map.len(), list.len(), "each variable once");
        map
    }

    #[test]
    fn a_managed_runtime_gets_what_lambda_gives_it() {
        let found = environment(
            &revision("python3.11", &[("STAGE", "dev")], serde_json::Value::Null),
            Some(&python()),
        );
        let expected: BTreeMap<String, String> = [
            ("AWS_ACCESS_KEY_ID", "ASIA"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4747"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_NAME", "hello"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/hello"),
            (
                "AWS_LAMBDA_LOG_STREAM_NAME",
                "2023/11/14/[$LATEST]000000000000000000000000000000ab",
            ),
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_SESSION_TOKEN", "t"),
            ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
            ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
            ("LAMBDA_TASK_ROOT", "/var/task"),
            ("LANG", "en_US.UTF-8"),
            (
                "LD_LIBRARY_PATH",
                "/usr/local/python/lib:/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:\
                 /var/task/lib:/opt/lib",
            ),
            (
                "PATH",
                "/usr/local/python/bin:/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            ),
            ("PWD", "/var/task"),
            ("PYTHONPATH", "/var/runtime"),
            ("SHLVL", "0"),
            ("STAGE", "dev"),
            ("TZ", ":UTC"),
            ("_AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1"),
            ("_AWS_XRAY_DAEMON_PORT", "2000"),
            ("_HANDLER", "app.handler"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn users_override_only_what_lambda_lets_them() {
        let user = [
            ("TZ", "Asia/Seoul"),
            ("PATH", "/mine"),
            ("LD_LIBRARY_PATH", "/mine/lib"),
            ("PYTHONPATH", "/mine/py"),
            ("AWS_REGION", "mars"),
            ("LAMBDA_TASK_ROOT", "/tmp"),
            ("SHLVL", "9"),
            ("_HANDLER", "evil.handler"),
            ("_X", "dropped"),
            ("AWS_LAMBDA_EXEC_WRAPPER", "/var/task/wrap"),
        ];
        let found = environment(&revision("python3.11", &user, serde_json::Value::Null), Some(&python()));
        let cases = [
            ("TZ", Some("Asia/Seoul")),
            ("PATH", Some("/mine")),
            ("LD_LIBRARY_PATH", Some("/usr/local/python/lib:/mine/lib")),
            ("PYTHONPATH", Some("/mine/py")),
            ("AWS_REGION", Some("eu-west-1")),
            ("LAMBDA_TASK_ROOT", Some("/var/task")),
            ("SHLVL", Some("0")),
            ("_HANDLER", Some("app.handler")),
            ("_X", None),
            ("AWS_LAMBDA_EXEC_WRAPPER", Some("/var/task/wrap")),
        ];
        for (name, expected) in cases {
            assert_eq!(found.get(name).map(String::as_str), expected, "{name}");
        }
    }

    #[test]
    fn custom_runtimes_and_log_settings_have_their_own_variables() {
        let document = serde_json::json!({
            "settings": { "logging": { "format": "JSON", "application_level": "WARN", "group": "/mine" } }
        });
        let found = environment(&revision("provided.al2023", &[], document), None);
        for absent in ["AWS_EXECUTION_ENV", "PWD", "SHLVL", "PYTHONPATH", "NODE_PATH"] {
            assert_eq!(found.get(absent), None, "{absent}");
        }
        assert_eq!(found["AWS_LAMBDA_LOG_FORMAT"], "JSON");
        assert_eq!(found["AWS_LAMBDA_LOG_LEVEL"], "WARN");
        assert_eq!(found["AWS_LAMBDA_LOG_GROUP_NAME"], "/mine");
        assert!(found["AWS_LAMBDA_LOG_STREAM_NAME"].starts_with("2023/11/14/hello[$LATEST]"));
        assert_eq!(found["PATH"], "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin");
    }
}
