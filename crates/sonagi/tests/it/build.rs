//! Builds in real cells. They need namespaces, so root (or unprivileged user namespaces), and no network: what is installed
//! lies in the project.

use std::fs;
use std::io::Read as _;

use super::run::Stage;

/// A Python package in a wheel, which is a zip archive with a few files of metadata.
fn wheel(name: &str, module: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let about = format!("{name}-1.0.dist-info");
    for (path, text) in [
        (format!("{name}.py"), module),
        (format!("{about}/METADATA"), metadata.as_str()),
        (
            format!("{about}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (format!("{about}/RECORD"), ""),
    ] {
        writer
            .start_file(path, zip::write::SimpleFileOptions::default())
            .unwrap();
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[tokio::test]
async fn requirements_are_installed_once() {
    let stage = Stage::new().await;
    stage.write(
        "app/app.py",
        "import greet\ndef handler(event, context):\n    return greet.hello()\n",
    );
    stage.write("app/requirements.txt", "./greet-1.0-py3-none-any.whl\n");
    fs::write(
        stage.home.path().join("app/greet-1.0-py3-none-any.whl"),
        wheel("greet", "def hello(): return 'hi'\n"),
    )
    .unwrap();
    let first = stage.run(&["deploy", "app", "--output", "json"]).await;
    assert!(
        first.stderr.contains("installing requirements.txt …"),
        "{}",
        first.stderr
    );
    let first = first.json();
    let second = stage.run(&["deploy", "app", "--output", "json"]).await;
    assert!(!second.stderr.contains("installing"), "{}", second.stderr);
    assert_eq!(first["digest"], second.json()["digest"]);
    assert_eq!(
        fs::read_dir(stage.home.path().join("data/build-cache/work"))
            .unwrap()
            .count(),
        0
    );

    let layer = fs::read_dir(stage.home.path().join("data/build-cache/layers"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert!(layer.join("tree/greet.py").is_file());
    let compiled = fs::read_dir(layer.join("tree/__pycache__"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut start = [0; 8];
    fs::File::open(compiled).unwrap().read_exact(&mut start).unwrap();
    // PEP 552: bit 0 says that a hash stands in place of the time, bit 1 that it need not be checked.
    assert_eq!(start[4..], [1, 0, 0, 0], "compiled files must not depend on times");
}

#[tokio::test]
async fn a_build_sees_nothing_it_should_not() {
    let stage = Stage::new().await;
    stage.write("secret", "of the user");
    let secret = stage.home.path().join("secret");
    let probe = format!(
        "import os\n\
         raise SystemExit(repr(dict(\n\
             uid=os.getuid(), groups=os.getgroups(), secret=os.path.exists({secret:?}), token=os.environ.get('SONAGI_TOKEN'),\n\
             home=os.environ['HOME'], first=open('/proc/1/cmdline').read().split(chr(0))[1:3],\n\
             usr=os.access('/usr', os.W_OK), root=os.access('/', os.W_OK))))\n"
    );
    stage.write("app/app.py", "def handler(event, context): pass\n");
    stage.write("app/requirements.txt", "./package\n");
    stage.write("app/package/setup.py", &probe);
    let mut command = stage.command(&["deploy", "app"]);
    command.env("SONAGI_TOKEN", stage.served.token());
    command.env("PIP_NO_BUILD_ISOLATION", "1");
    // The package looks around and fails; the installation then shows what it said.
    let said = super::run::run(command).await.failed(7);
    assert!(said.contains("installing requirements.txt failed"), "{said}");
    for part in [
        "'uid': 65534",
        "'groups': []",
        "'secret': False",
        "'token': None",
        "'home': '/build/home'",
        "'first': ['-m', 'pip']",
        "'usr': False",
        "'root': False",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("hint: `--prebuilt`"), "{said}");
}

#[tokio::test]
async fn packages_are_installed_beside_the_code() {
    let stage = Stage::new().await;
    stage.write("app/index.js", "exports.handler = async () => require('left')();");
    stage.write(
        "app/package.json",
        "{\"name\":\"app\",\"version\":\"1.0.0\",\"dependencies\":{}}",
    );
    // Without dependencies nothing is installed, and what lies there goes along.
    stage.write("app/node_modules/left/index.js", "module.exports = () => 1;");
    let deployed = stage.run(&["deploy", "app", "--output", "json"]).await;
    assert!(!deployed.stderr.contains("installing"), "{}", deployed.stderr);
    let with = deployed.json()["size"].as_u64().unwrap();
    fs::remove_dir_all(stage.home.path().join("app/node_modules")).unwrap();
    assert!(stage.json(&["deploy", "app"]).await["size"].as_u64().unwrap() < with);
}

#[tokio::test]
async fn a_crate_without_dependencies_is_built() {
    let stage = Stage::new().await;
    // The crate that makes it a function lies in the project, so that no network is needed.
    let manifest = "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\nlambda_runtime = { path = \"runtime\" }\n";
    stage.write("hello/Cargo.toml", manifest);
    stage.write("hello/src/main.rs", "fn main() { lambda_runtime::run() }\n");
    stage.write(
        "hello/runtime/Cargo.toml",
        "[package]\nname = \"lambda_runtime\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
    );
    stage.write("hello/runtime/src/lib.rs", "pub fn run() {}\n");
    let deployed = stage.run(&["deploy", "hello", "--output", "json"]).await;
    assert!(deployed.stderr.contains("building with cargo …"), "{}", deployed.stderr);
    let deployed = deployed.json();
    assert_eq!(
        (deployed["runtime"].as_str(), deployed["handler"].as_str()),
        (Some("provided.al2023"), Some("bootstrap"))
    );
    assert_eq!(
        stage.json(&["deploy", "hello"]).await["digest"],
        deployed["digest"],
        "building again changes nothing"
    );
}
