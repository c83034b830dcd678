//! Which dialect files are written in, and what follows from it.

use super::files::Files;
use super::rust;
use super::script::{self, Module};

/// A provider's way of writing functions, as far as this command line reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The provider's short name, for `--as`.
    pub provider: &'static str,
    /// What such a function is called.
    pub title: &'static str,
    /// The runtime of programs that are their own runtime.
    pub own_runtime: &'static str,
    /// The name such a program must have.
    pub own_program: &'static str,
}

/// All dialects, the one that wins an even choice first.
pub const DIALECTS: &[Dialect] = &[Dialect {
    provider: "aws",
    title: "an AWS Lambda function",
    own_runtime: "provided.al2023",
    own_program: "bootstrap",
}];

impl Dialect {
    /// The name of a runtime for this version of a language.
    pub fn runtime(&self, language: Language, version: &str) -> String {
        let mut parts = version.split('.');
        let (major, minor) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
        match language {
            Language::Python => format!("python{major}.{minor}"),
            Language::Node => format!("nodejs{major}.x"),
        }
    }

    /// The language of a runtime of this name, and its version as far as the name has it.
    pub fn language(&self, runtime: &str) -> Option<(Language, String)> {
        if let Some(version) = runtime.strip_prefix("python") {
            return Some((Language::Python, version.to_owned()));
        }
        let version = runtime.strip_prefix("nodejs")?.trim_end_matches(".x");
        Some((Language::Node, version.to_owned()))
    }
}

/// A language whose interpreter the platform lends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// JavaScript under Node.js.
    Node,
}

impl Language {
    /// Its name in the native API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }
}

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

fn unrecognized(message: impl Into<String>, hint: impl Into<String>) -> Unrecognized {
    Unrecognized {
        message: message.into(),
        hint: hint.into(),
    }
}

/// Python modules in which an entry point is looked for first.
const PYTHON_FILES: &[&str] = &[
    "lambda_function.py",
    "app.py",
    "main.py",
    "handler.py",
    "index.py",
    "function.py",
    "lambda.py",
];
/// JavaScript modules in which an entry point is looked for first.
const NODE_STEMS: &[&str] = &["index", "app", "handler", "lambda", "main", "function"];
const NODE_EXTENSIONS: &[&str] = &["mjs", "js", "cjs"];

/// What was found in the files themselves.
struct Found {
    runtime: Runtime,
    handler: String,
    dependencies: Dependencies,
    code: Code,
    because: String,
}

/// Recognizes files. `alone` names the file that was given by itself, if it was one.
pub fn recognize(files: &dyn Files, wish: &Wish, alone: Option<&str>) -> Result<Project, Unrecognized> {
    let dialect = dialect(files, wish.provider.as_deref())?;
    let found = match (&wish.runtime, &wish.handler) {
        (Some(runtime), Some(handler)) => asked_for(files, dialect, runtime, handler),
        _ => find(files, dialect, wish, alone)?,
    };
    Ok(Project {
        dialect,
        because: found.because,
        runtime: wish.runtime.clone().map_or(found.runtime, Runtime::Named),
        handler: wish.handler.clone().unwrap_or(found.handler),
        dependencies: found.dependencies,
        code: found.code,
    })
}

/// Marks of providers' projects that this version does not read, so that they are not taken for something else.
const FOREIGN: &[(&str, &str)] = &[
    ("host.json", "an Azure Functions app"),
    ("func.yaml", "a Knative or Fn function"),
    ("riff.toml", "a riff function"),
];

fn dialect(files: &dyn Files, provider: Option<&str>) -> Result<Dialect, Unrecognized> {
    if let Some(provider) = provider {
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
            .find(|dialect| dialect.provider == provider)
            .ok_or_else(|| {
                unrecognized(
                    format!("functions of {provider:?} are not read by this version"),
                    format!("it reads: {}", known()),
                )
            });
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
    Ok(DIALECTS[0])
}

/// Runtime and entry point are given: only what has to be installed is still open.
fn asked_for(files: &dyn Files, dialect: Dialect, runtime: &str, handler: &str) -> Found {
    let dependencies = match dialect.language(runtime) {
        Some((Language::Python, _)) => pip(files),
        Some((Language::Node, _)) => npm(files),
        None => Dependencies::None,
    };
    Found {
        runtime: Runtime::Named(runtime.to_owned()),
        handler: handler.to_owned(),
        dependencies,
        code: Code::Whole,
        because: "runtime and handler are given".to_owned(),
    }
}

fn find(files: &dyn Files, dialect: Dialect, wish: &Wish, alone: Option<&str>) -> Result<Found, Unrecognized> {
    let wanted = wish
        .runtime
        .as_deref()
        .map(|runtime| dialect.language(runtime).map(|(language, _)| language));
    let allowed = |language: Option<Language>| wanted.is_none_or(|wanted| wanted == language);
    if allowed(None)
        && let Some(found) = own_program(files, dialect, alone)
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
    if allowed(Some(Language::Python))
        && let Some(found) = python(files, wish)
    {
        return Ok(found);
    }
    if allowed(Some(Language::Node))
        && let Some(found) = node(files, wish, alone)
    {
        return Ok(found);
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
        "a function is a Python file with `def handler(event, context)`, a JavaScript file that exports `handler`, a Cargo \
         project on `lambda_runtime`, or an executable `bootstrap`; `--runtime` and `--handler` say what cannot be seen, \
         `sonagi new` writes an example",
    )
}

fn is_program(start: &[u8]) -> bool {
    start.starts_with(b"#!") || start.starts_with(b"\x7fELF")
}

fn own_program(files: &dyn Files, dialect: Dialect, alone: Option<&str>) -> Option<Found> {
    let name = dialect.own_program;
    let found = |dependencies, code, because| Found {
        runtime: Runtime::Named(dialect.own_runtime.to_owned()),
        handler: name.to_owned(),
        dependencies,
        code,
        because,
    };
    if files.read(name).is_some_and(|start| is_program(&start)) {
        // The program may be a few lines that start an interpreter with a runtime client from a package.
        let pip = pip(files);
        let dependencies = if pip == Dependencies::None { npm(files) } else { pip };
        return Some(found(
            dependencies,
            Code::Whole,
            format!("{name} is a program that is its own runtime"),
        ));
    }
    let file = alone.filter(|file| {
        ![".py", ".js", ".mjs", ".cjs"]
            .iter()
            .any(|ending| file.ends_with(ending))
    })?;
    files.read(file).filter(|start| is_program(start))?;
    let code = Code::Renamed {
        from: file.to_owned(),
        to: name.to_owned(),
    };
    Some(found(
        Dependencies::None,
        code,
        format!("{file} is a program, deployed as {name}"),
    ))
}

fn cargo(files: &dyn Files, dialect: Dialect) -> Result<Found, String> {
    let text = files.text("Cargo.toml").unwrap_or_default();
    let bins: Vec<String> = files
        .paths()
        .iter()
        .filter_map(|path| path.strip_prefix("src/bin/"))
        .filter_map(|rest| rest.strip_suffix("/main.rs").or_else(|| rest.strip_suffix(".rs")))
        .filter(|name| !name.contains('/'))
        .map(str::to_owned)
        .collect();
    let package = rust::package(&text, files.has("src/main.rs"), &bins)?;
    Ok(Found {
        runtime: Runtime::Named(dialect.own_runtime.to_owned()),
        handler: dialect.own_program.to_owned(),
        because: format!("Cargo.toml depends on {}", package.because),
        dependencies: Dependencies::Cargo {
            package: package.package,
            program: package.program,
        },
        code: Code::Built,
    })
}

/// Top-level files with this ending, those that are named first coming first.
fn candidates<'a>(files: &'a dyn Files, first: &[String], matches: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let all: Vec<&str> = files
        .paths()
        .into_iter()
        .filter(|path| !path.contains('/') && matches(path))
        .collect();
    let ranked = first
        .iter()
        .filter_map(|name| all.iter().copied().find(|path| path == name));
    let mut ordered: Vec<&str> = ranked.collect();
    ordered.extend(
        all.iter()
            .copied()
            .filter(|path| !first.iter().any(|name| name == path)),
    );
    ordered
}

fn python(files: &dyn Files, wish: &Wish) -> Option<Found> {
    let first: Vec<String> = PYTHON_FILES.iter().map(|name| (*name).to_owned()).collect();
    let found = candidates(files, &first, |path| path.ends_with(".py"))
        .into_iter()
        .find_map(|path| script::python_entry(&files.text(path)?).map(|entry| (path, entry)));
    let (handler, because) = match (found, &wish.handler) {
        (_, Some(handler)) => {
            let module = handler.rsplit_once('.')?.0.replace('.', "/");
            let file = [format!("{module}.py"), format!("{module}/__init__.py")]
                .into_iter()
                .find(|file| files.has(file))?;
            (handler.clone(), format!("{file} is the handler's file"))
        }
        (Some((path, entry)), None) => (
            format!("{}.{entry}", path.trim_end_matches(".py")),
            format!("{path} defines {entry}"),
        ),
        (None, None) => return None,
    };
    let version = files.text(".python-version").and_then(|text| version_in(&text));
    Some(Found {
        runtime: Runtime::Newest {
            language: Language::Python,
            version,
        },
        handler,
        dependencies: pip(files),
        code: Code::Whole,
        because,
    })
}

fn pip(files: &dyn Files) -> Dependencies {
    let text = files.text("requirements.txt").unwrap_or_default();
    let needed = text
        .lines()
        .map(str::trim)
        .any(|line| !line.is_empty() && !line.starts_with('#'));
    if needed { Dependencies::Pip } else { Dependencies::None }
}

fn node(files: &dyn Files, wish: &Wish, alone: Option<&str>) -> Option<Found> {
    let package = files
        .text("package.json")
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let main = package
        .as_ref()
        .and_then(|package| package["main"].as_str())
        .map(|main| main.trim_start_matches("./"));
    let stems = NODE_STEMS
        .iter()
        .flat_map(|stem| NODE_EXTENSIONS.iter().map(move |ending| format!("{stem}.{ending}")));
    let named: Vec<String> = main.map(str::to_owned).into_iter().chain(stems).collect();
    let is_script = |path: &str| {
        NODE_EXTENSIONS
            .iter()
            .any(|ending| path.ends_with(&format!(".{ending}")))
    };
    let mut paths = candidates(files, &named, is_script);
    // `main` may be below the top.
    if let Some(main) = main.filter(|main| main.contains('/') && files.has(main)) {
        paths.insert(0, main);
    }
    let found = paths.into_iter().find_map(|path| {
        let source = files.text(path)?;
        script::node_entry(&source).map(|(entry, module)| (path.to_owned(), entry, module))
    });
    let mut code = Code::Whole;
    let (handler, because) = match (found, &wish.handler) {
        (_, Some(handler)) => {
            let stem = handler.rsplit_once('.')?.0;
            let file = NODE_EXTENSIONS
                .iter()
                .map(|ending| format!("{stem}.{ending}"))
                .find(|file| files.has(file))?;
            (handler.clone(), format!("{file} is the handler's file"))
        }
        (Some((path, entry, module)), None) => {
            let stem = path.rsplit_once('.').map_or(path.as_str(), |(stem, _)| stem).to_owned();
            if alone.is_some() && module == Module::Es && path.ends_with(".js") {
                // Node takes a lone `.js` for CommonJS; the ending says what it is.
                code = Code::Renamed {
                    from: path.clone(),
                    to: format!("{stem}.mjs"),
                };
            }
            (format!("{stem}.{entry}"), format!("{path} exports {entry}"))
        }
        (None, None) => return None,
    };
    let version = files
        .text(".nvmrc")
        .or_else(|| files.text(".node-version"))
        .and_then(|text| version_in(&text));
    Some(Found {
        runtime: Runtime::Newest {
            language: Language::Node,
            version,
        },
        handler,
        dependencies: npm(files),
        code,
        because,
    })
}

fn npm(files: &dyn Files) -> Dependencies {
    let package = files
        .text("package.json")
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let any = |name: &str| {
        package
            .as_ref()
            .is_some_and(|package| package[name].as_object().is_some_and(|map| !map.is_empty()))
    };
    if any("dependencies") || any("optionalDependencies") {
        Dependencies::Npm {
            locked: files.has("package-lock.json") || files.has("npm-shrinkwrap.json"),
        }
    } else {
        Dependencies::None
    }
}

/// The version in a version manager's file: `3.11.7`, `v20`, `lts/*` (which is none).
fn version_in(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?.trim_start_matches('v');
    let is_version = word
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    is_version.then(|| word.to_owned())
}
