//! Operations on function URL configurations.

use http::{Response, StatusCode};
use serde::Serialize;
use sonagi_control::{Edit, FunctionEntry};
use sonagi_wire::Body;

use super::page::Paging;
use super::policy::key_of;
use super::request::UrlInput;
use super::text::url_time;
use super::validate::{ALIAS_PATTERN, Violations, is_alias};
use super::versions::alter_record;
use super::{Control, ControlCall, json, no_content, revision_of};
use crate::arn::{LATEST, Named};
use crate::errors::{Code, LambdaError};
use crate::records::{Cors, FunctionRecord, UrlAuth, UrlMode, UrlRecord, read};
use crate::url::new_id;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UrlShown {
    function_url: String,
    function_arn: String,
    auth_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cors: Option<Cors>,
    creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_time: Option<String>,
    invoke_mode: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UrlsShown {
    function_url_configs: Vec<UrlShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Created,
    Both,
}

/// Longest time a browser may keep a preflight's answer, seconds. Source: the service model.
const MAX_AGE: i64 = 86_400;

/// Methods that a `Cors` may list. `OPTIONS` cannot be among them: six characters are the most the model allows.
const METHODS: &[&str] = &["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"];

fn check(input: &UrlInput, found: &mut Violations) {
    found.one_of("authType", input.auth_type.as_deref(), &["AWS_IAM", "NONE"]);
    found.one_of(
        "invokeMode",
        input.invoke_mode.as_deref(),
        &["BUFFERED", "RESPONSE_STREAM"],
    );
    let Some(cors) = &input.cors else { return };
    found.range("cors.maxAge", cors.max_age, 0..=MAX_AGE);
    for method in cors.allow_methods.iter().flatten() {
        found.one_of("cors.allowMethods", Some(method), METHODS);
    }
    let lists = [
        ("cors.allowHeaders", &cors.allow_headers, 1024),
        ("cors.allowOrigins", &cors.allow_origins, 253),
        ("cors.exposeHeaders", &cors.expose_headers, 1024),
    ];
    for (member, list, longest) in lists {
        let list = list.as_deref().unwrap_or_default();
        if list.len() > 100 {
            found.add(
                &list.len().to_string(),
                member,
                "Member must have length less than or equal to 100",
            );
        }
        for item in list {
            found.longest(member, Some(item), longest);
            found.form(member, Some(item), ".*", |text| {
                !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
            });
        }
    }
}

fn auth_of(text: Option<&str>) -> Option<UrlAuth> {
    text.map(|text| if text == "AWS_IAM" { UrlAuth::Iam } else { UrlAuth::None })
}

fn mode_of(text: Option<&str>) -> Option<UrlMode> {
    text.map(|text| {
        if text == "RESPONSE_STREAM" {
            UrlMode::Stream
        } else {
            UrlMode::Buffered
        }
    })
}

/// An empty `Cors` is none.
fn cors_of(cors: &Cors) -> Option<Cors> {
    (*cors != Cors::default()).then(|| cors.clone())
}

impl Control {
    fn show_url(&self, named: &Named, record: &UrlRecord, times: Times) -> UrlShown {
        UrlShown {
            function_url: self.address.of(&record.id, &named.place.region),
            function_arn: named.qualified_arn(),
            auth_type: record.auth.as_str(),
            cors: record.cors.clone(),
            creation_time: url_time(record.created),
            last_modified_time: (times == Times::Both).then(|| url_time(record.modified)),
            invoke_mode: match record.mode {
                UrlMode::Buffered => "BUFFERED",
                UrlMode::Stream => "RESPONSE_STREAM",
            },
        }
    }

    /// What a URL belongs to: the function or an alias, by its name and the query.
    fn behind_url(&self, call: &ControlCall, name: &str) -> Result<Named, LambdaError> {
        let mut found = Violations::default();
        found.form("qualifier", call.query.get("Qualifier"), ALIAS_PATTERN, is_alias);
        found.finish()?;
        let named = call.named(name)?;
        if let Some(qualifier) = &named.qualifier {
            let text = qualifier.to_string();
            let mut found = Violations::default();
            found.form("qualifier", Some(&text), ALIAS_PATTERN, is_alias);
            found.finish()?;
        }
        Ok(named)
    }

    async fn edit_url<T: Send>(
        &self,
        named: &Named,
        alter: impl FnOnce(&FunctionEntry, &mut FunctionRecord) -> Result<T, LambdaError> + Send,
    ) -> Result<T, LambdaError> {
        let decide = |edit: &mut Edit| {
            let entry = edit.entry().clone();
            alter_record(edit, |record| alter(&entry, record))
        };
        let result = self.catalog.edit(&named.place.namespace(), &named.name, decide).await;
        let (entry, value) = result?;
        self.routes.sync(&self.catalog, entry.function.id);
        Ok(value)
    }

    /// `CreateFunctionUrlConfig`.
    pub(super) async fn create_url(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let input: UrlInput = call.input()?;
        let mut found = Violations::default();
        found.required("authType", input.auth_type.is_some());
        check(&input, &mut found);
        found.finish()?;
        let named = self.behind_url(call, name)?;
        let now = self.clock.now();
        let record = UrlRecord {
            id: new_id(&*self.entropy),
            auth: auth_of(input.auth_type.as_deref()).unwrap_or(UrlAuth::Iam),
            mode: mode_of(input.invoke_mode.as_deref()).unwrap_or_default(),
            cors: input.cors.as_ref().and_then(cors_of),
            created: now,
            modified: now,
        };
        let key = key_of(named.qualifier.as_ref());
        let alter = |entry: &FunctionEntry, function: &mut FunctionRecord| {
            revision_of(entry, &named).map_err(|_| LambdaError::resource_not_found())?;
            if function.urls.contains_key(&key) {
                let text = format!(
                    "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists \
                     for this Lambda function",
                    named.qualified_arn()
                );
                return Err(LambdaError::new(Code::ResourceConflict, text));
            }
            function.urls.insert(key.clone(), record.clone());
            Ok(())
        };
        self.edit_url(&named, alter).await?;
        Ok(json(
            StatusCode::CREATED,
            &self.show_url(&named, &record, Times::Created),
        ))
    }

    /// `UpdateFunctionUrlConfig`.
    pub(super) async fn update_url(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let input: UrlInput = call.input()?;
        let mut found = Violations::default();
        check(&input, &mut found);
        found.finish()?;
        let named = self.behind_url(call, name)?;
        let now = self.clock.now();
        let key = key_of(named.qualifier.as_ref());
        let alter = |_: &FunctionEntry, function: &mut FunctionRecord| {
            let record = function
                .urls
                .get_mut(&key)
                .ok_or_else(LambdaError::resource_not_found)?;
            record.auth = auth_of(input.auth_type.as_deref()).unwrap_or(record.auth);
            record.mode = mode_of(input.invoke_mode.as_deref()).unwrap_or(record.mode);
            if let Some(cors) = &input.cors {
                record.cors = cors_of(cors);
            }
            record.modified = now;
            Ok(record.clone())
        };
        let record = self.edit_url(&named, alter).await?;
        Ok(json(StatusCode::OK, &self.show_url(&named, &record, Times::Both)))
    }

    /// `GetFunctionUrlConfig`.
    pub(super) fn get_url(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = self.behind_url(call, name)?;
        let entry = self.entry(&named).map_err(|_| LambdaError::resource_not_found())?;
        let record: FunctionRecord = read(&entry.function.document)?;
        let url = record
            .urls
            .get(&key_of(named.qualifier.as_ref()))
            .ok_or_else(LambdaError::resource_not_found)?;
        Ok(json(StatusCode::OK, &self.show_url(&named, url, Times::Both)))
    }

    /// `ListFunctionUrlConfigs`.
    pub(super) fn list_urls(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let paging = Paging::read(&call.query, self.limits.page)?;
        let entry = self.entry(&named)?;
        let record: FunctionRecord = read(&entry.function.document)?;
        let rest = record
            .urls
            .iter()
            .filter(|(key, _)| paging.after().is_none_or(|after| key.as_str() > after));
        let page = paging.cut(rest.take(paging.wanted()).collect(), |(key, _)| (*key).clone());
        let show = |(key, record): &(&String, &UrlRecord)| {
            let qualifier = (*key != LATEST).then(|| crate::arn::Qualifier::parse(key)).flatten();
            self.show_url(
                &Named {
                    qualifier,
                    ..named.clone()
                },
                record,
                Times::Both,
            )
        };
        let function_url_configs = page.items.iter().map(show).collect();
        Ok(json(
            StatusCode::OK,
            &UrlsShown {
                function_url_configs,
                next_marker: page.next,
            },
        ))
    }

    /// `DeleteFunctionUrlConfig`.
    pub(super) async fn delete_url(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = self.behind_url(call, name)?;
        let key = key_of(named.qualifier.as_ref());
        let alter = |_: &FunctionEntry, function: &mut FunctionRecord| {
            function
                .urls
                .remove(&key)
                .map(|_| ())
                .ok_or_else(LambdaError::resource_not_found)
        };
        self.edit_url(&named, alter).await?;
        Ok(no_content())
    }
}
