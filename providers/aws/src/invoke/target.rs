//! Which revision of which function a caller means, and whether he may call it.

use std::sync::Arc;

use sonagi_control::FunctionEntry;
use sonagi_model::Revision;

use super::Invoker;
use crate::arn::{FunctionRef, Named, Qualifier};
use crate::auth::{Caller, Principal};
use crate::control::policy::key_of;
use crate::control::statement::Access;
use crate::errors::{Code, LambdaError};
use crate::records::{FunctionRecord, RevisionRecord, read};

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The function.
    pub(crate) entry: Arc<FunctionEntry>,
    /// The revision for this one call.
    pub(crate) revision: Arc<Revision>,
    /// The ARN as the caller wrote it.
    pub(crate) arn: String,
    /// The qualifier, to be resolved again at every attempt.
    pub(crate) qualifier: Option<Qualifier>,
}

impl Invoker {
    /// Finds what the caller means.
    ///
    /// # Errors
    /// 404, or 403 for another account's function that its policy does not open to the caller.
    pub(crate) fn target(&self, caller: &Caller, name: &str, query: Option<&str>) -> Result<Target, LambdaError> {
        let named = FunctionRef::parse(name)?.resolve(&caller.place, query)?;
        let entry = self.catalog.find(&named.place.namespace(), &named.name);
        if named.place.account != caller.place.account {
            self.authorize(caller, &named, entry.as_deref())?;
        }
        let missing = || LambdaError::function_not_found(&named.qualified_arn());
        let entry = entry.ok_or_else(missing)?;
        let revision = self.pick(&entry, named.qualifier.as_ref()).ok_or_else(missing)?;
        Ok(Target {
            revision,
            arn: named.qualified_arn(),
            qualifier: named.qualifier,
            entry,
        })
    }

    /// The revision for one call.
    pub(crate) fn pick(&self, entry: &FunctionEntry, qualifier: Option<&Qualifier>) -> Option<Arc<Revision>> {
        match qualifier {
            None | Some(Qualifier::Latest) => Some(Arc::clone(entry.latest())),
            Some(Qualifier::Version(number)) => entry.labelled(&number.to_string()).cloned(),
            Some(Qualifier::Alias(name)) => {
                let alias = entry.aliases.get(name)?;
                entry.revisions.get(&alias.route.pick(self.entropy.unit())).cloned()
            }
        }
    }

    /// Looks whether the function's policy opens it to a caller of another account. Whether the function exists at all
    /// is not told.
    fn authorize(&self, caller: &Caller, named: &Named, entry: Option<&FunctionEntry>) -> Result<(), LambdaError> {
        let action = "lambda:InvokeFunction";
        let statements = entry
            .and_then(|entry| read::<FunctionRecord>(&entry.function.document).ok())
            .and_then(|mut record| record.policies.remove(&key_of(named.qualifier.as_ref())))
            .unwrap_or_default();
        let principals = self.principals(caller);
        let access = Access {
            principals: &principals,
            action,
            url: None,
        };
        if statements.iter().any(|statement| statement.allows(&access)) {
            return Ok(());
        }
        let text = format!(
            "User: {} is not authorized to perform: {action} on resource: {} because no resource-based policy allows the \
             {action} action",
            caller.arn(),
            named.qualified_arn()
        );
        Err(LambdaError::new(Code::AccessDenied, text))
    }

    /// The ARNs that stand for a caller in policies: its own, its account's, and for a function that of its role.
    pub(crate) fn principals(&self, caller: &Caller) -> Vec<String> {
        let mut arns = vec![caller.arn(), caller.place.account.root_arn()];
        if let Principal::Function(function) = &caller.principal
            && let Ok(own) = FunctionRef::parse(function)
            && let Some(region) = own.region
        {
            let place = crate::place::Place {
                account: caller.place.account.clone(),
                region,
            };
            let entry = self.catalog.find(&place.namespace(), &own.name);
            let record = entry.and_then(|entry| read::<RevisionRecord>(&entry.latest().document).ok());
            arns.extend(record.map(|record| record.settings.role));
        }
        arns
    }
}
