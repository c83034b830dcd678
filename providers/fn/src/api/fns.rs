//! Functions.
//! Source: fnproject/fn 0.3.753, `api/models/fn.go`, `api/server/fns_*.go`.

use serde::Deserialize;

use super::page::page;
use super::{Answer, Api, Call, no_content, ok};
use crate::annotations::{Annotations, Config, annotated, check_config, configured, created};
use crate::errors::FnError;
use crate::estate::{Code, Held};
use crate::limits::FnLimits;
use crate::names::{NAME_MAX, is_segment};
use crate::records::{App, FORMAT, FnRecord, without_endpoints};

/// MB where a function says nothing.
const MEMORY: u32 = 128;
/// Seconds where a function says nothing, of a call and of being idle.
const TIME: u32 = 30;

/// A function as it is sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FnBody {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) app_id: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) memory: Option<u64>,
    pub(crate) timeout: Option<i32>,
    pub(crate) idle_timeout: Option<i32>,
    pub(crate) config: Option<Config>,
    pub(crate) annotations: Option<Annotations>,
    pub(crate) shape: Option<String>,
}

/// The numbers of a function, where it says some: a zero says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ranges {
    pub(crate) memory: Option<u32>,
    pub(crate) timeout: Option<u32>,
    pub(crate) idle_timeout: Option<u32>,
}

impl FnBody {
    /// # Errors
    /// 400 in upstream's words.
    pub(crate) fn ranges(&self, limits: &FnLimits) -> Result<Ranges, FnError> {
        let memory = within(self.memory, limits.memory_mb).ok_or_else(|| {
            FnError::bad(format!(
                "memory value is out of range. It should be between 0 and {}",
                limits.memory_mb
            ))
        })?;
        let timeout = within(self.timeout, limits.timeout_s).ok_or_else(|| {
            FnError::bad(format!(
                "timeout value is out of range, must be between 0 and {}",
                limits.timeout_s
            ))
        })?;
        let idle_timeout = within(self.idle_timeout, limits.idle_timeout_s).ok_or_else(|| {
            FnError::bad(format!(
                "idle_timeout value is out of range, must be between 0 and {}",
                limits.idle_timeout_s
            ))
        })?;
        Ok(Ranges {
            memory,
            timeout,
            idle_timeout,
        })
    }

    /// Lays this over a record; the numbers apart.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn over(&self, record: &mut FnRecord, ranges: Ranges) -> Result<(), FnError> {
        record.memory = ranges.memory.unwrap_or(record.memory);
        record.timeout = ranges.timeout.unwrap_or(record.timeout);
        record.idle_timeout = ranges.idle_timeout.unwrap_or(record.idle_timeout);
        if let Some(change) = &self.config {
            record.config = configured(&record.config, change);
            check_config(&record.config)?;
        }
        if let Some(change) = &self.annotations {
            record.annotations = annotated(&record.annotations, &without_endpoints(change.clone()))?;
        }
        if let Some(shape) = self.shape.as_ref().filter(|shape| !shape.is_empty()) {
            record.shape = Some(shape.clone());
        }
        Ok(())
    }
}

/// The number, if there is one that is not zero; none at all for one out of range.
fn within<N: TryInto<u32>>(given: Option<N>, most: u32) -> Option<Option<u32>> {
    let Some(given) = given else { return Some(None) };
    let number = given.try_into().ok().filter(|number| *number <= most)?;
    Some((number > 0).then_some(number))
}

/// Checks the name of a function.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn check_name(name: &str) -> Result<(), FnError> {
    if name.is_empty() {
        return Err(FnError::bad("Missing Fn name"));
    }
    if name.len() > NAME_MAX {
        return Err(FnError::bad(format!("Fn name must be {NAME_MAX} characters or less")));
    }
    if is_segment(name) {
        Ok(())
    } else {
        Err(FnError::bad("name must be a valid string"))
    }
}

impl Api {
    pub(super) fn list_fns(&self, call: &Call) -> Answer {
        let app = call.text("app_id").ok_or_else(|| FnError::bad("Missing AppID on Fn"))?;
        let mut all = self.estate.functions_of(&call.account.name, app);
        if let Some(name) = call.text("name") {
            all.retain(|held| held.record.name == name);
        }
        let shown = |held: &Held| {
            (
                held.record.name.clone(),
                held.record.shown(&held.id(), Some(&call.base)),
            )
        };
        ok(&page(call, all.iter().map(shown).collect())?)
    }

    pub(super) async fn create_fn(&self, call: &Call) -> Answer {
        let body: FnBody = call.document()?;
        let account = &call.account.name;
        if body.id.as_ref().is_some_and(|id| !id.is_empty()) {
            return Err(FnError::bad("ID cannot be provided for Fn creation"));
        }
        let app = body.app_id.as_deref().filter(|id| !id.is_empty());
        let app = app.ok_or_else(|| FnError::bad("Missing AppID on Fn"))?;
        let _turn = self.estate.turn(account).await;
        let held = self.make_fn(account, app, &body).await?;
        ok(&held.record.shown(&held.id(), Some(&call.base)))
    }

    /// Makes a function of what was sent. To be called with the account's turn.
    pub(crate) async fn make_fn(&self, account: &str, app: &str, body: &FnBody) -> Result<Held, FnError> {
        let name = body.name.clone().unwrap_or_default();
        check_name(&name)?;
        let image = body.image.clone().filter(|image| !image.is_empty());
        let image = image.ok_or_else(|| FnError::bad("Missing image on Fn"))?;
        let ranges = body.ranges(&self.limits)?;
        created(&body.annotations.clone().map(without_endpoints).unwrap_or_default())?;
        let app = self.estate.app(account, app)?;
        if self.estate.function_named(account, &app.name, &name).is_some() {
            return Err(FnError::conflict("Fn with specified name already exists"));
        }
        let (code, recipe) = self.code(account, &image)?;
        let now = self.estate.now_ms();
        let mut record = FnRecord {
            format: FORMAT,
            app: app.id.clone(),
            app_name: app.name.clone(),
            name,
            image,
            memory: MEMORY,
            timeout: TIME,
            idle_timeout: TIME,
            config: Config::new(),
            annotations: Annotations::new(),
            shape: None,
            created: now,
            updated: now,
            recipe,
        };
        body.over(&mut record, ranges)?;
        self.estate.create(account, &app, record, code).await
    }

    pub(super) fn get_fn(&self, call: &Call, id: &str) -> Answer {
        let held = self.estate.function(&call.account.name, id)?;
        ok(&held.record.shown(id, Some(&call.base)))
    }

    pub(super) async fn update_fn(&self, call: &Call, id: &str) -> Answer {
        let body: FnBody = call.document()?;
        if body.id.as_ref().is_some_and(|own| !own.is_empty() && own != id) {
            return Err(FnError::bad("Fn ID in path does not match ID in body"));
        }
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        let held = self.estate.function(account, id)?;
        let app = self.estate.app(account, &held.record.app)?;
        let held = self.change_fn(account, &app, held, &body).await?;
        ok(&held.record.shown(id, None))
    }

    /// Lays what was sent over a function. To be called with the account's turn.
    pub(crate) async fn change_fn(&self, account: &str, app: &App, held: Held, body: &FnBody) -> Result<Held, FnError> {
        let ranges = body.ranges(&self.limits)?;
        let mut record = FnRecord::clone(&held.record);
        body.over(&mut record, ranges)?;
        let image = body.image.as_ref().filter(|image| !image.is_empty());
        let mut code = Code::Kept;
        if let Some(image) = image.filter(|image| **image != record.image || record.recipe.is_none()) {
            (code, record.recipe) = self.code(account, image)?;
            record.image.clone_from(image);
        }
        if record == *held.record {
            return Ok(held);
        }
        record.updated = self.estate.now_ms();
        self.estate.revise(&held, app, record, code).await
    }

    pub(super) async fn delete_fn(&self, call: &Call, id: &str) -> Answer {
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        let held = self.estate.function(account, id)?;
        self.estate.remove_function(&held).await?;
        no_content()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_ranges() {
        let limits = FnLimits::default();
        let body = |memory, timeout, idle_timeout| FnBody {
            memory,
            timeout,
            idle_timeout,
            ..FnBody::default()
        };
        let ranges = body(Some(0), Some(300), None).ranges(&limits).unwrap();
        assert_eq!(
            (ranges.memory, ranges.timeout, ranges.idle_timeout),
            (None, Some(300), None)
        );
        for (body, text) in [
            (
                body(Some(8193), None, None),
                "memory value is out of range. It should be between 0 and 8192",
            ),
            (
                body(None, Some(301), None),
                "timeout value is out of range, must be between 0 and 300",
            ),
            (
                body(None, Some(-1), None),
                "timeout value is out of range, must be between 0 and 300",
            ),
            (
                body(None, None, Some(3601)),
                "idle_timeout value is out of range, must be between 0 and 3600",
            ),
        ] {
            assert_eq!(body.ranges(&limits).unwrap_err().message, text);
        }
        assert_eq!(check_name("a b").unwrap_err().message, "name must be a valid string");
        assert_eq!(check_name("").unwrap_err().message, "Missing Fn name");
        assert!(
            check_name(&"x".repeat(256))
                .unwrap_err()
                .message
                .starts_with("Fn name must be 255")
        );
    }
}
