//! From what a project asks for to a runtime that the platform has.

use sonagi_api::Interpreter;

use super::dialect::Language;
use super::recognize::{Project, Runtime, Unrecognized};

impl Project {
    /// The runtime's name, in the provider's words. `interpreters` are those of the platform, best first.
    pub fn runtime_name(&self, interpreters: &[Interpreter]) -> Result<String, Unrecognized> {
        match &self.runtime {
            Runtime::Named(name) => Ok(name.clone()),
            Runtime::Newest { language, version } => {
                let wanted = version.as_deref().map(|version| significant(*language, version));
                let found = matching(interpreters, *language, wanted.as_deref().unwrap_or("")).next();
                found.map(|found| self.dialect.runtime(*language, &found.version)).ok_or_else(|| {
                    let has: Vec<String> =
                        interpreters.iter().map(|found| format!("{} {}", found.language, found.version)).collect();
                    let version = wanted.map(|version| format!(" {version}")).unwrap_or_default();
                    Unrecognized {
                        message: format!("the platform has no {}{version}", language.name()),
                        hint: format!(
                            "it has: {}; install what is missing on its host and start it again, or choose with --runtime",
                            if has.is_empty() { "no interpreter".to_owned() } else { has.join(", ") }
                        ),
                    }
                })
            }
        }
    }

    /// The interpreters that may run it under this runtime, best first; for a program that is its own runtime, those of the
    /// language that its dependencies are for.
    pub fn interpreters<'a>(
        &self,
        runtime: &str,
        dependencies: Language,
        all: &'a [Interpreter],
    ) -> Vec<&'a Interpreter> {
        match self.dialect.language(runtime) {
            Some((language, version)) if version.is_empty() => {
                let favorite = self.dialect.favorite(language);
                let favored = matching(all, language, favorite);
                favored.chain(matching(all, language, "")).collect()
            }
            Some((language, version)) => matching(all, language, &version).collect(),
            None => matching(all, dependencies, "").collect(),
        }
    }
}

/// The part of a version that decides which runtime it is.
fn significant(language: Language, version: &str) -> String {
    let parts = match language {
        Language::Python => 2,
        Language::Node => 1,
    };
    version.split('.').take(parts).collect::<Vec<_>>().join(".")
}

/// Interpreters whose version begins with `version`, part by part, best first.
fn matching<'a>(all: &'a [Interpreter], language: Language, version: &str) -> impl Iterator<Item = &'a Interpreter> {
    all.iter().filter(move |found| {
        let mut parts = found.version.split('.');
        let begins = version.is_empty() || version.split('.').all(|part| parts.next() == Some(part));
        found.language == language.name() && begins
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Code, Dependencies};
    use super::*;

    #[test]
    fn the_platform_decides_what_newest_is() {
        let interpreters: Vec<Interpreter> = [
            ("python", "3.12.1"),
            ("python", "3.11.7"),
            ("node", "22.1.0"),
            ("node", "20.20.2"),
        ]
        .map(|(language, version)| Interpreter {
            language: language.to_owned(),
            version: version.to_owned(),
            program: format!("/opt/{version}"),
        })
        .into();
        let project = |language, version: Option<&str>| Project {
            dialect: super::super::dialect::DIALECTS[0],
            because: String::new(),
            runtime: Runtime::Newest {
                language,
                version: version.map(str::to_owned),
            },
            handler: String::new(),
            dependencies: Dependencies::None,
            code: Code::Whole,
            name: None,
        };
        for (language, version, expected) in [
            (Language::Python, None, Some("python3.12")),
            (Language::Python, Some("3.11.9"), Some("python3.11")),
            (Language::Python, Some("3"), Some("python3.12")),
            (Language::Python, Some("3.1"), None),
            (Language::Node, None, Some("nodejs22.x")),
            (Language::Node, Some("20.1.1"), Some("nodejs20.x")),
            (Language::Node, Some("18"), None),
        ] {
            let found = project(language, version).runtime_name(&interpreters);
            assert_eq!(found.ok().as_deref(), expected, "{language:?} {version:?}");
        }
        let asking = project(Language::Node, None);
        let programs = |runtime, language| -> Vec<&str> {
            let found = asking.interpreters(runtime, language, &interpreters);
            found.iter().map(|found| found.version.as_str()).collect()
        };
        assert_eq!(programs("python3.11", Language::Python), ["3.11.7"]);
        assert_eq!(programs("nodejs20.x", Language::Node), ["20.20.2"]);
        assert_eq!(programs("provided.al2023", Language::Python), ["3.12.1", "3.11.7"]);
        assert!(programs("python3.9", Language::Python).is_empty());
        assert!(asking.runtime_name(&[]).unwrap_err().hint.contains("no interpreter"));
    }
}
