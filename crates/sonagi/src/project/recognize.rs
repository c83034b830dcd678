//! Which dialect files are written in, and what follows from it.

use super::described;
use super::dialect::{DIALECTS, Dialect, Language, Told};
use super::files::Files;
use super::languages::{Found, Looked, cargo, node, npm, own_program, pip, python};

/// What will run the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// This one, in the provider's words.
    Named(String),
    /// The newest one of the platform for this language, of this version if the project asks for one.
    Newest {
        /// The language.
        language: Language,
        /// A beginning of its version, for instance `3.11` or `20`.
        version: Option<String>,
    },
}

/// What has to be installed or built before the code is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependencies {
    /// Nothing.
    None,
    /// `requirements.txt`.
    Pip,
    /// `package.json`; whether a lock file is there.
    Npm {
        /// With `package-lock.json` or `npm-shrinkwrap.json`.
        locked: bool,
    },
    /// `Cargo.toml`.
    Cargo {
        /// The package.
        package: String,
        /// The program that becomes the code.
        program: String,
    },
}

/// How files become code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// As they are.
    Whole,
    /// One file under a new name.
    Renamed {
        /// Its name now.
        from: String,
        /// Its name in the archive.
        to: String,
    },
    /// Only what the build makes.
    Built,
}

/// A recognized project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its dialect.
    pub dialect: Dialect,
    /// Why it is that.
    pub because: String,
    /// What runs it.
    pub runtime: Runtime,
    /// Its entry point, in the provider's words.
    pub handler: String,
    /// What it needs.
    pub dependencies: Dependencies,
    /// How its files become code.
    pub code: Code,
    /// What it is called, if a file of it says so.
    pub name: Option<String>,
}

/// What the user said about the project.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The provider.
    pub provider: Option<String>,
    /// The runtime.
    pub runtime: Option<String>,
    /// The entry point.
    pub handler: Option<String>,
}

/// A project is of no known kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unrecognized {
    /// What was looked for.
    pub message: String,
    /// What to do.
    pub hint: String,
}

pub(super) fn unrecognized(message: impl Into<String>, hint: impl Into<String>) -> Unrecognized {
    Unrecognized {
        message: message.into(),
        hint: hint.into(),
    }
}

/// Recognizes files. `alone` names the file that was given by itself, if it was one.
pub fn recognize(files: &dyn Files, wish: &Wish, alone: Option<&str>) -> Result<Project, Unrecognized> {
    let dialect = dialect(files, wish)?;
    if let Told::ByFile(names) = dialect.told {
        return described::recognize(files, dialect, names, wish);
    }
    let (dialect, found) = match (&wish.runtime, &wish.handler) {
        (Some(runtime), Some(handler)) => (dialect, asked_for(files, dialect, runtime, handler)?),
        _ => find_in(files, dialect, wish, alone)?,
    };
    Ok(Project {
        dialect,
        because: found.because,
        runtime: wish.runtime.clone().map_or(found.runtime, Runtime::Named),
        handler: wish.handler.clone().unwrap_or(found.handler),
        dependencies: found.dependencies,
        code: found.code,
        name: None,
    })
}

/// Marks of providers' projects that this version does not read, so that they are not taken for something else.
const FOREIGN: &[(&str, &str)] = &[
    ("host.json", "an Azure Functions app"),
    ("func.yaml", "a Knative function"),
    ("riff.toml", "a riff function"),
];

/// Looks in the dialect that was chosen; where nothing chose it, in the others after it.
fn find_in(
    files: &dyn Files,
    dialect: Dialect,
    wish: &Wish,
    alone: Option<&str>,
) -> Result<(Dialect, Found), Unrecognized> {
    let missed = match find(files, dialect, wish, alone) {
        Ok(found) => return Ok((dialect, found)),
        Err(missed) => missed,
    };
    let others = DIALECTS
        .iter()
        .filter(|other| other.provider != dialect.provider && other.told == Told::ByCode);
    let found = others
        .filter(|_| wish.provider.is_none())
        .find_map(|other| Some((*other, find(files, *other, wish, alone).ok()?)));
    found.ok_or(missed)
}

fn dialect(files: &dyn Files, wish: &Wish) -> Result<Dialect, Unrecognized> {
    if let Some(provider) = wish.provider.as_deref() {
        let known = || {
            DIALECTS
                .iter()
                .map(|dialect| dialect.provider)
                .collect::<Vec<_>>()
                .join(", ")
        };
        return DIALECTS
            .iter()
            .copied()
            .find(|dialect| dialect.provider == provider || dialect.nicknames.contains(&provider))
            .ok_or_else(|| {
                unrecognized(
                    format!("functions of {provider:?} are not read by this version"),
                    format!("it reads: {}", known()),
                )
            });
    }
    if let Some(described) = DIALECTS.iter().find(|dialect| described::is_of(files, dialect)) {
        return Ok(*described);
    }
    if let Some((mark, kind)) = FOREIGN.iter().find(|(mark, _)| files.has(mark)) {
        return Err(unrecognized(
            format!("{mark} says that this is {kind}, which this version does not run"),
            format!(
                "if it is {} all the same, say `--as {}`",
                DIALECTS[0].title, DIALECTS[0].provider
            ),
        ));
    }
    let marked = |dialect: &&Dialect| {
        let has = |(mark, word): (&str, &str)| files.text(mark).is_some_and(|text| text.contains(word));
        let named = wish.runtime.as_deref().is_some_and(|runtime| runtime.contains(':'));
        dialect.mark.is_some_and(|mark| has(mark) || named)
    };
    Ok(DIALECTS.iter().find(marked).copied().unwrap_or(DIALECTS[0]))
}

/// Runtime and entry point are given: only what has to be installed is still open.
fn asked_for(files: &dyn Files, dialect: Dialect, runtime: &str, handler: &str) -> Result<Found, Unrecognized> {
    let dependencies = match dialect.language(runtime) {
        Some((Language::Python, _)) => pip(files),
        Some((Language::Node, _)) => npm(files)?,
        None => Dependencies::None,
    };
    Ok(Found {
        runtime: Runtime::Named(runtime.to_owned()),
        handler: handler.to_owned(),
        dependencies,
        code: Code::Whole,
        because: "runtime and handler are given".to_owned(),
    })
}

fn find(files: &dyn Files, dialect: Dialect, wish: &Wish, alone: Option<&str>) -> Result<Found, Unrecognized> {
    let wanted = wish
        .runtime
        .as_deref()
        .map(|runtime| dialect.language(runtime).map(|(language, _)| language));
    let allowed = |language: Option<Language>| wanted.is_none_or(|wanted| wanted == language);
    if allowed(None)
        && let Some(found) = own_program(files, dialect, alone)?
    {
        return Ok(found);
    }
    let mut near_misses = Vec::new();
    if allowed(None) && files.has("Cargo.toml") {
        match cargo(files, dialect) {
            Ok(found) => return Ok(found),
            Err(miss) => near_misses.push(miss),
        }
    }
    if allowed(Some(Language::Python)) {
        match python(files, dialect, wish) {
            Looked::Found(found) => return Ok(found),
            Looked::Missed(why) => near_misses.extend(why),
        }
    }
    if allowed(Some(Language::Node)) {
        match node(files, dialect, wish, alone)? {
            Looked::Found(found) => return Ok(found),
            Looked::Missed(why) => near_misses.extend(why),
        }
    }
    if files
        .paths()
        .iter()
        .any(|path| path.ends_with(".ts") && !path.contains("node_modules/"))
    {
        near_misses
            .push("TypeScript has to be compiled to JavaScript first: deploy the folder with the output".to_owned());
    }
    if let Some(template) = TEMPLATES.iter().find(|template| files.has(template)) {
        near_misses.push(format!(
            "{template} is not read by this version: deploy the folder of one of its functions"
        ));
    }
    Err(nothing_found(near_misses, alone))
}

/// Descriptions of whole applications.
const TEMPLATES: &[&str] = &["template.yaml", "template.yml", "serverless.yml", "serverless.yaml"];

fn nothing_found(near_misses: Vec<String>, alone: Option<&str>) -> Unrecognized {
    let what = alone.map_or_else(|| "the folder".to_owned(), |name| format!("{name:?}"));
    let mut message = format!("no function was found in {what}");
    for miss in near_misses {
        message.push_str("; ");
        message.push_str(&miss);
    }
    unrecognized(
        message,
        "a function is a Python file with `def handler(event, context)` or `def main(args)`, a JavaScript file that exports \
         `handler` or has a function `main`, a Cargo project on `lambda_runtime`, or an executable `bootstrap`; `--runtime` \
         and `--handler` say what cannot be seen, `sonagi new` writes an example",
    )
}
