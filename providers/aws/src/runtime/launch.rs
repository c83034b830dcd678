//! What is started in an instance: the program of each runtime, and the entry point that custom runtimes must have.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sonagi_model::Mebibytes;
use sonagi_ports::{ContractError, Interpreter, Interpreters, Language, Mount};

use super::extensions::EXTENSIONS_MAX;

/// Where the code is inside. Source: AWS Lambda, "Runtime environment variables", `LAMBDA_TASK_ROOT`.
pub(super) const TASK_ROOT: &str = "/var/task";
/// Where layers are inside. Source: AWS Lambda developer guide, "Packaging your layer content".
pub(super) const LAYERS: &str = "/opt";
/// Where the runtime is inside. Source: the same, `LAMBDA_RUNTIME_DIR`.
pub(super) const RUNTIME_DIR: &str = "/var/runtime";
/// A program that the user puts before that of a managed runtime.
/// Source: AWS Lambda developer guide, "Using wrapper scripts".
pub(super) const EXEC_WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// Where the supervisor is inside.
const SUPERVISOR_DIR: &str = "/var/supervisor";
/// The supervisor's name in its folder.
pub(super) const SUPERVISOR: &str = "supervise";
/// A variable that extensions do not get. Source: AWS's open runtime interface emulator (commit 4fa2157).
const RUNTIME_ONLY: &str = "AWS_XRAY_CONTEXT_MISSING";
/// A file in a layer that switches all extensions off.
/// Source: AWS's open runtime interface emulator (commit 4fa2157).
const DISABLED: &str = "disable-extensions-jwigqn8j";

/// The external extensions in layers, as paths inside: every file of `extensions` that is no folder.
///
/// # Errors
/// [`ContractError::EntryPoint`]: there are too many.
pub(super) fn extensions(layers: &Path) -> Result<Vec<String>, ContractError> {
    if layers.join(DISABLED).symlink_metadata().is_ok() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(layers.join("extensions")).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
    let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    if names.len() > EXTENSIONS_MAX {
        return Err(ContractError::EntryPoint {
            kind: "Extension.TooManyExtensions".to_owned(),
            message: format!("{} extensions in layers; the limit is {EXTENSIONS_MAX}", names.len()),
        });
    }
    Ok(names.iter().map(|name| format!("{LAYERS}/extensions/{name}")).collect())
}

/// The mount of the supervisor's folder.
pub(super) fn supervisor_mount(source: PathBuf) -> Mount {
    Mount {
        source,
        target: SUPERVISOR_DIR.to_owned(),
        executable: true,
    }
}

/// There is nothing to start extensions with.
pub(super) fn unsupervised() -> ContractError {
    ContractError::EntryPoint {
        kind: "Extension.LaunchError".to_owned(),
        message: "this platform has no supervisor to start extensions with".to_owned(),
    }
}

/// The supervisor's command line (`sandbox-linux`, `init/supervise.rs`) around the runtime's.
pub(super) fn supervised(port: u16, channel: bool, extensions: &[String], runtime: Vec<String>) -> Vec<String> {
    let mut program = vec![
        format!("{SUPERVISOR_DIR}/{SUPERVISOR}"),
        port.to_string(),
        u8::from(channel).to_string(),
        RUNTIME_ONLY.to_owned(),
        extensions.len().to_string(),
    ];
    program.extend_from_slice(extensions);
    program.extend(runtime);
    program
}

/// A runtime identifier, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runtime<'a> {
    /// The platform brings the interpreter and the bootstrap.
    Managed(Language, &'a str),
    /// The function brings an executable named `bootstrap`.
    Provided,
}

impl<'a> Runtime<'a> {
    /// From `python3.N`, `nodejsN.x`, `provided`, `provided.al2` or `provided.al2023`.
    pub(super) fn parse(runtime: &'a str) -> Option<Self> {
        let number = |text: &str| !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(version) = runtime.strip_prefix("python") {
            return version
                .strip_prefix("3.")
                .is_some_and(number)
                .then_some(Self::Managed(Language::Python, version));
        }
        if let Some(version) = runtime.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x")) {
            return number(version).then_some(Self::Managed(Language::Node, version));
        }
        matches!(runtime, "provided" | "provided.al2" | "provided.al2023").then_some(Self::Provided)
    }
}

/// The identifier under which functions ask for this interpreter.
pub(super) fn runtime_of(interpreter: &Interpreter) -> String {
    let mut parts = interpreter.version.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match interpreter.language {
        Language::Python => format!("python{major}.{minor}"),
        Language::Node => format!("nodejs{major}.x"),
    }
}

/// The interpreter of exactly the version asked for: never another one in its place.
pub(super) fn interpreter(
    interpreters: &dyn Interpreters,
    runtime: &str,
    language: Language,
    version: &str,
) -> Result<Interpreter, ContractError> {
    interpreters
        .find(language, version)
        .ok_or_else(|| missing(interpreters, runtime))
}

/// The host lacks a runtime; the hint names those that it has.
pub(super) fn missing(interpreters: &dyn Interpreters, runtime: &str) -> ContractError {
    let mut names: Vec<String> = interpreters.all().iter().map(runtime_of).collect();
    names.sort();
    names.dedup();
    names.push("provided.al2023".to_owned());
    let install = match Runtime::parse(runtime) {
        Some(Runtime::Managed(Language::Python, version)) => format!("; install Python {version} on it and restart"),
        Some(Runtime::Managed(Language::Node, version)) => format!("; install Node.js {version} on it and restart"),
        Some(Runtime::Provided) | None => String::new(),
    };
    let hint = format!("this host has {}{install}", names.join(", "));
    ContractError::RuntimeMissing {
        runtime: runtime.to_owned(),
        hint,
    }
}

/// Program and arguments of a managed runtime. The script is the last argument: wrapper scripts insert options before it.
/// Source: AWS Lambda developer guide, "Using wrapper scripts" (sample `importtime_wrapper`).
pub(super) fn managed_program(interpreter: &Interpreter, memory: Mebibytes, wrapper: Option<&str>) -> Vec<String> {
    let mut program = Vec::new();
    if let Some(wrapper) = wrapper.filter(|wrapper| !wrapper.is_empty()) {
        // As in Lambda, a shell starts the wrapper: a missing one ends in exit status 127.
        program.extend(["/bin/sh", "-c", "exec \"$0\" \"$@\"", wrapper].map(str::to_owned));
    }
    program.push(interpreter.program.clone());
    match interpreter.language {
        // Without `site` the interpreter starts in a quarter less time, and packages of the host stay out of sight.
        Language::Python => program.extend(["-S".to_owned(), format!("{RUNTIME_DIR}/bootstrap.py")]),
        Language::Node => {
            program.extend(heap_options(memory));
            program.push(format!("{RUNTIME_DIR}/bootstrap.cjs"));
        }
    }
    program
}

/// V8 sizes its heap by the host's memory; told the function's, it collects garbage before the limit ends the process.
/// The shares are those of Lambda's own bootstrap script: 90 % old space, 5 % for each half of the young one.
fn heap_options(memory: Mebibytes) -> [String; 2] {
    [
        format!("--max-semi-space-size={}", (memory.0 * 5 / 100).clamp(1, 16)),
        format!("--max-old-space-size={}", memory.0 * 90 / 100),
    ]
}

/// Program of a custom runtime, after a look at the code on the host. Lambda looks for `/var/task/bootstrap`,
/// `/opt/bootstrap` and `/var/runtime/bootstrap`; the last cannot exist here.
pub(super) fn provided_program(tree: &Path, layers: Option<&Path>) -> Result<Vec<String>, ContractError> {
    let in_layers = layers.filter(|layers| {
        let is_file = |root: &Path| fs::symlink_metadata(root.join("bootstrap")).is_ok_and(|found| !found.is_dir());
        !is_file(tree) && is_file(layers)
    });
    match in_layers {
        Some(layers) => bootstrap_in(layers, LAYERS),
        None => bootstrap_in(tree, TASK_ROOT),
    }
}

fn bootstrap_in(tree: &Path, inside: &str) -> Result<Vec<String>, ContractError> {
    let invalid = |message: String| ContractError::EntryPoint {
        kind: "Runtime.InvalidEntrypoint".to_owned(),
        message,
    };
    let program = format!("{inside}/bootstrap");
    let found = match fs::symlink_metadata(tree.join("bootstrap")) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(invalid(
                "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned(),
            ));
        }
        Err(error) => return Err(invalid(format!("fork/exec {program}: {error}"))),
    };
    if found.is_dir() {
        return Err(invalid(
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned(),
        ));
    }
    // A link is followed by the kernel inside the sandbox, never on the host.
    if !found.is_symlink() && found.permissions().mode() & 0o111 == 0 {
        return Err(invalid(format!("fork/exec {program}: permission denied")));
    }
    Ok(vec![program])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_names_are_read_exactly() {
        use Language::{Node, Python};
        let cases = [
            ("python3.11", Some(Runtime::Managed(Python, "3.11"))),
            ("nodejs20.x", Some(Runtime::Managed(Node, "20"))),
            ("provided", Some(Runtime::Provided)),
            ("provided.al2023", Some(Runtime::Provided)),
            ("python2.7", None),
            ("python3", None),
            ("python3.", None),
            ("python3.11.7", None),
            ("python3.x", None),
            ("nodejs20", None),
            ("nodejs.x", None),
            ("nodejs20.9.x", None),
            ("ruby3.3", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Runtime::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_wrapper_gets_the_whole_command_line_with_the_script_last() {
        let interpreter = Interpreter {
            language: Language::Node,
            version: "20.1.0".to_owned(),
            program: "/usr/bin/node".to_owned(),
            mounts: Vec::new(),
            environment: Vec::new(),
        };
        let bare = managed_program(&interpreter, Mebibytes(256), None);
        assert_eq!(
            bare,
            [
                "/usr/bin/node",
                "--max-semi-space-size=12",
                "--max-old-space-size=230",
                "/var/runtime/bootstrap.cjs"
            ]
        );
        let wrapped = managed_program(&interpreter, Mebibytes(256), Some("/var/task/wrap"));
        assert_eq!(wrapped[..4], ["/bin/sh", "-c", "exec \"$0\" \"$@\"", "/var/task/wrap"]);
        assert_eq!(wrapped[4..], bare);
        assert_eq!(managed_program(&interpreter, Mebibytes(256), Some("")), bare);
        assert_eq!(runtime_of(&interpreter), "nodejs20.x");
    }

    #[test]
    fn extensions_are_the_files_of_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(extensions(dir.path()).unwrap(), [""; 0]);
        let folder = dir.path().join("extensions");
        fs::create_dir_all(folder.join("library")).unwrap();
        for name in ["b", "a.sh"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let found = extensions(dir.path()).unwrap();
        assert_eq!(found, ["/opt/extensions/a.sh", "/opt/extensions/b"]);
        let program = supervised(1, true, &found, vec!["/bin/x".to_owned(), "y".to_owned()]);
        assert_eq!(program[1..5], ["1", "1", RUNTIME_ONLY, "2"]);
        assert_eq!(program[7..], ["/bin/x", "y"]);
        for number in 0..EXTENSIONS_MAX {
            fs::write(folder.join(number.to_string()), "").unwrap();
        }
        assert!(extensions(dir.path()).is_err());
        fs::write(dir.path().join(DISABLED), "").unwrap();
        assert_eq!(extensions(dir.path()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_custom_runtime_needs_an_executable_bootstrap() {
        let dir = tempfile::tempdir().unwrap();
        let message = |dir: &Path| provided_program(dir, None).unwrap_err().to_string();
        assert!(message(dir.path()).starts_with("Runtime.InvalidEntrypoint: Couldn't find valid bootstrap(s)"));
        let path = dir.path().join("bootstrap");
        fs::create_dir(&path).unwrap();
        assert!(message(dir.path()).contains("Couldn't find"));
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(message(dir.path()).ends_with("fork/exec /var/task/bootstrap: permission denied"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(provided_program(dir.path(), None).unwrap(), ["/var/task/bootstrap"]);
        let code = tempfile::tempdir().unwrap();
        let program = provided_program(code.path(), Some(dir.path())).unwrap();
        assert_eq!(program, ["/opt/bootstrap"]);
        let both = provided_program(dir.path(), Some(dir.path())).unwrap();
        assert_eq!(both, ["/var/task/bootstrap"]);
    }
}
