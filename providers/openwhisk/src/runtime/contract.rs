//! [`WhiskContract`]: this provider's side of the engine's [`Contract`] port.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use sonagi_model::{InstanceLimits, Mebibytes, RevisionSpec};
use sonagi_ports::{
    CellKind, Clock, Contract, ContractError, ContractLimits, Interpreter, Interpreters, Language, Launch, LaunchPlan,
    Moment, Mount, Opening, Session, Stem,
};

use super::bootstraps::{BootstrapError, Bootstraps};
use super::session::{Initializing, Speech, Subject, WhiskSession};
use crate::code::FILE;
use crate::entities::ActionRecord;
use crate::entities::action::BLACKBOX;
use crate::kinds::Runtime;

/// The name that revisions of actions carry.
pub const CONTRACT: &str = "openwhisk";

/// Where an action's code is inside.
const CODE: &str = "/action";
/// Where the bootstrap is inside.
const RUNTIME: &str = "/var/runtime";
/// Where packages are that every action of a runtime may use.
const BUNDLE: &str = "/opt/sonagi/node_modules";
/// Port of the platform's API inside: `__OW_API_HOST` points there.
const PLATFORM_PORT: u16 = 4747;

/// What answers requests of actions to the platform's API from inside their instance.
pub trait InstanceFront: Send + Sync + std::fmt::Debug {
    /// Answers one request.
    fn serve_inside(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<sonagi_wire::Body>>;
}

/// Where the front will be, once it is attached.
pub(super) type FrontSlot = Arc<OnceLock<Arc<dyn InstanceFront>>>;

/// Folders with packages that actions of a runtime may use without bringing them.
#[derive(Debug, Clone, Default)]
pub struct Bundles {
    /// `node_modules` of Node actions.
    pub node: Option<PathBuf>,
}

/// OpenWhisk's contract. See the module.
#[derive(Debug)]
pub struct WhiskContract {
    interpreters: Arc<dyn Interpreters>,
    base_system: Vec<Mount>,
    bootstraps: Bootstraps,
    bundles: Bundles,
    clock: Arc<dyn Clock>,
    front: FrontSlot,
    initializing: Arc<Initializing>,
}

impl WhiskContract {
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
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BootstrapError> {
        let bootstraps = Bootstraps::write(folder, &interpreters.all())?;
        Ok(Self {
            interpreters,
            base_system,
            bootstraps,
            bundles,
            clock,
            front: Arc::default(),
            initializing: Arc::default(),
        })
    }

    /// Says who answers requests of actions to the platform's API. Until then they get 503. The first one stays.
    pub fn attach(&self, front: Arc<dyn InstanceFront>) {
        let _ = self.front.set(front);
    }

    /// Interpreters of the host.
    pub(crate) fn interpreters(&self) -> &dyn Interpreters {
        self.interpreters.as_ref()
    }

    /// Whether an invocation's instance ended while it was initialized. Forgets it.
    pub(crate) fn ended_initializing(&self, invocation: sonagi_model::InvocationId) -> bool {
        self.initializing.lock().remove(&invocation)
    }

    /// What runs a kind, with the interpreter where there is one.
    fn resolve<'a>(&self, kind: &'a str) -> Result<(Runtime<'a>, Option<Interpreter>), ContractError> {
        let missing = |hint: &str| ContractError::RuntimeMissing {
            runtime: kind.to_owned(),
            hint: hint.to_owned(),
        };
        match Runtime::of(kind) {
            Some(runtime @ Runtime::Managed(language, version)) => {
                let found = self.interpreters.find(language, version);
                let found =
                    found.ok_or_else(|| missing("install its interpreter on this host and restart the platform"))?;
                Ok((runtime, Some(found)))
            }
            Some(Runtime::Loop) => Ok((Runtime::Loop, None)),
            None => Err(missing("`sonagi doctor` lists the interpreters of this host")),
        }
    }

    fn mounts_of(&self, interpreter: Option<&Interpreter>) -> Vec<Mount> {
        let mut mounts = interpreter.map(|found| found.mounts.clone()).unwrap_or_default();
        for mount in &self.base_system {
            if !mounts.contains(mount) {
                mounts.push(mount.clone());
            }
        }
        let mut read = |source: PathBuf, target: &str| {
            mounts.push(Mount {
                source,
                target: target.to_owned(),
                executable: false,
            });
        };
        match interpreter.map(|found| found.language) {
            Some(language) => read(self.bootstraps.folder(language), RUNTIME),
            None => return mounts,
        }
        if let (Some(Language::Node), Some(bundle)) = (interpreter.map(|found| found.language), &self.bundles.node) {
            read(bundle.clone(), BUNDLE);
        }
        mounts
    }

    fn cell_of(&self, interpreter: Option<&Interpreter>, spec: &RevisionSpec) -> CellKind {
        CellKind {
            mounts: self.mounts_of(interpreter),
            stem: interpreter.map(|found| {
                let mut program = program(found, spec.memory);
                program.push("stem".to_owned());
                Stem {
                    program,
                    environment: environment(found),
                    forks: false,
                }
            }),
            outside: spec.outside,
        }
    }
}

fn environment(interpreter: &Interpreter) -> Vec<(String, String)> {
    let mut variables = interpreter.environment.clone();
    let mut set = |name: &str, value: String| variables.push((name.to_owned(), value));
    set("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned());
    set("HOME", "/tmp".to_owned());
    set("LANG", "C.UTF-8".to_owned());
    set("TZ", "UTC".to_owned());
    set("__OW_API_HOST", format!("http://127.0.0.1:{PLATFORM_PORT}"));
    match interpreter.language {
        Language::Node => {
            set("NODE_PATH", BUNDLE.to_owned());
            set("__OW_ALLOW_CONCURRENT", "true".to_owned());
        }
        Language::Python => set("PYTHONUNBUFFERED", "1".to_owned()),
    }
    variables
}

/// An executable gets its variables with the first lines of the channel, then works on the rest of them: upstream's
/// action loop reads its runs from standard input and answers on descriptor 3. The shell that does this says so with an
/// empty line and replaces itself.
/// Source: apache/openwhisk-runtime-go (commit 1b00151), `README.md`, "action loop".
const LOOP: &str = "nl='\n'; while IFS= read -r v <&3 && [ -n \"$v\" ]; do eval \"export $v\"; done; unset v nl; echo >&3; exec \"$0\" <&3";

fn loop_program() -> Vec<String> {
    let path = format!("{CODE}/{FILE}");
    ["/bin/sh", "-c", LOOP, &path].map(str::to_owned).to_vec()
}

/// Whether the code has an executable at its root.
fn check_executable(tree: &Path, kind: &str) -> Result<(), ContractError> {
    let executable = std::fs::metadata(tree.join(FILE))
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if executable {
        return Ok(());
    }
    Err(ContractError::EntryPoint {
        kind: "action developer error".to_owned(),
        message: if kind == BLACKBOX {
            "This platform runs no container images: of a blackbox action only its code is run, which must be an \
             executable that speaks the action loop."
                .to_owned()
        } else {
            "The action failed to generate or locate a binary. See logs for details.".to_owned()
        },
    })
}

fn program(interpreter: &Interpreter, memory: Mebibytes) -> Vec<String> {
    let mut program = vec![interpreter.program.clone()];
    match interpreter.language {
        Language::Python => program.extend(["-S".to_owned(), format!("{RUNTIME}/bootstrap.py")]),
        Language::Node => {
            // V8 sizes its heap by the host's memory; told the action's, it collects garbage before the limit.
            program.push(format!("--max-old-space-size={}", memory.0 * 9 / 10));
            program.push(format!("{RUNTIME}/bootstrap.cjs"));
        }
    }
    program
}

impl Contract for WhiskContract {
    fn name(&self) -> &'static str {
        CONTRACT
    }

    fn plan(&self, launch: &Launch<'_>) -> Result<LaunchPlan, ContractError> {
        let spec = &launch.revision.spec;
        let (_, interpreter) = self.resolve(&spec.runtime)?;
        let (program, environment) = match &interpreter {
            Some(interpreter) => (program(interpreter, spec.memory), environment(interpreter)),
            None => {
                check_executable(launch.tree, &spec.runtime)?;
                (loop_program(), Vec::new())
            }
        };
        Ok(LaunchPlan {
            instance: launch.instance,
            cell: self.cell_of(interpreter.as_ref(), spec),
            code: Mount {
                source: launch.tree.to_owned(),
                target: CODE.to_owned(),
                executable: true,
            },
            program,
            environment,
            working_directory: CODE.to_owned(),
            listeners: vec![PLATFORM_PORT],
            sockets: Vec::new(),
            channel: true,
            meets_in_scratch: false,
            limits: InstanceLimits::for_sizes(spec.memory, spec.scratch),
        })
    }

    fn cell(&self, spec: &RevisionSpec) -> Option<CellKind> {
        let (_, interpreter) = self.resolve(&spec.runtime).ok()?;
        Some(self.cell_of(interpreter.as_ref(), spec))
    }

    fn open(&self, opening: Opening) -> Arc<dyn Session> {
        let revision = &opening.revision;
        let record = serde_json::from_value::<ActionRecord>(revision.document.0.clone()).ok();
        let subject = Subject {
            instance: opening.instance,
            speech: match Runtime::of(&revision.spec.runtime) {
                Some(Runtime::Loop) => Speech::Lines,
                Some(Runtime::Managed(..)) | None => Speech::Frames,
            },
            name: revision.name.to_string(),
            main: revision.spec.handler.clone(),
            form: record
                .as_ref()
                .map_or(crate::entities::Form::None, |record| record.exec.form),
            limit: record.map_or(revision.spec.timeout, |record| {
                Duration::from_millis(record.limits.timeout_ms)
            }),
            result: crate::limits::WhiskLimits::default().payload,
            overlap: revision.spec.concurrency.get() > 1,
            clock: Arc::clone(&self.clock),
            initializing: Arc::clone(&self.initializing),
        };
        Arc::new(WhiskSession::open(
            subject,
            &self.front,
            opening.channel,
            opening.listeners,
        ))
    }

    fn limits(&self) -> ContractLimits {
        ContractLimits {
            // Until the bootstrap has connected; the action's own initialization is part of its first activation.
            init: Duration::from_secs(60),
            // Results are cut at their own limit; this one is beyond any envelope.
            response: 64 * 1024 * 1024,
            stream: 64 * 1024 * 1024,
        }
    }

    /// Rounded up to the next 100 ms. Source: IBM Cloud Functions pricing.
    fn billed_ms(&self, _init: Duration, duration: Duration) -> u64 {
        sonagi_meter::rounded_up_ms(duration, Duration::from_millis(100))
    }

    /// Upstream writes nothing of its own between an action's lines.
    fn narrate(&self, _moment: &Moment<'_>) -> Vec<String> {
        Vec::new()
    }
}
