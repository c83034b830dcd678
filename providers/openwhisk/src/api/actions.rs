//! `actions`: create, read, change, delete, invoke.
//! Source: apache/openwhisk (commit 1fae641), `Actions.scala`, `WhiskServices.scala`.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Api, Call, document, flag, ok, own_only, version, with_activation};
use crate::code;
use crate::entities::action::{BLACKBOX, FORMAT, SEQUENCE, SEQUENCE_PARAMETER};
use crate::entities::{ActionRecord, Exec, Form, Head, KeyValues, Limits};
use crate::errors::WhiskError;
use crate::estate::Collection;
use crate::invoke::{self, Activation, Order, Waited, arguments, id_text};
use crate::kinds;
use crate::names::{FullName, check};
use crate::runtime::classify::Status;

/// Methods of one action.
const METHODS: &str = "GET, PUT, DELETE, POST";

impl Api {
    pub(super) async fn actions(&self, call: &Call, namespace: &str, rest: &[&str]) -> Answer {
        let name = match rest {
            [] if call.method == Method::GET => return self.list_actions(call, namespace),
            [] => return Err(WhiskError::method("GET")),
            [package] if call.slash && call.method == Method::GET => {
                check(package)?;
                return self.list_in_package(call, namespace, package);
            }
            [name] => FullName::new(namespace, None, name),
            [package, name] => {
                check(package)?;
                FullName::new(namespace, Some(package), name)
            }
            _ => {
                return Err(WhiskError::new(
                    StatusCode::NOT_FOUND,
                    "The requested resource could not be found.",
                ));
            }
        };
        check(&name.name)?;
        match call.method {
            Method::GET => self.get_action(call, &name).await,
            Method::PUT => Box::pin(self.put_action(call, &name)).await,
            Method::DELETE => self.delete_action(call, &name).await,
            Method::POST => self.invoke_action(call, &name).await,
            _ => Err(WhiskError::method(METHODS)),
        }
    }

    fn list_actions(&self, call: &Call, namespace: &str) -> Answer {
        own_only(call, namespace, "")?;
        let actions = self.estate.actions(namespace);
        let rows = actions.iter().map(|action| (action.head.updated, action.listed()));
        self.listed(call, "actions", rows.collect())
    }

    fn list_in_package(&self, call: &Call, namespace: &str, package: &str) -> Answer {
        let used = self.readable_package(call, namespace, package)?;
        let actions = self.estate.in_package(&used.namespace, &used.name);
        let rows = actions.iter().map(|action| (action.head.updated, action.listed()));
        self.listed(call, "actions", rows.collect())
    }

    async fn get_action(&self, call: &Call, name: &FullName) -> Answer {
        let with_code = call.query.flag("code", true)?;
        let callable = self.estate.callable(&call.account.namespace, name)?;
        let code = if with_code {
            self.estate.code(&callable.entry, &callable.record).await?
        } else {
            None
        };
        ok(&callable.record.shown(&callable.parameters, code))
    }

    async fn delete_action(&self, call: &Call, name: &FullName) -> Answer {
        let _turn = self.estate.turn(&name.namespace).await;
        self.writable(call, name)?;
        let (entry, record) = self.estate.action(name).ok_or_else(|| self.absent_action(name))?;
        let code = self.estate.code(&entry, &record).await?;
        self.estate.remove_action(name).await?;
        ok(&record.shown(&record.parameters, code))
    }

    fn absent_action(&self, name: &FullName) -> WhiskError {
        match &name.package {
            Some(_) => WhiskError::missing(),
            None => self.estate.absent(&name.namespace, &name.name),
        }
    }

    /// An action in a place where the caller may change things.
    fn writable(&self, call: &Call, name: &FullName) -> Result<(), WhiskError> {
        let entity = name
            .package
            .as_ref()
            .map_or_else(|| name.name.clone(), |package| format!("{package}/{}", name.name));
        own_only(call, &name.namespace, &entity)?;
        if let Some(package) = &name.package {
            let found = self.estate.packages.get(&name.namespace, package);
            let found = found.ok_or_else(|| self.estate.absent(&name.namespace, package))?;
            if found.binding.is_some() {
                return Err(WhiskError::bad("Operation not permitted on package binding."));
            }
        }
        Ok(())
    }

    async fn put_action(&self, call: &Call, name: &FullName) -> Answer {
        let overwrite = call.query.flag("overwrite", false)?;
        let body = call.description()?;
        let _turn = self.estate.turn(&name.namespace).await;
        self.writable(call, name)?;
        if name.package.is_none()
            && let Some(Collection::Packages | Collection::Triggers | Collection::Rules) =
                self.estate.taken(&name.namespace, &name.name)
        {
            return Err(WhiskError::wrong_collection());
        }
        let old = self.estate.action(name);
        if old.is_some() && !overwrite {
            return Err(WhiskError::conflict("resource already exists"));
        }
        let (record, code) = self.described(name, &body, old.as_ref().map(|(_, record)| &**record))?;
        let shown_code = match (&code, &old) {
            (Some(code), _) => code.as_ref().map(|code| code.sent.clone()),
            (None, Some((entry, record))) => self.estate.code(entry, record).await?,
            (None, None) => None,
        };
        let packed = match code {
            Some(code) => Some(code::pack(
                code.as_ref().map(|code| code.sent.as_str()),
                self.limits.code,
            )?),
            None => None,
        };
        self.estate.put_action(record.clone(), packed).await?;
        ok(&record.shown(&record.parameters, shown_code))
    }

    /// The record that a request describes, over the one that is there; and its code if it brings some.
    fn described(
        &self,
        name: &FullName,
        body: &Map<String, Value>,
        old: Option<&ActionRecord>,
    ) -> Result<(ActionRecord, Option<Option<SentCode>>), WhiskError> {
        let limit = self.limits.payload;
        let parameters = KeyValues::member(body, "parameters", limit)?;
        let given = KeyValues::member(body, "annotations", limit)?.unwrap_or_default();
        let (exec, code) = match body.get("exec").filter(|exec| !exec.is_null()) {
            Some(exec) => {
                let (exec, code) = self.exec(name, exec)?;
                (exec, Some(code))
            }
            None => (
                old.map(|old| old.exec.clone())
                    .ok_or_else(|| WhiskError::bad("exec undefined"))?,
                None,
            ),
        };
        let limits = old.map_or_else(|| Limits::standard(&self.limits), |old| old.limits);
        let limits = match body.get("limits").filter(|limits| !limits.is_null()) {
            Some(given) => limits.with(given, &self.limits)?,
            None => limits,
        };
        let mut annotations = old.map(|old| old.head.annotations.clone()).unwrap_or_default();
        for key in deleted(body)? {
            annotations.remove(&key);
        }
        annotations = annotations.under(&given);
        if old.is_none() && annotations.get("provide-api-key").is_none() {
            annotations.set("provide-api-key", json!(false));
        }
        annotations.set("exec", json!(exec.kind));
        let was_sequence = old.is_some_and(|old| old.exec.is_sequence());
        let parameters = match parameters {
            _ if exec.is_sequence() => sequence_parameters(&exec),
            Some(parameters) => parameters,
            None if was_sequence => KeyValues::default(),
            None => old.map(|old| old.parameters.clone()).unwrap_or_default(),
        };
        let record = ActionRecord {
            format: FORMAT,
            head: Head {
                namespace: name.namespace.clone(),
                name: name.name.clone(),
                version: version(body, old.map(|old| old.head.version))?,
                publish: flag(body, "publish")?.unwrap_or_else(|| old.is_some_and(|old| old.head.publish)),
                updated: self.estate.now_ms(),
                annotations,
            },
            package: name.package.clone(),
            exec,
            parameters,
            limits,
        };
        Ok((record, code))
    }

    /// What an action is made of, and its code.
    fn exec(&self, name: &FullName, exec: &Value) -> Result<(Exec, Option<SentCode>), WhiskError> {
        let wrong = |why: &str| WhiskError::malformed(why);
        let exec = exec.as_object().ok_or_else(|| wrong("exec must be an object"))?;
        let kind = match exec.get("kind") {
            Some(Value::String(kind)) => kinds::resolve(kind, self.invoker.contract.interpreters())?,
            Some(_) | None => return Err(wrong("'kind' must be a string defined in 'exec'")),
        };
        let text = |member: &str| match exec.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(WhiskError::malformed(format!(
                "'{member}' must be a string defined in 'exec' for '{kind}' actions"
            ))),
        };
        if kind == SEQUENCE {
            let components = self.components(name, exec)?;
            return Ok((
                Exec {
                    kind,
                    main: None,
                    image: None,
                    components,
                    binary: false,
                    form: Form::None,
                },
                None,
            ));
        }
        let (code, main, image) = (text("code")?, text("main")?, text("image")?);
        let image = (kind == BLACKBOX).then_some(image).flatten();
        if kind == BLACKBOX && image.is_none() {
            return Err(wrong(
                "'image' must be a string defined in 'exec' for 'blackbox' actions",
            ));
        }
        if kind != BLACKBOX && code.is_none() {
            return Err(WhiskError::malformed(format!(
                "'code' must be a string or attachment object defined in 'exec' for '{kind}' actions"
            )));
        }
        let packed = code::pack(code.as_deref(), self.limits.code)?;
        let exec = Exec {
            kind,
            main: main.filter(|main| !main.trim().is_empty()),
            image,
            components: Vec::new(),
            binary: packed.binary,
            form: packed.form,
        };
        Ok((exec, code.map(|sent| SentCode { sent })))
    }

    /// The components of a sequence, checked.
    fn components(&self, name: &FullName, exec: &Map<String, Value>) -> Result<Vec<FullName>, WhiskError> {
        let wrong =
            || WhiskError::malformed("'components' must be defined as an array of names in 'exec' for sequence kind");
        let components = exec.get("components").and_then(Value::as_array).ok_or_else(wrong)?;
        let mut names = Vec::new();
        for component in components {
            let text = component.as_str().ok_or_else(wrong)?;
            let parsed = FullName::parse(text, &name.namespace);
            names.push(parsed.ok_or_else(|| WhiskError::malformed(format!("'{text}' is no full name of an action")))?);
        }
        if names.is_empty() {
            return Err(WhiskError::bad("No component specified for the sequence."));
        }
        if names.len() > self.limits.sequence {
            return Err(WhiskError::bad("Too many actions in the sequence."));
        }
        let mut atoms = 0;
        for component in &names {
            self.count(name, component, &mut atoms, 0)?;
        }
        Ok(names)
    }

    /// Counts the atomic actions of a component, bindings followed.
    fn count(
        &self,
        sequence: &FullName,
        component: &FullName,
        atoms: &mut usize,
        depth: usize,
    ) -> Result<(), WhiskError> {
        let own = &sequence.namespace;
        let loops = || WhiskError::bad("Sequence may not refer to itself.");
        let absent = || WhiskError::bad("Sequence component does not exist.");
        if component == sequence || depth > self.limits.sequence {
            return Err(loops());
        }
        if let Some(package) = &component.package
            && let Ok(used) = self.estate.used(&component.namespace, package)
            && FullName::new(&used.namespace, Some(&used.name), &component.name) == *sequence
        {
            return Err(loops());
        }
        let callable = self.estate.callable(own, component).map_err(|error| {
            if error.status == StatusCode::FORBIDDEN {
                error
            } else {
                absent()
            }
        })?;
        if callable.record.exec.is_sequence() {
            for inner in &callable.record.exec.components {
                self.count(sequence, inner, atoms, depth + 1)?;
            }
        } else {
            *atoms += 1;
        }
        if *atoms > self.limits.sequence {
            return Err(WhiskError::bad("Too many actions in the sequence."));
        }
        Ok(())
    }

    // === invoke

    async fn invoke_action(&self, call: &Call, name: &FullName) -> Answer {
        let blocking = call.query.flag("blocking", false)?;
        let result = call.query.flag("result", false)?;
        let wait = self.wait(call)?;
        let payload = call.document()?;
        let callable = self.estate.callable(&call.account.namespace, name)?;
        let arguments = arguments(&callable, Value::Object(payload))?;
        let running = self
            .invoker
            .throttle
            .invoke(&call.account.namespace, self.estate.clock.now(), &self.limits)?;
        let order = Order {
            id: invoke::new_id(),
            caller: call.caller(),
            callable,
            arguments,
            cause: None,
            in_sequence: false,
            transaction: call.transaction.clone(),
            asked: self.estate.now_ms(),
        };
        let id = id_text(order.id);
        let accepted = || with_activation(document(StatusCode::ACCEPTED, &json!({ "activationId": id })), &id);
        if !blocking {
            self.invoker.accept(&order, name).await?;
            return Ok(accepted());
        }
        match Arc::clone(&self.invoker).wait_for(order, running, wait).await {
            Waited::Over(activation) => Ok(with_activation(blocking_answer(&activation, result), &id)),
            Waited::Running => Ok(accepted()),
            Waited::Lost => Err(WhiskError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "There was an internal server error.",
            )),
        }
    }

    /// How long a blocking invocation is waited for.
    fn wait(&self, call: &Call) -> Result<Duration, WhiskError> {
        let most = self.limits.blocking;
        let Some(timeout) = call.query.number("timeout")? else {
            return Ok(most);
        };
        let limit = i64::try_from(most.as_millis()).unwrap_or(i64::MAX);
        match u64::try_from(timeout) {
            Ok(wanted) if (1..=limit).contains(&timeout) => Ok(Duration::from_millis(wanted)),
            Ok(_) | Err(_) => Err(WhiskError::query(
                "timeout",
                format!("Timeout must be number of milliseconds from 1 to {limit}."),
            )),
        }
    }
}

/// Code as a request sends it.
pub(super) struct SentCode {
    sent: String,
}

/// The status and body for an activation that was waited for.
pub(crate) fn blocking_answer(activation: &Activation, result: bool) -> http::Response<sonagi_wire::Body> {
    let status = match activation.verdict.status {
        Status::Success => StatusCode::OK,
        Status::ApplicationError | Status::DeveloperError => StatusCode::BAD_GATEWAY,
        Status::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if result {
        document(status, &activation.verdict.result)
    } else {
        document(status, &activation.shown(invoke::Logs::Omitted))
    }
}

fn sequence_parameters(exec: &Exec) -> KeyValues {
    let names: Vec<String> = exec.components.iter().map(|name| format!("/{name}")).collect();
    let mut parameters = KeyValues::default();
    parameters.set(SEQUENCE_PARAMETER, json!(names));
    parameters
}

/// Keys of annotations to delete.
fn deleted(body: &Map<String, Value>) -> Result<Vec<String>, WhiskError> {
    let wrong = || WhiskError::malformed("delAnnotations must be an array of texts");
    match body.get("delAnnotations") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(keys)) => {
            let keys = keys.iter().map(|key| key.as_str().map(str::to_owned));
            keys.collect::<Option<_>>().ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}
