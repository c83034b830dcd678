//! What each language's files look like: its entry points, its dependencies, its versions.

use super::dialect::{Dialect, Language};
use super::files::Files;
use super::recognize::{Code, Dependencies, Runtime, Wish};
use super::rust;
use super::script::{self, Module};

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

fn is_program(start: &[u8]) -> bool {
    start.starts_with(b"#!") || start.starts_with(b"\x7fELF")
}

pub(super) fn own_program(files: &dyn Files, dialect: Dialect, alone: Option<&str>) -> Option<Found> {
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

pub(super) fn python(files: &dyn Files, dialect: Dialect, wish: &Wish) -> Option<Found> {
    let first: Vec<String> = PYTHON_FILES.iter().map(|name| (*name).to_owned()).collect();
    let found = candidates(files, &first, |path| path.ends_with(".py"))
        .into_iter()
        .find_map(|path| script::python_entry(&files.text(path)?, dialect.python_names).map(|entry| (path, entry)));
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

pub(super) fn pip(files: &dyn Files) -> Dependencies {
    let text = files.text("requirements.txt").unwrap_or_default();
    let needed = text
        .lines()
        .map(str::trim)
        .any(|line| !line.is_empty() && !line.starts_with('#'));
    if needed { Dependencies::Pip } else { Dependencies::None }
}

pub(super) fn node(files: &dyn Files, dialect: Dialect, wish: &Wish, alone: Option<&str>) -> Option<Found> {
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
        script::node_entry(&source, dialect.node_names, dialect.bare_functions)
            .map(|(entry, module)| (path.to_owned(), entry, module))
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

pub(super) fn npm(files: &dyn Files) -> Dependencies {
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
