//! [`FnContract`]: this provider's side of the engine's [`Contract`] port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sonagi_model::{InstanceLimits, Revision, RevisionSpec};
use sonagi_ports::{
    CellKind, Contract, ContractError, ContractLimits, Interpreter, Interpreters, Language, Launch, LaunchPlan, Moment,
    Mount, Opening, Session, Stem,
};

use super::bootstraps::{BootstrapError, Bootstraps};
use super::envelope;
use super::environment::{self, CODE, MODULES, PYTHON};
use super::session::{Bounds, FnSession};
use crate::ids;
use crate::limits::FnLimits;
use crate::records::{FnRecord, Recipe};
use crate::runtimes::{self, Runtime};

/// The name that revisions of functions carry.
pub const CONTRACT: &str = "fn";

/// Where the bootstrap is inside.
const RUNTIME: &str = "/var/runtime";
/// Processes and threads of a container. Upstream: 50, without an init that counts as one.
const PROCESSES: u32 = 64;

/// Makes the folder of the socket, then becomes the program.
const MEET: &str = "mkdir -p /tmp/iofs && exec \"$@\"";

/// Folders with packages that functions of a runtime may use without bringing them: the FDKs.
#[derive(Debug, Clone, Default)]
pub struct Bundles {
    /// By version, as in `3.11`.
    pub python: Vec<(String, PathBuf)>,
    /// `node_modules`.
    pub node: Option<PathBuf>,
}

/// Fn's contract. See the module.
#[derive(Debug)]
pub struct FnContract {
    interpreters: Arc<dyn Interpreters>,
    base_system: Vec<Mount>,
    bootstraps: Bootstraps,
    bundles: Bundles,
    limits: FnLimits,
}

impl FnContract {
    /// Writes the embedded bootstraps to a folder, which blocks for some tens of milliseconds. `base_system` is mounted in
    /// every instance.
    ///
    /// # Errors
    /// [`BootstrapError`] when the folder cannot be written.
    pub fn new(
        interpreters: Arc<dyn Interpreters>,
        base_system: Vec<Mount>,
        folder: PathBuf,
        bundles: Bundles,
        limits: FnLimits,
    ) -> Result<Self, BootstrapError> {
        let bootstraps = Bootstraps::write(folder, &interpreters.all())?;
        Ok(Self {
            interpreters,
            base_system,
            bootstraps,
            bundles,
            limits,
        })
    }

    /// Interpreters of the host.
    pub(crate) fn interpreters(&self) -> &dyn Interpreters {
        self.interpreters.as_ref()
    }

    /// The folder with the platform's packages for an interpreter.
    pub(crate) fn bundle(&self, interpreter: &Interpreter) -> Option<&PathBuf> {
        match interpreter.language {
            Language::Python => {
                let name = runtimes::name_of(interpreter);
                let version = name.strip_prefix("python")?;
                let found = self.bundles.python.iter().find(|(known, _)| known == version);
                found.map(|(_, folder)| folder)
            }
            Language::Node => self.bundles.node.as_ref(),
        }
    }

    /// The interpreter that runs a revision's runtime; none for a program of its own.
    fn resolve(&self, runtime: &str) -> Result<Option<Interpreter>, ContractError> {
        let missing = |hint: &str| ContractError::RuntimeMissing {
            runtime: runtime.to_owned(),
            hint: hint.to_owned(),
        };
        match Runtime::of(runtime) {
            Some(Runtime::Managed(language, version)) => {
                let found = self.interpreters.find(language, version);
                found
                    .map(Some)
                    .ok_or_else(|| missing("install its interpreter on this host and restart the platform"))
            }
            Some(Runtime::Native) => Ok(None),
            None => Err(missing(
                "this platform runs no container images; upload the function's folder",
            )),
        }
    }

    fn mounts_of(&self, interpreter: Option<&Interpreter>) -> Vec<Mount> {
        let mut mounts = interpreter.map(|found| found.mounts.clone()).unwrap_or_default();
        for mount in &self.base_system {
            if !mounts.contains(mount) {
                mounts.push(mount.clone());
            }
        }
        let Some(interpreter) = interpreter else { return mounts };
        let mut show = |source: PathBuf, target: &str, executable| {
            mounts.push(Mount {
                source,
                target: target.to_owned(),
                executable,
            });
        };
        show(self.bootstraps.folder(interpreter.language), RUNTIME, false);
        if let Some(bundle) = self.bundle(interpreter) {
            let target = match interpreter.language {
                Language::Python => PYTHON,
                Language::Node => MODULES,
            };
            // Some of Python's packages are compiled.
            show(bundle.clone(), target, interpreter.language == Language::Python);
        }
        mounts
    }

    fn cell_of(&self, interpreter: Option<&Interpreter>, spec: &RevisionSpec) -> CellKind {
        CellKind {
            outside: spec.outside,
            mounts: self.mounts_of(interpreter),
            stem: interpreter
                .filter(|found| boots_alike(found.language, spec))
                .map(|found| {
                    let mut program = start_of(found, spec);
                    program.push("stem".to_owned());
                    Stem {
                        program,
                        environment: environment::of_runtime(Some(found)),
                        forks: found.language == Language::Python,
                    }
                }),
        }
    }
}

/// Whether a function with this configuration may be run by a runtime that was booted without it: variables that are read
/// while it boots are as they were.
/// Sources: ld.so(8), locale(7), "Command line and environment" of CPython 3.11, "Command-line API" of Node 22.
fn boots_alike(language: Language, spec: &RevisionSpec) -> bool {
    let own: &[&str] = match language {
        Language::Python => &["PYTHON"],
        Language::Node => &["NODE_", "UV_", "OPENSSL_", "SSL_CERT_", "ICU_"],
    };
    let read = ["LD_", "MALLOC_", "GLIBC_", "LC_", "LANG"].iter().chain(own);
    !spec
        .environment
        .keys()
        .any(|name| read.clone().any(|begin| name.starts_with(begin)))
}

/// The interpreter with its bootstrap.
fn start_of(interpreter: &Interpreter, spec: &RevisionSpec) -> Vec<String> {
    let mut program = vec![interpreter.program.clone()];
    match interpreter.language {
        Language::Python => program.extend(["-S".to_owned(), format!("{RUNTIME}/bootstrap.py")]),
        Language::Node => {
            // V8 sizes its heap by the host's memory; told the function's, it collects garbage before the limit.
            program.push(format!("--max-old-space-size={}", (spec.memory.0 * 9 / 10).max(1)));
            program.push(format!("{RUNTIME}/bootstrap.cjs"));
        }
    }
    program
}

fn program(interpreter: Option<&Interpreter>, recipe: &Recipe, spec: &RevisionSpec) -> Vec<String> {
    let Some(interpreter) = interpreter else {
        let shell = ["/bin/sh", "-c", MEET, "sh"].map(str::to_owned);
        return shell.into_iter().chain(recipe.command.iter().cloned()).collect();
    };
    let mut program = start_of(interpreter, spec);
    if interpreter.language == Language::Python {
        program.push(if recipe.fdk { "fdk" } else { "script" }.to_owned());
    }
    program.extend(recipe.command.iter().cloned());
    program
}

fn record_of(revision: &Revision) -> Option<FnRecord> {
    serde_json::from_value(revision.document.0.clone()).ok()
}

impl Contract for FnContract {
    fn name(&self) -> &'static str {
        CONTRACT
    }

    fn plan(&self, launch: &Launch<'_>) -> Result<LaunchPlan, ContractError> {
        let (revision, spec) = (launch.revision, &launch.revision.spec);
        let interpreter = self.resolve(&spec.runtime)?;
        let unreadable = || ContractError::EntryPoint {
            kind: "record".to_owned(),
            message: "the function's record cannot be read".to_owned(),
        };
        let record = record_of(revision).ok_or_else(unreadable)?;
        let recipe = record.recipe.as_ref().ok_or_else(unreadable)?;
        let id = ids::write(revision.function.as_uuid());
        let mut limits = InstanceLimits::for_sizes(spec.memory, spec.scratch);
        limits.processes = PROCESSES;
        Ok(LaunchPlan {
            instance: launch.instance,
            cell: self.cell_of(interpreter.as_ref(), spec),
            code: Mount {
                source: launch.tree.to_owned(),
                target: CODE.to_owned(),
                executable: true,
            },
            program: program(interpreter.as_ref(), recipe, spec),
            environment: environment::all(interpreter.as_ref(), spec, &record, &id),
            working_directory: CODE.to_owned(),
            listeners: Vec::new(),
            sockets: Vec::new(),
            channel: interpreter.is_some(),
            meets_in_scratch: true,
            limits,
        })
    }

    fn cell(&self, spec: &RevisionSpec) -> Option<CellKind> {
        let interpreter = self.resolve(&spec.runtime).ok()?;
        Some(self.cell_of(interpreter.as_ref(), spec))
    }

    fn open(&self, opening: Opening) -> Arc<dyn Session> {
        let bounds = Bounds {
            init: self.limits.init,
            body: self.limits.response,
            head: self.limits.response_head,
        };
        Arc::new(FnSession::open(opening.instance, bounds, opening.scratch))
    }

    fn limits(&self) -> ContractLimits {
        // The session bounds bodies itself; what it hands on has the head beside.
        let whole = (self.limits.response + envelope::overhead(self.limits.response_head)) as u64;
        ContractLimits {
            init: self.limits.init,
            response: whole,
            stream: whole,
        }
    }

    fn keep_alive(&self, revision: &Revision) -> Option<Duration> {
        // Asked often: the one member is looked up without reading the whole record.
        let seconds = revision.document.0.get("idle_timeout")?.as_u64()?;
        Some(Duration::from_secs(seconds))
    }

    /// Every millisecond of the call, and none of the start: upstream's containers start on the platform's account.
    fn billed_ms(&self, _init: Duration, duration: Duration) -> u64 {
        sonagi_meter::rounded_up_ms(duration, Duration::from_millis(1))
    }

    /// Upstream writes nothing of its own between a function's lines.
    fn narrate(&self, _moment: &Moment<'_>) -> Vec<String> {
        Vec::new()
    }
}
