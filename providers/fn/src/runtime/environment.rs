//! Variables of a function.

use sonagi_model::RevisionSpec;
use sonagi_ports::{Interpreter, Language};

use crate::records::FnRecord;

/// Where the code is inside.
pub(super) const CODE: &str = "/function";
/// Where the platform's FDK for Python is inside, and packages that a function brings in its folder.
pub(super) const PYTHON: &str = "/python";
/// Where the platform's packages for Node are inside: found from everywhere, after those of the function.
pub(super) const MODULES: &str = "/node_modules";

/// What the platform itself says, whatever the function's configuration says.
/// Source: fnproject/docs, "FDK contract"; `FN_APP_NAME` and `FN_FN_NAME` are read by the FDKs.
fn own(record: &FnRecord, id: &str) -> Vec<(String, String)> {
    [
        ("FN_LISTENER", "unix:/tmp/iofs/lsnr.sock"),
        ("FN_FORMAT", "http-stream"),
        ("FN_TYPE", "sync"),
        ("FN_APP_ID", &record.app),
        ("FN_FN_ID", id),
        ("FN_APP_NAME", &record.app_name),
        ("FN_FN_NAME", &record.name),
        ("FN_MEMORY", &record.memory.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// What a language's image would set.
pub(super) fn of_runtime(interpreter: Option<&Interpreter>) -> Vec<(String, String)> {
    let mut variables = interpreter.map(|found| found.environment.clone()).unwrap_or_default();
    let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    set("PATH", "/python/bin:/usr/local/bin:/usr/bin:/bin");
    set("HOME", "/tmp");
    set("LANG", "C.UTF-8");
    if interpreter.is_some_and(|found| found.language == Language::Python) {
        set("PYTHONPATH", "/function:/function/python:/python");
        set("PYTHONUNBUFFERED", "1");
        set("PYTHONDONTWRITEBYTECODE", "1");
    }
    variables
}

/// All of them: the later over the earlier.
pub(super) fn all(
    interpreter: Option<&Interpreter>,
    spec: &RevisionSpec,
    record: &FnRecord,
    id: &str,
) -> Vec<(String, String)> {
    let mut variables = of_runtime(interpreter);
    let configured = spec
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in configured.chain(own(record, id)) {
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
    }
    variables
}
