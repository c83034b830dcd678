//! Recognition by table: files in, dialect, runtime, entry point, dependencies and code out.

use super::files::Files;
use super::recognize::Runtime;
use super::*;

/// Files of a test: path and content.
struct Table(Vec<(&'static str, &'static str)>);

impl Files for Table {
    fn paths(&self) -> Vec<&str> {
        self.0.iter().map(|(path, _)| *path).collect()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, text)| text.as_bytes().to_vec())
    }
}

fn summary(project: &Project) -> String {
    let runtime = match &project.runtime {
        Runtime::Named(name) => name.clone(),
        Runtime::Newest {
            language,
            version: Some(version),
        } => format!("{}@{version}", language.name()),
        Runtime::Newest {
            language,
            version: None,
        } => language.name().to_owned(),
    };
    let dependencies = match &project.dependencies {
        Dependencies::None => String::new(),
        Dependencies::Pip => " +pip".to_owned(),
        Dependencies::Npm { locked } => format!(" +npm{}", if *locked { "(locked)" } else { "" }),
        Dependencies::Cargo { program, .. } => format!(" +cargo({program})"),
    };
    let code = match &project.code {
        Code::Whole => String::new(),
        Code::Renamed { from, to } => format!(" {from}=>{to}"),
        Code::Built => " built".to_owned(),
    };
    format!("{runtime} {}{dependencies}{code}", project.handler)
}

const PY: &str = "def handler(event, context):\n    return event\n";
const CJS: &str = "exports.handler = async (e) => e";
const ESM: &str = "export const handler = async (e) => e";
const CARGO: &str = "[package]\nname = \"rust-hello\"\n[[bin]]\nname = \"bootstrap\"\npath = \"src/main.rs\"\n[dependencies]\nlambda_runtime = \"1\"\n";

#[test]
fn folders_are_recognized() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("app.py", PY)], "python app.handler"),
        (&[("other.py", "x = 1"), ("util.py", PY)], "python util.handler"),
        (
            &[("app.py", PY), ("lambda_function.py", "def lambda_handler(e, c): pass")],
            "python lambda_function.lambda_handler",
        ),
        (
            &[("app.py", PY), ("requirements.txt", "# none\n\n")],
            "python app.handler",
        ),
        (
            &[("app.py", PY), ("requirements.txt", "idna==3.10")],
            "python app.handler +pip",
        ),
        (
            &[(".python-version", "3.11.7\n"), ("app.py", PY)],
            "python@3.11.7 app.handler",
        ),
        (&[("index.mjs", ESM)], "node index.handler"),
        (&[(".nvmrc", "v20\n"), ("index.js", CJS)], "node@20 index.handler"),
        (&[(".nvmrc", "lts/*"), ("index.js", CJS)], "node index.handler"),
        (
            &[("index.js", CJS), ("package.json", "{\"dependencies\":{}}")],
            "node index.handler",
        ),
        (
            &[("index.js", CJS), ("package.json", "{\"dependencies\":{\"a\":\"1\"}}")],
            "node index.handler +npm",
        ),
        (
            &[
                ("index.js", CJS),
                ("package-lock.json", "{}"),
                ("package.json", "{\"dependencies\":{\"a\":\"1\"}}"),
            ],
            "node index.handler +npm(locked)",
        ),
        (
            &[
                ("package.json", "{\"main\":\"./lib/entry.js\"}"),
                ("index.js", "1"),
                ("lib/entry.js", CJS),
            ],
            "node lib/entry.handler",
        ),
        // What belongs to a Python project's tools need not be read.
        (&[("package.json", "not json"), ("app.py", PY)], "python app.handler"),
        (
            &[("Cargo.toml", CARGO), ("src/main.rs", "")],
            "provided.al2023 bootstrap +cargo(bootstrap) built",
        ),
        (&[("bootstrap", "#!/bin/bash\n")], "provided.al2023 bootstrap"),
        (&[("bootstrap", "\x7fELF...")], "provided.al2023 bootstrap"),
        (
            &[
                ("app.py", PY),
                ("bootstrap", "#!/bin/sh"),
                ("requirements.txt", "awslambdaric"),
            ],
            "provided.al2023 bootstrap +pip",
        ),
        (&[("app.py", PY), ("bootstrap", "just text")], "python app.handler"),
        // A dependency's own file is not the entry point.
        (&[("index.js", CJS), ("vendor/x.py", PY)], "node index.handler"),
        (
            &[("Cargo.toml", "[package]\nname = \"tool\"\n"), ("app.py", PY)],
            "python app.handler",
        ),
    ];
    for (files, expected) in cases {
        let found = recognize(&Table(files.to_vec()), &Wish::default(), None);
        assert_eq!(found.as_ref().map(summary).as_deref(), Ok(*expected), "{files:?}");
        assert_eq!(found.unwrap().dialect.provider, "aws");
    }
}

#[test]
fn single_files_are_recognized() {
    let cases: &[(&str, &str, &str)] = &[
        ("hello.py", PY, "python hello.handler"),
        ("hello.js", CJS, "node hello.handler"),
        ("hello.mjs", ESM, "node hello.handler"),
        ("hello.js", ESM, "node hello.handler hello.js=>hello.mjs"),
        ("serve", "\x7fELF", "provided.al2023 bootstrap serve=>bootstrap"),
        ("run.sh", "#!/bin/bash", "provided.al2023 bootstrap run.sh=>bootstrap"),
        ("bootstrap", "#!/bin/bash", "provided.al2023 bootstrap"),
    ];
    for (name, text, expected) in cases {
        let found = recognize(&Table(vec![(name, text)]), &Wish::default(), Some(name));
        assert_eq!(found.as_ref().map(summary).as_deref(), Ok(*expected), "{name}");
    }
}

#[test]
fn wishes_win() {
    let wish = |provider: Option<&str>, runtime: Option<&str>, handler: Option<&str>| Wish {
        provider: provider.map(str::to_owned),
        runtime: runtime.map(str::to_owned),
        handler: handler.map(str::to_owned),
    };
    let check = |files: &[(&'static str, &'static str)], wish: &Wish, expected: Result<&str, &str>| {
        let found = recognize(&Table(files.to_vec()), wish, None);
        match expected {
            Ok(expected) => assert_eq!(found.as_ref().map(summary).as_deref(), Ok(expected)),
            Err(part) => assert!(found.unwrap_err().message.contains(part), "{wish:?}"),
        }
    };
    let both: &[_] = &[("app.py", PY), ("index.js", CJS)];
    check(
        both,
        &wish(None, Some("nodejs20.x"), None),
        Ok("nodejs20.x index.handler"),
    );
    check(both, &wish(None, None, Some("index.main")), Ok("node index.main"));
    check(both, &wish(None, Some("python3.11"), Some("x.y")), Ok("python3.11 x.y"));
    check(
        both,
        &wish(None, Some("provided.al2023"), None),
        Err("no function was found"),
    );
    check(
        both,
        &wish(Some("nowhere"), None, None),
        Err("\"nowhere\" are not read"),
    );
    check(
        &[("src/main.py", "def go(a, b): 1")],
        &wish(None, None, Some("src/main.go")),
        Ok("python src/main.go"),
    );
    check(
        &[("host.json", "{}"), ("app.py", PY)],
        &wish(None, None, None),
        Err("Azure Functions"),
    );
    check(
        &[("host.json", "{}"), ("app.py", PY)],
        &wish(Some("aws"), None, None),
        Ok("python app.handler"),
    );
}

#[test]
fn what_is_no_function_is_explained() {
    for (files, part) in [
        (&[("readme.md", "")][..], "no function was found in the folder"),
        (&[("app.py", "def go(args): pass")], "no function was found"),
        (&[("index.ts", "")], "TypeScript has to be compiled"),
        (
            &[("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/main.rs", "")],
            "does not depend on lambda_runtime",
        ),
        (&[("app.py", "from inner import *")], "app.py says `from … import *`"),
        (
            &[("index.js", "module.exports = require('./x')")],
            "`--handler index.handler`",
        ),
        (
            &[("hello/app.py", PY), ("template.yaml", "")],
            "template.yaml is not read",
        ),
    ] {
        let error = recognize(&Table(files.to_vec()), &Wish::default(), None).unwrap_err();
        assert!(error.message.contains(part), "{}", error.message);
        assert!(error.hint.contains("sonagi new"));
    }
}

#[test]
fn actions_are_recognized_where_nothing_else_is() {
    const ACTION: &str = "function main(params) { return params }";
    type Case<'a> = (&'a [(&'static str, &'static str)], Option<&'a str>, &'a str);
    let cases: &[Case<'_>] = &[
        (&[("hello.js", ACTION)], Some("hello.js"), "openwhisk node hello.main"),
        (
            &[("hello.py", "def main(args):\n    return args")],
            None,
            "openwhisk python hello.main",
        ),
        (
            &[("hello.py", "def main(args): 1\ndef handler(e, c): 2")],
            None,
            "aws python hello.handler",
        ),
        (
            &[
                ("manifest.yaml", "packages:\n  a:\n"),
                ("x.js", "exports.handler = 1"),
                ("y.js", ACTION),
            ],
            None,
            "openwhisk node y.main",
        ),
    ];
    for (files, alone, expected) in cases {
        let project = recognize(&Table(files.to_vec()), &Wish::default(), *alone).unwrap();
        assert_eq!(format!("{} {}", project.dialect.provider, summary(&project)), *expected);
    }
    let asked = Wish {
        provider: Some("ow".to_owned()),
        ..Wish::default()
    };
    let files = Table(vec![("app.py", "def main(args): 1\ndef handler(e, c): 2")]);
    assert_eq!(recognize(&files, &asked, None).unwrap().handler, "app.main");
    assert!(recognize(&Table(vec![("app.py", PY)]), &asked, None).is_err());
}

#[test]
fn a_broken_package_is_an_error_with_its_place() {
    for (text, part) in [
        (
            "{\n  \"name\": \"x\",\n}",
            "package.json is no valid JSON: trailing comma at line 3 column 1",
        ),
        ("[]", "package.json holds no JSON object"),
    ] {
        let files = Table(vec![("package.json", text), ("index.js", CJS)]);
        let error = recognize(&files, &Wish::default(), None).unwrap_err();
        assert!(
            error.message.contains(part) && error.hint.contains("correct it"),
            "{}",
            error.message
        );
    }
}
