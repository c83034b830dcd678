//! Apps.
//! Source: fnproject/fn 0.3.753, `api/models/app.go`, `api/server/apps_*.go`.

use serde::Deserialize;

use super::page::page;
use super::{Answer, Api, Call, no_content, ok};
use crate::annotations::{Annotations, Config, annotated, check_config, configured, created};
use crate::errors::FnError;
use crate::ids;
use crate::names::{NAME_MAX, is_word};
use crate::records::{App, FORMAT};

/// Architectures that an app may ask for.
const SHAPES: [&str; 3] = ["GENERIC_X86", "GENERIC_ARM", "GENERIC_X86_ARM"];
/// Ways to a syslog server.
const SYSLOG_SCHEMES: [&str; 5] = ["udp", "tcp", "unix", "unixgram", "tcp+tls"];

/// An app as it is sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AppBody {
    id: Option<String>,
    name: Option<String>,
    config: Option<Config>,
    annotations: Option<Annotations>,
    syslog_url: Option<String>,
    shape: Option<String>,
}

fn check_name(name: &str) -> Result<(), FnError> {
    if name.len() > NAME_MAX {
        return Err(FnError::bad(format!("App name must be {NAME_MAX} characters or less")));
    }
    if is_word(name) {
        Ok(())
    } else {
        Err(FnError::bad("Invalid app name"))
    }
}

/// An empty text is the absence of one.
fn check_shape(shape: Option<String>) -> Result<Option<String>, FnError> {
    match shape.filter(|shape| !shape.is_empty()) {
        Some(shape) if !SHAPES.contains(&shape.as_str()) => Err(FnError::bad("Invalid app shape")),
        shape => Ok(shape),
    }
}

fn check_syslog(url: Option<String>) -> Result<Option<String>, FnError> {
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let known = |(scheme, rest): (&str, &str)| SYSLOG_SCHEMES.contains(&scheme) && !rest.is_empty();
    if url.split_once("://").is_some_and(known) {
        Ok(Some(url))
    } else {
        Err(FnError::bad(format!("invalid syslog url: \"{url}\"")))
    }
}

/// A new app of this name.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn fresh(name: &str, now: i64) -> Result<App, FnError> {
    if name.is_empty() {
        return Err(FnError::bad("Missing Name"));
    }
    check_name(name)?;
    Ok(App {
        format: FORMAT,
        id: ids::generate(),
        name: name.to_owned(),
        config: Config::new(),
        annotations: Annotations::new(),
        syslog_url: None,
        shape: None,
        created: now,
        updated: now,
    })
}

impl Api {
    pub(super) fn list_apps(&self, call: &Call) -> Answer {
        let mut apps = self.estate.apps(&call.account.name);
        if let Some(name) = call.text("name") {
            apps.retain(|app| app.name == name);
        }
        let rows = apps.iter().map(|app| (app.name.clone(), app.shown())).collect();
        ok(&page(call, rows)?)
    }

    pub(super) async fn create_app(&self, call: &Call) -> Answer {
        let body: AppBody = call.document()?;
        if body.id.is_some_and(|id| !id.is_empty()) {
            return Err(FnError::bad("App ID cannot be supplied on create"));
        }
        let mut app = fresh(&body.name.unwrap_or_default(), self.estate.now_ms())?;
        app.annotations = created(&body.annotations.unwrap_or_default())?;
        app.config = body.config.unwrap_or_default();
        check_config(&app.config)?;
        app.syslog_url = check_syslog(body.syslog_url)?;
        app.shape = check_shape(body.shape)?;
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        if self.estate.app_named(account, &app.name).is_some() {
            return Err(FnError::conflict("App already exists"));
        }
        ok(&self.estate.put_app(account, app).await?.shown())
    }

    pub(super) fn get_app(&self, call: &Call, id: &str) -> Answer {
        ok(&self.estate.app(&call.account.name, id)?.shown())
    }

    pub(super) async fn update_app(&self, call: &Call, id: &str) -> Answer {
        let body: AppBody = call.document()?;
        if body.id.is_some_and(|own| !own.is_empty() && own != id) {
            return Err(FnError::bad("App ID in path does not match ID in body"));
        }
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        let old = self.estate.app(account, id)?;
        if body.name.is_some_and(|name| !name.is_empty() && name != old.name) {
            return Err(FnError::conflict("Could not update - name is immutable"));
        }
        let mut app = App::clone(&old);
        if let Some(change) = &body.config {
            app.config = configured(&old.config, change);
            check_config(&app.config)?;
        }
        if let Some(change) = &body.annotations {
            app.annotations = annotated(&old.annotations, change)?;
        }
        if body.syslog_url.is_some() {
            app.syslog_url = check_syslog(body.syslog_url)?;
        }
        if body.shape.is_some() {
            app.shape = check_shape(body.shape)?;
        }
        if app == *old {
            return ok(&old.shown());
        }
        app.updated = self.estate.now_ms();
        ok(&self.estate.put_app(account, app).await?.shown())
    }

    pub(super) async fn delete_app(&self, call: &Call, id: &str) -> Answer {
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        self.estate.remove_app(account, id).await?;
        no_content()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_app_may_be() {
        assert_eq!(fresh("", 0).unwrap_err().message, "Missing Name");
        assert_eq!(fresh("a b", 0).unwrap_err().message, "Invalid app name");
        let long = fresh(&"x".repeat(256), 0).unwrap_err();
        assert_eq!(long.message, "App name must be 255 characters or less");
        assert!(check_shape(Some("GENERIC_ARM".to_owned())).is_ok() && check_shape(Some("ARM".to_owned())).is_err());
        for (url, good) in [
            ("tcp://h:1", true),
            ("tcp+tls://h", true),
            ("http://h", false),
            ("h:1", false),
        ] {
            assert_eq!(check_syslog(Some(url.to_owned())).is_ok(), good, "{url}");
        }
    }
}
