//! What `sonagi doctor` hears from a running platform: the host's condition, each finding with what to do about it.

use std::sync::Arc;

use sonagi_api::{Check, CheckState};
use sonagi_ports::{Interpreters, Language};

use crate::native::Checks;

/// Looks at the host when asked. `groups` says which control groups are in use.
pub(crate) fn of_host(interpreters: Arc<dyn Interpreters>, groups: String) -> Checks {
    Arc::new(move || {
        vec![
            check("groups in use", CheckState::Ok, groups.clone(), None),
            interpreter(
                interpreters.as_ref(),
                Language::Python,
                "Python",
                "apt-get install python3",
            ),
            interpreter(
                interpreters.as_ref(),
                Language::Node,
                "Node.js",
                "apt-get install nodejs",
            ),
        ]
    })
}

fn check(name: &str, state: CheckState, found: String, hint: Option<&str>) -> Check {
    Check {
        name: name.to_owned(),
        state,
        found,
        hint: hint.map(str::to_owned),
    }
}

fn interpreter(interpreters: &dyn Interpreters, language: Language, name: &str, install: &str) -> Check {
    let found: Vec<String> = interpreters
        .all()
        .into_iter()
        .filter(|found| found.language == language)
        .map(|found| format!("{} ({})", found.version, found.program))
        .collect();
    if found.is_empty() {
        let hint = format!("`{install}`, then restart the platform");
        return check(name, CheckState::Warning, "none found".to_owned(), Some(&hint));
    }
    check(name, CheckState::Ok, found.join(", "), None)
}
