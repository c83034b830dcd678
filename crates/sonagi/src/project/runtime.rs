//! From what a project asks for to a runtime that the platform has.

use sonagi_api::Interpreter;

use super::recognize::{Language, Project, Runtime, Unrecognized};

impl Project {
    /// The runtime's name, in the provider's words. `interpreters` are those of the platform, best first.
    pub fn runtime_name(&self, interpreters: &[Interpreter]) -> Result<String, Unrecognized> {
        match &self.runtime {
            Runtime::Named(name) => Ok(name.clone()),
            Runtime::Newest { language, version } => {
                let wanted = version.as_deref().map(|version| significant(*language, version));
                let found = find(interpreters, *language, wanted.as_deref().unwrap_or(""));
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

    /// The interpreter that will run it under this runtime, or, for a program that is its own runtime, the best one of the
    /// language that its dependencies are for.
    pub fn interpreter<'a>(
        &self,
        runtime: &str,
        dependencies: Language,
        interpreters: &'a [Interpreter],
    ) -> Option<&'a Interpreter> {
        match self.dialect.language(runtime) {
            Some((language, version)) => find(interpreters, language, &version),
            None => find(interpreters, dependencies, ""),
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

/// The best interpreter whose version begins with `version`, part by part.
fn find<'a>(interpreters: &'a [Interpreter], language: Language, version: &str) -> Option<&'a Interpreter> {
    interpreters.iter().find(|found| {
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
            dialect: super::super::recognize::DIALECTS[0],
            because: String::new(),
            runtime: Runtime::Newest {
                language,
                version: version.map(str::to_owned),
            },
            handler: String::new(),
            dependencies: Dependencies::None,
            code: Code::Whole,
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
        let program = |runtime, language| {
            asking
                .interpreter(runtime, language, &interpreters)
                .map(|found| found.version.as_str())
        };
        assert_eq!(program("python3.11", Language::Python), Some("3.11.7"));
        assert_eq!(program("nodejs20.x", Language::Node), Some("20.20.2"));
        assert_eq!(program("provided.al2023", Language::Python), Some("3.12.1"));
        assert_eq!(program("python3.9", Language::Python), None);
        assert!(asking.runtime_name(&[]).unwrap_err().hint.contains("no interpreter"));
    }
}
