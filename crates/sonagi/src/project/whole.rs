//! Folders that a description of the provider's own makes a project of several functions. The provider reads the
//! description; here only what has to be done before is found: what is to be installed where, and which variables of the
//! environment it names.

use std::collections::{BTreeMap, BTreeSet};

use super::dialect::{DIALECTS, Dialect, Language};
use super::files::Files;
use super::languages::{npm, pip};
use super::recognize::{Code, Dependencies, Project, Runtime, Unrecognized, Wish};

/// How a dialect's projects of several functions are told.
struct Told {
    provider: &'static str,
    /// Names of the description, best first.
    names: &'static [&'static str],
    /// One of these begins a line of it.
    words: &'static [&'static str],
    /// Files that give values besides.
    beside: &'static [&'static str],
}

const TOLD: &[Told] = &[Told {
    provider: "openwhisk",
    names: &["manifest.yaml", "manifest.yml"],
    words: &["packages:", "package:", "project:"],
    beside: &["deployment.yaml", "deployment.yml"],
}];

/// A project of several functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its dialect.
    pub dialect: Dialect,
    /// The file that describes it.
    pub file: &'static str,
    /// What it says.
    text: String,
    /// What the files beside it say.
    beside: Vec<String>,
}

/// A folder of such a project whose dependencies are to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The folder; empty: the project's own.
    pub folder: String,
    /// What it is for the builder.
    pub project: Project,
    /// Its runtime.
    pub runtime: String,
    /// Its language.
    pub language: Language,
}

/// Whether files are such a project, and nothing that was said is against it.
pub fn whole(files: &dyn Files, wish: &Wish) -> Option<Whole> {
    TOLD.iter().find_map(|told| {
        let dialect = *DIALECTS.iter().find(|dialect| dialect.provider == told.provider)?;
        let meant = |name: &str| name == dialect.provider || dialect.nicknames.contains(&name);
        if !wish.provider.as_deref().is_none_or(meant) {
            return None;
        }
        let begins = |text: &str| {
            text.lines()
                .any(|line| told.words.iter().any(|word| line.starts_with(word)))
        };
        let read = |name: &&'static str| Some((*name, files.text(name)?));
        let (file, text) = told.names.iter().find_map(read).filter(|(_, text)| begins(text))?;
        Some(Whole {
            dialect,
            file,
            text,
            beside: told.beside.iter().filter_map(|name| files.text(name)).collect(),
        })
    })
}

impl Whole {
    /// The variables that it names, with their values as `look_up` has them.
    pub fn variables(&self, look_up: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
        let texts = std::iter::once(&self.text).chain(&self.beside);
        let named: BTreeSet<&str> = texts.flat_map(|text| names(text)).collect();
        let found = named
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), look_up(name)?)));
        found.collect()
    }

    /// The folders in which something is to be installed.
    pub fn parts(&self, files: &dyn Files) -> Result<Vec<Part>, Unrecognized> {
        let mut parts = Vec::new();
        for path in files.paths() {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let installed = |part: &str| part == "node_modules" || part == "virtualenv";
            if folder.split('/').any(installed) || (folder.is_empty() && !self.is_its_own_function()) {
                continue;
            }
            let below = Below { files, folder };
            let (language, dependencies) = match name {
                "package.json" => (Language::Node, npm(&below)?),
                "requirements.txt" if !below.has("virtualenv/bin/activate_this.py") => (Language::Python, pip(&below)),
                _ => continue,
            };
            if dependencies == Dependencies::None {
                continue;
            }
            let runtime = self.runtime(language);
            parts.push(Part {
                folder: folder.to_owned(),
                project: Project {
                    dialect: self.dialect,
                    because: format!("{} describes it", self.file),
                    runtime: Runtime::Named(runtime.clone()),
                    handler: String::new(),
                    dependencies,
                    code: Code::Whole,
                    name: None,
                },
                runtime,
                language,
            });
        }
        Ok(parts)
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.text.lines().map(str::trim);
        lines
            .filter_map(move |line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(|value| value.split(" #").next().unwrap_or_default().trim())
            .map(|value| value.trim_matches(['"', '\'']))
    }

    /// Whether an action is the whole folder.
    fn is_its_own_function(&self) -> bool {
        self.values("function").any(|value| matches!(value, "." | "./"))
    }

    /// The first runtime of a language that it names.
    fn runtime(&self, language: Language) -> String {
        let of = |value: &&str| self.dialect.language(value).is_some_and(|(found, _)| found == language);
        let named = self.values("runtime").find(of);
        named.map_or_else(
            || match language {
                Language::Python => "python:default".to_owned(),
                Language::Node => "nodejs:default".to_owned(),
            },
            str::to_owned,
        )
    }
}

/// What stands after dollar signs, as `$NAME` or `${NAME}`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let name = &rest[..end.unwrap_or(rest.len())];
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            .then_some(name)
    })
}

/// The files of a folder of others.
struct Below<'a> {
    files: &'a dyn Files,
    folder: &'a str,
}

impl Below<'_> {
    fn full(&self, path: &str) -> String {
        if self.folder.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{path}", self.folder)
        }
    }
}

impl Files for Below<'_> {
    fn paths(&self) -> Vec<&str> {
        let prefix = self.full("");
        let paths = self.files.paths();
        paths
            .into_iter()
            .filter_map(|path| path.strip_prefix(prefix.as_str()))
            .collect()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.files.read(&self.full(path))
    }

    fn has(&self, path: &str) -> bool {
        self.files.has(&self.full(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(&'static [(&'static str, &'static str)]);

    impl Files for Given {
        fn paths(&self) -> Vec<&str> {
            self.0.iter().map(|(path, _)| *path).collect()
        }

        fn read(&self, path: &str) -> Option<Vec<u8>> {
            let found = self.0.iter().find(|(known, _)| *known == path)?;
            Some(found.1.as_bytes().to_vec())
        }
    }

    const PACKAGE: &str = "{\"dependencies\": {\"a\": \"1\"}}";
    const MANIFEST: &str = "packages:\n  p:\n    actions:\n      a:\n        function: one\n        runtime: nodejs:20 # a\n        \
                            inputs: {x: $A, y: \"http://${B_1}/$\", z: $C}\n";

    #[test]
    fn what_is_to_be_installed_is_found() {
        let files = Given(&[
            ("manifest.yaml", MANIFEST),
            ("deployment.yaml", "packages:\n  p:\n    inputs:\n      d: $D\n"),
            ("package.json", PACKAGE),
            ("one/package.json", PACKAGE),
            ("one/node_modules/b/package.json", PACKAGE),
            ("two/requirements.txt", "requests\n"),
            ("three/requirements.txt", "requests\n"),
            ("three/virtualenv/bin/activate_this.py", ""),
        ]);
        let found = whole(&files, &Wish::default()).unwrap();
        let parts = found.parts(&files).unwrap();
        let seen: Vec<_> = parts.iter().map(|part| (&*part.folder, &*part.runtime)).collect();
        assert_eq!(seen, [("one", "nodejs:20"), ("two", "python:default")]);
        let variables = found.variables(|name| (name != "C").then(|| name.to_lowercase()));
        assert_eq!(variables.into_keys().collect::<Vec<_>>(), ["A", "B_1", "D"]);
    }

    #[test]
    fn only_descriptions_are_taken_for_one() {
        let check = |text: &'static str, provider: Option<&str>| {
            let files = [("manifest.yaml", text)];
            let wish = Wish {
                provider: provider.map(str::to_owned),
                ..Wish::default()
            };
            whole(&Given(Box::leak(Box::new(files))), &wish).is_some()
        };
        assert!(check("project:\n  name: x\n", None));
        assert!(check("packages:\n", Some("ow")));
        assert!(!check("packages:\n", Some("aws")));
        assert!(!check("apiVersion: v1\nspec:\n  packages:\n", None));
    }
}
