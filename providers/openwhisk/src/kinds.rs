//! Kinds: which runtimes there are on this host, what `default` means, what others are told.

use serde_json::{Value, json};
use sonagi_ports::{Interpreter, Interpreters, Language};

use crate::entities::action::{BLACKBOX, SEQUENCE};
use crate::errors::WhiskError;

/// Families of compiled programs that speak the protocol of upstream's action loop, with the version that upstream gives
/// them today. Here their code has to be an executable, or an archive with one.
const LOOPS: [(&str, &str); 4] = [("go", "1.20"), ("rust", "1.34"), ("swift", "5.7"), ("actionloop", "1")];

/// How a kind is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime<'a> {
    /// By an interpreter of the host and our bootstrap.
    Managed(Language, &'a str),
    /// As an executable that speaks the protocol of the action loop.
    Loop,
}

impl<'a> Runtime<'a> {
    /// The runtime of a stored kind.
    pub(crate) fn of(kind: &'a str) -> Option<Self> {
        let (family, version) = kind.split_once(':').unwrap_or((kind, ""));
        match family {
            "nodejs" => Some(Self::Managed(Language::Node, version)),
            "python" => Some(Self::Managed(Language::Python, version)),
            _ if family == BLACKBOX || LOOPS.iter().any(|(known, _)| *known == family) => Some(Self::Loop),
            _ => None,
        }
    }
}

fn kind_of(interpreter: &Interpreter) -> Option<String> {
    let mut parts = interpreter.version.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    let minor_number: u32 = minor.parse().ok()?;
    match interpreter.language {
        Language::Node => Some(format!("nodejs:{major}")),
        // The bootstrap needs it.
        Language::Python => (major == "3" && minor_number >= 8).then(|| format!("python:3.{minor}")),
    }
}

/// All kinds of this host with their family, the family's default first.
pub(crate) fn available(interpreters: &dyn Interpreters) -> Vec<(&'static str, Vec<String>)> {
    let mut families = Vec::new();
    for (language, family, favorite) in [
        (Language::Node, "nodejs", "nodejs:20"),
        (Language::Python, "python", "python:3.11"),
    ] {
        let found = interpreters
            .all()
            .into_iter()
            .filter(|found| found.language == language);
        let mut kinds: Vec<String> = found.filter_map(|found| kind_of(&found)).collect();
        let mut seen = std::collections::BTreeSet::new();
        kinds.retain(|kind| seen.insert(kind.clone()));
        if let Some(at) = kinds.iter().position(|kind| kind == favorite) {
            kinds[..=at].rotate_right(1);
        }
        if !kinds.is_empty() {
            families.push((family, kinds));
        }
    }
    families.extend(LOOPS.map(|(family, version)| (family, vec![format!("{family}:{version}")])));
    families
}

/// The kind to keep for one that was asked for.
///
/// # Errors
/// 400 for one that this host does not have.
pub(crate) fn resolve(asked: &str, interpreters: &dyn Interpreters) -> Result<String, WhiskError> {
    let kind = asked.trim().to_lowercase();
    if kind == SEQUENCE || kind == BLACKBOX {
        return Ok(kind);
    }
    let families = available(interpreters);
    let (family, version) = kind.split_once(':').unwrap_or((&kind, "default"));
    if let Some((_, kinds)) = families.iter().find(|(known, _)| *known == family) {
        if version == "default" {
            return Ok(kinds[0].clone());
        }
        if kinds.contains(&kind) {
            return Ok(kind);
        }
    }
    let valid: Vec<String> = families
        .iter()
        .flat_map(|(_, kinds)| kinds.iter().map(|kind| format!("'{kind}'")))
        .collect();
    Err(WhiskError::malformed(format!(
        "The specified runtime '{asked}' is not supported by this platform. Valid values are: {}.",
        valid.join(", ")
    )))
}

/// The runtimes as `GET /` shows them.
pub(crate) fn manifest(interpreters: &dyn Interpreters) -> Value {
    let families = available(interpreters).into_iter().map(|(family, kinds)| {
        let entries = kinds.iter().enumerate().map(|(at, kind)| {
            json!({
                "kind": kind,
                "image": format!("openwhisk/action-{}", kind.replace(':', "-v")),
                "deprecated": false,
                "default": at == 0,
                "attached": true,
                "requireMain": false,
            })
        });
        (family.to_owned(), Value::Array(entries.collect()))
    });
    Value::Object(families.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Host(Vec<(Language, &'static str)>);

    impl Interpreters for Host {
        fn find(&self, _: Language, _: &str) -> Option<Interpreter> {
            None
        }

        fn all(&self) -> Vec<Interpreter> {
            let found = self.0.iter().map(|(language, version)| Interpreter {
                language: *language,
                version: (*version).to_owned(),
                program: String::new(),
                mounts: Vec::new(),
                environment: Vec::new(),
            });
            found.collect()
        }
    }

    #[test]
    fn kinds_are_those_of_the_host() {
        use Language::{Node, Python};
        let host = Host(vec![
            (Node, "24.1.0"),
            (Node, "20.1.0"),
            (Python, "3.13.1"),
            (Python, "3.6.1"),
        ]);
        for (asked, expected) in [
            ("nodejs:default", "nodejs:20"),
            (" NodeJS:24 ", "nodejs:24"),
            ("python:default", "python:3.13"),
            ("go:default", "go:1.20"),
            ("sequence", "sequence"),
        ] {
            assert_eq!(resolve(asked, &host).unwrap(), expected);
        }
        let text = resolve("python:3.6", &host).unwrap_err().text;
        assert!(text.contains(
            "The specified runtime 'python:3.6' is not supported by this platform. Valid values are: 'nodejs:20', \
             'nodejs:24', 'python:3.13'"
        ));
    }
}
