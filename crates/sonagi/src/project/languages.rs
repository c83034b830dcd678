//! What each language's files look like: its entry points, its dependencies, its versions.

use super::dialect::{Dialect, Language};
use super::files::Files;
use super::recognize::{Code, Dependencies, Runtime, Unrecognized, Wish, unrecognized};
use super::rust;
use super::script::{self, Module, Sighting};

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
pub(super) struct Found {
    pub(super) runtime: Runtime,
    pub(super) handler: String,
    pub(super) dependencies: Dependencies,
    pub(super) code: Code,
    pub(super) because: String,
}

/// What looking for a language's entry point gave.
pub(super) enum Looked {
    /// A function.
    Found(Found),
    /// None, and why there might be one all the same.
    Missed(Option<String>),
}

/// The first file that offers an entry point, or why one might.
fn first_entry<T>(
    paths: Vec<&str>,
    files: &dyn Files,
    look: impl Fn(&str) -> Sighting<T>,
) -> Result<(String, T), Option<String>> {
    let mut miss = None;
    for path in paths {
        let Some(source) = files.text(path) else { continue };
        match look(&source) {
            Sighting::Entry(entry) => return Ok((path.to_owned(), entry)),
            Sighting::Perhaps(how) => {
                let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
                miss.get_or_insert_with(|| {
                    format!(
                        "{path} says `{how}`, whose names are known only when it runs: if one is the entry point, say it, for \
                         instance `--handler {stem}.handler`"
                    )
                });
            }
            Sighting::Nothing => {}
        }
    }
    Err(miss)
}

fn is_program(start: &[u8]) -> bool {
    start.starts_with(b"#!") || start.starts_with(b"\x7fELF")
}

pub(super) fn own_program(
    files: &dyn Files,
    dialect: Dialect,
    alone: Option<&str>,
) -> Result<Option<Found>, Unrecognized> {
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
        let dependencies = if pip == Dependencies::None { npm(files)? } else { pip };
        return Ok(Some(found(
            dependencies,
            Code::Whole,
            format!("{name} is a program that is its own runtime"),
        )));
    }
    let file = alone.filter(|file| {
        ![".py", ".js", ".mjs", ".cjs"]
            .iter()
            .any(|ending| file.ends_with(ending))
            && files.read(file).is_some_and(|start| is_program(&start))
    });
    let Some(file) = file else { return Ok(None) };
    let code = Code::Renamed {
        from: file.to_owned(),
        to: name.to_owned(),
    };
    Ok(Some(found(
        Dependencies::None,
        code,
        format!("{file} is a program, deployed as {name}"),
    )))
}

pub(super) fn cargo(files: &dyn Files, dialect: Dialect) -> Result<Found, String> {
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

pub(super) fn python(files: &dyn Files, dialect: Dialect, wish: &Wish) -> Looked {
    let (handler, because) = if let Some(handler) = &wish.handler {
        let module = handler.rsplit_once('.').map(|(module, _)| module.replace('.', "/"));
        let names = module.map(|module| [format!("{module}.py"), format!("{module}/__init__.py")]);
        match names.into_iter().flatten().find(|file| files.has(file)) {
            Some(file) => (handler.clone(), format!("{file} is the handler's file")),
            None => return Looked::Missed(None),
        }
    } else {
        let first: Vec<String> = PYTHON_FILES.iter().map(|name| (*name).to_owned()).collect();
        let paths = candidates(files, &first, |path| path.ends_with(".py"));
        match first_entry(paths, files, |source| {
            script::python_entry(source, dialect.python_names)
        }) {
            Ok((path, entry)) => (
                format!("{}.{entry}", path.trim_end_matches(".py")),
                format!("{path} defines {entry}"),
            ),
            Err(miss) => return Looked::Missed(miss),
        }
    };
    let version = files.text(".python-version").and_then(|text| version_in(&text));
    Looked::Found(Found {
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

pub(super) fn pip(files: &dyn Files) -> Dependencies {
    let text = files.text("requirements.txt").unwrap_or_default();
    let needed = text
        .lines()
        .map(str::trim)
        .any(|line| !line.is_empty() && !line.starts_with('#'));
    if needed { Dependencies::Pip } else { Dependencies::None }
}

/// The document in `package.json`, if there is one.
fn package(files: &dyn Files) -> Result<Option<serde_json::Value>, Unrecognized> {
    const NAME: &str = "package.json";
    if !files.has(NAME) {
        return Ok(None);
    }
    let hint =
        format!("correct it, or remove it if nothing needs it; `node -p \"require('./{NAME}').name\"` checks it");
    let bytes = files
        .read(NAME)
        .ok_or_else(|| unrecognized(format!("{NAME} cannot be read"), hint.clone()))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let document: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| unrecognized(format!("{NAME} is no valid JSON: {error}"), hint.clone()))?;
    if document.is_object() {
        Ok(Some(document))
    } else {
        Err(unrecognized(format!("{NAME} holds no JSON object"), hint))
    }
}

pub(super) fn node(
    files: &dyn Files,
    dialect: Dialect,
    wish: &Wish,
    alone: Option<&str>,
) -> Result<Looked, Unrecognized> {
    // Only what is a Node project has to have a good one.
    let package = package(files);
    let main = package
        .as_ref()
        .ok()
        .and_then(Option::as_ref)
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
    let mut code = Code::Whole;
    let (handler, because) = if let Some(handler) = &wish.handler {
        let stem = handler.rsplit_once('.').map(|(stem, _)| stem);
        let names = stem.map(|stem| NODE_EXTENSIONS.iter().map(move |ending| format!("{stem}.{ending}")));
        match names.into_iter().flatten().find(|file| files.has(file)) {
            Some(file) => (handler.clone(), format!("{file} is the handler's file")),
            None => return Ok(Looked::Missed(None)),
        }
    } else {
        let look = |source: &str| script::node_entry(source, dialect.node_names, dialect.bare_functions);
        let (path, (entry, module)) = match first_entry(paths, files, look) {
            Ok(found) => found,
            Err(miss) => return Ok(Looked::Missed(miss)),
        };
        let stem = path.rsplit_once('.').map_or(path.as_str(), |(stem, _)| stem).to_owned();
        if alone.is_some() && module == Module::Es && path.ends_with(".js") {
            // Node takes a lone `.js` for CommonJS; the ending says what it is.
            code = Code::Renamed {
                from: path.clone(),
                to: format!("{stem}.mjs"),
            };
        }
        (format!("{stem}.{entry}"), format!("{path} exports {entry}"))
    };
    package?;
    let version = files
        .text(".nvmrc")
        .or_else(|| files.text(".node-version"))
        .and_then(|text| version_in(&text));
    Ok(Looked::Found(Found {
        runtime: Runtime::Newest {
            language: Language::Node,
            version,
        },
        handler,
        dependencies: npm(files)?,
        code,
        because,
    }))
}

pub(super) fn npm(files: &dyn Files) -> Result<Dependencies, Unrecognized> {
    let package = package(files)?;
    let any = |name: &str| {
        package
            .as_ref()
            .is_some_and(|package| package[name].as_object().is_some_and(|map| !map.is_empty()))
    };
    Ok(if any("dependencies") || any("optionalDependencies") {
        Dependencies::Npm {
            locked: files.has("package-lock.json") || files.has("npm-shrinkwrap.json"),
        }
    } else {
        Dependencies::None
    })
}

/// The version in a version manager's file: `3.11.7`, `v20`, `lts/*` (which is none).
fn version_in(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?.trim_start_matches('v');
    let is_version = word
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    is_version.then(|| word.to_owned())
}
