//! From an unpacked folder to how it is run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sonagi_ports::{Interpreter, Language};

use super::file::{self, AppFile, FuncFile};
use crate::records::Recipe;
use crate::runtime::FnContract;
use crate::runtimes::{self, Asked, NATIVE};

/// Bytes of a file that is read here.
const FILE_MAX: u64 = 256 * 1024;
/// Where the folder is inside.
const CODE: &str = "/function";

/// What a folder is.
#[derive(Debug)]
pub(super) struct Cooked {
    pub(super) file: FuncFile,
    /// What it says of its app.
    pub(super) app: Option<AppFile>,
    pub(super) recipe: Recipe,
}

/// Reads the folder's file and works out how it is run. Blocks on the disk.
///
/// # Errors
/// What is wrong, and what to do.
pub(super) fn cook(tree: &Path, contract: &FnContract) -> Result<Cooked, String> {
    let found = file::NAMES.iter().find_map(|name| Some((*name, text(tree, name)?)));
    let (name, described) = found.ok_or("the archive has no func.yaml at its top")?;
    let file = file::read(name, &described)?;
    let runtime = file.runtime.as_deref().unwrap_or_default();
    let interpreters = contract.interpreters();
    let unknown = || {
        format!(
            "runtime {runtime:?} is not available on this platform; there are: {}",
            runtimes::available(interpreters)
        )
    };
    let recipe = match runtimes::asked(runtime).ok_or_else(unknown)? {
        Asked::Native => native(tree, &file)?,
        Asked::Language(language, version) => {
            let supplied = |found: &Interpreter| contract.bundle(found).is_some();
            let found = runtimes::choose(interpreters, language, &version, supplied).ok_or_else(unknown)?;
            let bundle = contract.bundle(&found).map(PathBuf::as_path);
            match language {
                Language::Python => python(tree, &file, &found, bundle)?,
                Language::Node => node(tree, &file, &found, bundle)?,
            }
        }
    };
    let app = file::APP_NAMES.iter().find_map(|name| Some((*name, text(tree, name)?)));
    let app = app.map(|(name, text)| file::read_app(name, &text)).transpose()?;
    Ok(Cooked { file, app, recipe })
}

/// A small file of the folder. Links are not followed: they may lead anywhere.
fn text(tree: &Path, name: &str) -> Option<String> {
    let path = tree.join(name);
    let found = fs::symlink_metadata(&path).ok()?;
    (found.is_file() && found.len() <= FILE_MAX).then(|| fs::read_to_string(&path).ok())?
}

/// The words of entry point and command.
fn words(file: &FuncFile) -> (Vec<String>, Vec<String>) {
    let split = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    (split(&file.entrypoint), split(&file.cmd))
}

/// A path of a command as it is inside.
fn inside(path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    format!("{CODE}/{}", path.trim_start_matches("./"))
}

fn python(tree: &Path, file: &FuncFile, found: &Interpreter, bundle: Option<&Path>) -> Result<Recipe, String> {
    let runtime = runtimes::name_of(found);
    let (entry, cmd) = words(file);
    let own = [tree.to_owned(), tree.join("python")];
    let has = |package: &str| {
        let places = own.iter().map(PathBuf::as_path).chain(bundle);
        places.into_iter().any(|place| place.join(package).exists())
    };
    let (fdk, mut command) = match entry.split_first() {
        None => (true, vec![inside("func.py"), "handler".to_owned()]),
        Some((program, rest)) if program == "fdk" || program.ends_with("/fdk") => (true, rest.to_vec()),
        Some((program, rest))
            if program
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with("python")) =>
        {
            (false, rest.to_vec())
        }
        Some((program, _)) => {
            return Err(format!(
                "entrypoint {program:?} cannot start a Python function: it begins with /python/bin/fdk or python3"
            ));
        }
    };
    command.extend(cmd);
    let script = command.first_mut().ok_or("the entrypoint names no script")?;
    *script = inside(script);
    if fdk && !has("fdk") {
        return Err(format!(
            "the platform has no FDK for {runtime}: install it into the folder (pip install --target . fdk)"
        ));
    }
    for requirement in requirements(&text(tree, "requirements.txt").unwrap_or_default()) {
        if !own
            .iter()
            .map(PathBuf::as_path)
            .chain(bundle)
            .any(|place| is_installed(place, &requirement))
        {
            return Err(format!(
                "requirements.txt asks for {requirement:?}, which the folder does not bring: install it there (pip install \
                 --target . -r requirements.txt), or deploy with `sonagi deploy`, which does"
            ));
        }
    }
    Ok(Recipe { runtime, command, fdk })
}

/// Names of the packages that a requirements file asks for, as they are compared.
/// Source: PEP 508 (names), PEP 503 (normalized).
fn requirements(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| {
        let line = line.trim();
        let end = line
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .unwrap_or(line.len());
        let begins = line.starts_with(|c: char| c.is_ascii_alphanumeric());
        begins.then(|| normalized(&line[..end]))
    });
    names.collect()
}

fn normalized(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Whether a folder has the metadata of an installed package of this name.
fn is_installed(place: &Path, name: &str) -> bool {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let found = entry.file_name();
        let stem = found.to_str().and_then(|found| found.strip_suffix(".dist-info"));
        let package = stem.and_then(|stem| stem.rsplit_once('-'));
        package.is_some_and(|(package, _)| normalized(package) == name)
    })
}

fn node(tree: &Path, file: &FuncFile, found: &Interpreter, bundle: Option<&Path>) -> Result<Recipe, String> {
    let (entry, cmd) = words(file);
    let mut command = match entry.split_first() {
        None => vec![inside("func.js")],
        Some((program, rest)) if program.rsplit('/').next() == Some("node") => rest.to_vec(),
        Some((program, _)) => {
            return Err(format!(
                "entrypoint {program:?} cannot start a Node function: it begins with node"
            ));
        }
    };
    command.extend(cmd);
    let script = command.first_mut().ok_or("the entrypoint names no script")?;
    *script = inside(script);
    let package: Value = match text(tree, "package.json") {
        Some(text) => serde_json::from_str(&text).map_err(|error| format!("package.json: {error}"))?,
        None => Value::Null,
    };
    let modules = tree.join("node_modules");
    let names = package["dependencies"]
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys);
    for name in names {
        let plain = !name.split('/').any(|part| part.is_empty() || part.starts_with('.'));
        let brought = [Some(modules.as_path()), bundle]
            .into_iter()
            .flatten()
            .any(|place| place.join(name).exists());
        if !plain || !brought {
            return Err(format!(
                "package.json asks for {name:?}, which the folder does not bring: run npm install there, or deploy with \
                 `sonagi deploy`, which does"
            ));
        }
    }
    Ok(Recipe {
        runtime: runtimes::name_of(found),
        command,
        fdk: false,
    })
}

fn native(tree: &Path, file: &FuncFile) -> Result<Recipe, String> {
    let (entry, cmd) = words(file);
    let mut command = if entry.is_empty() {
        vec!["./func".to_owned()]
    } else {
        entry
    };
    command.extend(cmd);
    let program = inside(&command[0]);
    let at = program
        .strip_prefix(CODE)
        .map(|rest| tree.join(rest.trim_start_matches('/')));
    let executable = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if at.is_some_and(|path| !executable(&path)) {
        return Err(format!(
            "the folder has no executable {:?}: build the program before it is uploaded",
            command[0]
        ));
    }
    command[0] = program;
    Ok(Recipe {
        runtime: NATIVE.to_owned(),
        command,
        fdk: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(language: Language, version: &str) -> Interpreter {
        Interpreter {
            language,
            version: version.to_owned(),
            program: String::new(),
            mounts: Vec::new(),
            environment: Vec::new(),
        }
    }

    fn with(entrypoint: &str, cmd: &str) -> FuncFile {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        FuncFile {
            entrypoint: some(entrypoint),
            cmd: some(cmd),
            ..FuncFile::default()
        }
    }

    #[test]
    fn a_python_function_is_started_as_its_file_says() {
        let (tree, bundle) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(bundle.path().join("fdk")).unwrap();
        fs::create_dir(bundle.path().join("fdk-0.1.128.dist-info")).unwrap();
        let found = interpreter(Language::Python, "3.11.7");
        let cook = |entry: &str, cmd: &str| python(tree.path(), &with(entry, cmd), &found, Some(bundle.path()));
        for (entry, cmd, fdk, command) in [
            ("", "", true, "/function/func.py handler"),
            ("/python/bin/fdk /function/a.py go", "", true, "/function/a.py go"),
            ("fdk a.py", "go", true, "/function/a.py go"),
            ("python3 a.py x", "", false, "/function/a.py x"),
        ] {
            let recipe = cook(entry, cmd).unwrap();
            assert_eq!(
                (recipe.fdk, recipe.command.join(" ").as_str()),
                (fdk, command),
                "{entry}"
            );
        }
        assert!(cook("./run.sh", "").unwrap_err().contains("/python/bin/fdk"));
        assert!(cook("fdk", "").unwrap_err().contains("no script"));
        fs::write(tree.path().join("requirements.txt"), "# x\nfdk>=0.1.50\n").unwrap();
        assert!(cook("", "").is_ok());
        fs::write(
            tree.path().join("requirements.txt"),
            "fdk\nMy_Package[extra]==1 ; python_version > '3'\n",
        )
        .unwrap();
        assert!(cook("", "").unwrap_err().contains("\"my-package\""));
        fs::create_dir(tree.path().join("my_package-1.0.dist-info")).unwrap();
        assert!(cook("", "").is_ok());
        let bare = python(tree.path(), &with("", ""), &found, None);
        assert!(bare.unwrap_err().contains("no FDK for python3.11"));
    }

    #[test]
    fn node_and_programs_bring_what_they_need() {
        let tree = tempfile::tempdir().unwrap();
        let found = interpreter(Language::Node, "20.1.0");
        assert_eq!(
            node(tree.path(), &with("", ""), &found, None).unwrap().command,
            ["/function/func.js"]
        );
        fs::write(
            tree.path().join("package.json"),
            "{\"dependencies\": {\"left-pad\": \"1\"}}",
        )
        .unwrap();
        assert!(
            node(tree.path(), &with("node x.js", ""), &found, None)
                .unwrap_err()
                .contains("left-pad")
        );
        fs::create_dir_all(tree.path().join("node_modules/left-pad")).unwrap();
        assert_eq!(
            node(tree.path(), &with("node x.js", ""), &found, None).unwrap().command,
            ["/function/x.js"]
        );
        assert!(native(tree.path(), &with("", "")).unwrap_err().contains("./func"));
        fs::write(tree.path().join("func"), "").unwrap();
        assert!(native(tree.path(), &with("", "")).is_err());
        fs::set_permissions(tree.path().join("func"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(
            native(tree.path(), &with("", "-v")).unwrap().command,
            ["/function/func", "-v"]
        );
        assert_eq!(
            native(tree.path(), &with("/bin/sh a.sh", "")).unwrap().command,
            ["/bin/sh", "a.sh"]
        );
    }
}
