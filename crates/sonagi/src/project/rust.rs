//! What a Cargo project says about its program.

use toml::{Table, Value};

/// The crate that makes a program its own runtime.
const RUNTIME_CRATES: &[&str] = &["lambda_runtime", "lambda_http"];

/// A package that builds one program which is a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The package.
    pub package: String,
    /// The program's name.
    pub program: String,
    /// The crate that shows that it is a function.
    pub because: &'static str,
}

/// Reads `Cargo.toml`; `Err` says why it is none that can be deployed.
pub fn package(text: &str, has_main: bool, programs_in_bin: &[String]) -> Result<Package, String> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| format!("Cargo.toml: {}", error.message()))?;
    let package = table
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(Value::as_str)
        .ok_or("Cargo.toml has no [package]: deploy the folder of one member of the workspace")?;
    let because =
        dependency(&table).ok_or_else(|| format!("Cargo.toml does not depend on {}", RUNTIME_CRATES.join(" or ")))?;
    let mut programs: Vec<String> = table
        .get("bin")
        .and_then(Value::as_array)
        .map(|bins| {
            bins.iter()
                .filter_map(|bin| bin.get("name")?.as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    if programs.is_empty() && has_main {
        programs.push(package.to_owned());
    }
    programs.extend(
        programs_in_bin
            .iter()
            .filter(|name| !programs.contains(name))
            .cloned()
            .collect::<Vec<_>>(),
    );
    let program = match programs.as_slice() {
        [one] => one.clone(),
        [] => return Err("Cargo.toml: no program is built".to_owned()),
        several => several
            .iter()
            .find(|name| *name == "bootstrap" || *name == package)
            .cloned()
            .ok_or_else(|| {
                format!(
                    "Cargo.toml builds several programs ({}), none named `bootstrap`",
                    several.join(", ")
                )
            })?,
    };
    Ok(Package {
        package: package.to_owned(),
        program,
        because,
    })
}

fn dependency(table: &Table) -> Option<&'static str> {
    let direct = table.get("dependencies").and_then(Value::as_table);
    let for_targets = table
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    let for_targets = for_targets.filter_map(|target| target.get("dependencies")?.as_table());
    let tables: Vec<&Table> = direct.into_iter().chain(for_targets).collect();
    RUNTIME_CRATES.iter().copied().find(|name| {
        tables.iter().any(|table| {
            let renamed = |value: &Value| value.get("package").and_then(Value::as_str) == Some(name);
            table.contains_key(*name) || table.contains_key(&name.replace('_', "-")) || table.values().any(renamed)
        })
    })
}

/// Whether a `Cargo.toml` begins a workspace.
pub fn is_workspace(text: &str) -> bool {
    text.parse::<Table>().is_ok_and(|table| table.contains_key("workspace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_package_is_found() {
        let base = "[package]\nname = \"hello\"\n[dependencies]\nlambda_runtime = \"1\"\n";
        let check = |text: &str, has_main, bins: &[&str]| {
            let bins: Vec<String> = bins.iter().map(|name| (*name).to_owned()).collect();
            package(text, has_main, &bins).map(|found| found.program)
        };
        assert_eq!(check(base, true, &[]).as_deref(), Ok("hello"));
        assert_eq!(check(base, false, &["only"]).as_deref(), Ok("only"));
        assert_eq!(
            check(&format!("{base}[[bin]]\nname = \"bootstrap\"\n"), true, &["other"]).as_deref(),
            Ok("bootstrap")
        );
        assert_eq!(check(base, true, &["other"]).as_deref(), Ok("hello"));
        assert!(
            check(base, false, &["a", "b"])
                .unwrap_err()
                .contains("several programs")
        );
        assert!(check(base, false, &[]).unwrap_err().contains("no program"));
        assert!(
            check("[package]\nname = \"x\"\n", true, &[])
                .unwrap_err()
                .contains("does not depend")
        );
        assert!(check("[workspace]\n", true, &[]).unwrap_err().contains("member"));
        assert!(check("[", true, &[]).is_err());
        let renamed = "[package]\nname = \"h\"\n[target.'cfg(unix)'.dependencies]\nlr = { package = \"lambda_http\", version = \"1\" }\n";
        assert_eq!(package(renamed, true, &[]).unwrap().because, "lambda_http");
        assert!(is_workspace("[workspace]\nmembers = []") && !is_workspace(base));
    }
}
