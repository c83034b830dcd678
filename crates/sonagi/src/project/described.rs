//! Projects that a file of their own describes: what it says of name and runtime is read here, the rest by the provider.

use super::dialect::{Dialect, Language, Told};
use super::files::Files;
use super::languages::{npm, pip};
use super::recognize::{Code, Dependencies, Project, Runtime, Unrecognized, Wish, unrecognized};

/// What tells such a file from one of another provider under the same name.
const VERSION: &str = "schema_version";

/// Packages that the platform itself brings, by language: what needs nothing else needs no installation.
const BROUGHT: [&str; 2] = ["fdk", "@fnproject/fdk"];

/// Whether a file describes these files as functions of this dialect.
pub(super) fn is_of(files: &dyn Files, dialect: &Dialect) -> bool {
    match dialect.told {
        Told::ByCode => false,
        Told::ByFile(names) => names.iter().any(|name| describes(files, name)),
    }
}

fn describes(files: &dyn Files, name: &str) -> bool {
    files.has(name) && files.text(name).is_some_and(|text| text.contains(VERSION))
}

/// Reads the file that describes the project.
pub(super) fn recognize(
    files: &dyn Files,
    dialect: Dialect,
    names: &[&str],
    wish: &Wish,
) -> Result<Project, Unrecognized> {
    let file = names.iter().copied().find(|name| describes(files, name));
    let file = file.ok_or_else(|| {
        let hint = format!("write one: {VERSION}: 20180708, name: NAME, runtime: python or node");
        unrecognized(format!("the folder has no {} with a {VERSION}", names[0]), hint)
    })?;
    if let Some(handler) = &wish.handler {
        let message = format!("handler {handler:?} is not what {file} says");
        return Err(unrecognized(
            message,
            "write it there, as entrypoint, and leave --handler out",
        ));
    }
    let text = files.text(file).unwrap_or_default();
    let runtime = scalar(&text, "runtime").ok_or_else(|| {
        unrecognized(
            format!("{file} names no runtime"),
            "add a line, for instance `runtime: python`",
        )
    })?;
    let runtime = wish.runtime.clone().unwrap_or(runtime);
    let dependencies = match dialect.language(&runtime) {
        Some((Language::Python, _)) if asks_for_more(files) => pip(files),
        Some((Language::Node, _)) if requires_more(files) => npm(files)?,
        Some(_) | None => Dependencies::None,
    };
    Ok(Project {
        dialect,
        because: format!("{file} describes it"),
        handler: scalar(&text, "entrypoint").unwrap_or_else(|| "the runtime's own".to_owned()),
        runtime: Runtime::Named(runtime),
        dependencies,
        code: Code::Whole,
        name: scalar(&text, "name"),
    })
}

/// Whether `requirements.txt` asks for anything but what the platform brings.
fn asks_for_more(files: &dyn Files) -> bool {
    let text = files.text("requirements.txt").unwrap_or_default();
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.into_iter().any(|line| {
        let end = line
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
            .unwrap_or(line.len());
        // A pinned version is meant.
        !BROUGHT.contains(&&line[..end]) || line[end..].contains("==")
    })
}

/// Whether `package.json` names anything but what the platform brings, or is not to be read: then npm says so.
fn requires_more(files: &dyn Files) -> bool {
    let Some(text) = files.text("package.json") else {
        return false;
    };
    let Ok(package) = serde_json::from_str::<serde_json::Value>(&text) else {
        return true;
    };
    let parts = ["dependencies", "optionalDependencies"];
    let names = parts
        .iter()
        .filter_map(|part| package[*part].as_object())
        .flat_map(serde_json::Map::keys);
    names.into_iter().any(|name| !BROUGHT.contains(&name.as_str()))
}

/// The value of a key at the top of the file: of YAML, one that stands on the key's own line.
pub(super) fn scalar(text: &str, key: &str) -> Option<String> {
    if text.trim_start().starts_with('{') {
        let document: serde_json::Value = serde_json::from_str(text).ok()?;
        return document[key].as_str().map(str::to_owned);
    }
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?
        .trim();
    let quoted = |quote: char| line.strip_prefix(quote)?.split(quote).next();
    let plain = || line.split(" #").next().unwrap_or_default().trim();
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or_else(plain);
    (!value.is_empty() && !value.starts_with('#')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_found_at_the_top_only() {
        let text =
            "schema_version: 20180708\nname: hello # its name\nruntime: \"python3.11\"\nconfig:\n  memory: 1\nempty:\n";
        for (key, expected) in [
            ("name", Some("hello")),
            ("runtime", Some("python3.11")),
            ("memory", None),
            ("empty", None),
            ("nam", None),
        ] {
            assert_eq!(scalar(text, key).as_deref(), expected, "{key}");
        }
        assert_eq!(scalar("{\"name\": \"j\"}", "name").as_deref(), Some("j"));
    }
}
