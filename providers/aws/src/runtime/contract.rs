//! [`AwsContract`]: Lambda's side of the engine's [`Contract`] port.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sonagi_model::{InstanceLimits, Revision, RevisionSpec};
use sonagi_ports::{
    CellKind, Clock, Contract, ContractError, ContractLimits, Entropy, Interpreter, Interpreters, Language, Launch,
    LaunchPlan, Moment, Mount, Opening, Session, Stem,
};

use super::answers::Defaults;
use super::bootstraps::{BootstrapError, Bootstraps};
use super::channel::Dialect;
use super::environment::{self, Facts, function_arn};
use super::exchange::Exchange;
use super::extensions::{Company, Described, ExtensionApi, Registry, Telemetry};
use super::launch::{self, EXEC_WRAPPER, RUNTIME_DIR, Runtime, TASK_ROOT};
use super::server::RuntimeApi;
use super::session::{AwsSession, FrontSlot};
use super::{InstanceFront, narrate, stem};
use crate::credentials::TemporaryCredentials;
use crate::place::Place;

/// The name that revisions of Lambda functions carry.
pub const CONTRACT: &str = "aws-lambda";

/// Numbers of the contract that are settings. The defaults are Lambda's.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Port of the Runtime API inside an instance. Lambda's own is 9001.
    pub runtime_port: u16,
    /// Port of the platform's API inside an instance: `AWS_ENDPOINT_URL` points there.
    pub platform_port: u16,
    /// Longest initialization of an on-demand instance. Source: AWS Lambda quotas: 10 s.
    pub init: Duration,
    /// Largest whole answer in bytes. Lambda: 6 MiB and 100 bytes (recorded from AWS).
    pub response: u64,
    /// Largest streamed answer in bytes. Source: AWS Lambda quotas: 200 MB.
    pub stream: u64,
    /// Whether an instance's CPU is capped at memory's share of a core once it is initialized, as on Lambda (1769 MB: one
    /// core). Otherwise memory only weighs when cores are scarce.
    pub cap_cpu: bool,
    /// Port of the supervisor's listener inside an instance with extensions.
    pub supervisor_port: u16,
    /// The program that starts extensions beside a runtime; without it functions that have some are refused. It is told
    /// what to do as `extensions/frames.rs` says.
    pub supervisor: Option<&'static [u8]>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            runtime_port: 9001,
            platform_port: 4747,
            init: Duration::from_secs(10),
            response: 6 * 1024 * 1024 + 100,
            stream: 200 * 1024 * 1024,
            cap_cpu: false,
            supervisor_port: 4748,
            supervisor: None,
        }
    }
}

/// Lambda's contract. See the module.
#[derive(Debug)]
pub struct AwsContract {
    interpreters: Arc<dyn Interpreters>,
    base_system: Vec<Mount>,
    bootstraps: Bootstraps,
    credentials: Arc<TemporaryCredentials>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    options: RuntimeOptions,
    front: FrontSlot,
}

impl AwsContract {
    /// Writes the embedded bootstraps to `bootstrap_dir` and compiles the Python one with each Python of the host, which
    /// blocks for some tens of milliseconds. `base_system` is mounted in every instance.
    ///
    /// # Errors
    /// [`BootstrapError`] when the folder cannot be written.
    pub fn new(
        interpreters: Arc<dyn Interpreters>,
        base_system: Vec<Mount>,
        bootstrap_dir: PathBuf,
        credentials: Arc<TemporaryCredentials>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: RuntimeOptions,
    ) -> Result<Self, BootstrapError> {
        let bootstraps = Bootstraps::write(bootstrap_dir, &interpreters.all(), options.supervisor)?;
        let front = Arc::new(OnceLock::new());
        Ok(Self {
            interpreters,
            base_system,
            bootstraps,
            credentials,
            clock,
            entropy,
            options,
            front,
        })
    }

    /// Says who answers requests of function code to the platform's API. Until then they get 503. The first one stays.
    pub fn attach(&self, front: Arc<dyn InstanceFront>) {
        let _ = self.front.set(front);
    }

    /// Whether functions with this runtime can run on this host, before any code is looked at.
    ///
    /// # Errors
    /// [`ContractError::RuntimeMissing`] with a hint that names the runtimes which can.
    pub fn check_runtime(&self, runtime: &str) -> Result<(), ContractError> {
        self.resolve(runtime).map(|_| ())
    }

    /// Identifiers of the runtimes that can run on this host.
    #[must_use]
    pub fn runtimes(&self) -> Vec<String> {
        let mut names: Vec<String> = self.interpreters.all().iter().map(launch::runtime_of).collect();
        names.extend(["provided", "provided.al2", "provided.al2023"].map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }

    fn resolve<'a>(&self, runtime: &'a str) -> Result<(Runtime<'a>, Option<Interpreter>), ContractError> {
        let parsed = Runtime::parse(runtime).ok_or_else(|| launch::missing(self.interpreters.as_ref(), runtime))?;
        let interpreter = match parsed {
            Runtime::Managed(language, version) => Some(launch::interpreter(
                self.interpreters.as_ref(),
                runtime,
                language,
                version,
            )?),
            Runtime::Provided => None,
        };
        Ok((parsed, interpreter))
    }

    fn cell_with(&self, spec: &RevisionSpec, runtime: Runtime<'_>, interpreter: Option<&Interpreter>) -> CellKind {
        let mut mounts = interpreter
            .map(|interpreter| interpreter.mounts.clone())
            .unwrap_or_default();
        // An interpreter's mounts may include the base system already, and each mount costs time at a start.
        for mount in &self.base_system {
            if !mounts.contains(mount) {
                mounts.push(mount.clone());
            }
        }
        if let Some(interpreter) = interpreter {
            let source = self.bootstraps.folder(interpreter.language);
            mounts.push(Mount {
                source,
                target: RUNTIME_DIR.to_owned(),
                executable: false,
            });
        }
        CellKind {
            mounts,
            stem: interpreter.and_then(|interpreter| self.stem(spec, runtime, interpreter)),
            outside: spec.outside,
        }
    }

    /// The runtime to boot ahead of demand, unless this function wants one that is started for it alone.
    fn stem(&self, spec: &RevisionSpec, runtime: Runtime<'_>, interpreter: &Interpreter) -> Option<Stem> {
        let Runtime::Managed(language, version) = runtime else {
            return None;
        };
        let options = &self.options;
        let environment = environment::of_runtime(&spec.runtime, language, version, interpreter, options);
        let stem = stem::of(interpreter, spec.memory, environment);
        stem::fits(&stem, language, &spec.environment).then_some(stem)
    }

    /// Those beside the runtime of an instance: nobody yet.
    fn company(&self, opening: &Opening, function_arn: &str) -> Company {
        let (clock, log) = (Arc::clone(&self.clock), Arc::clone(&opening.log));
        Company {
            registry: Arc::new(Registry::new()),
            telemetry: Telemetry::new(Arc::clone(&opening.revision), log, Arc::clone(&clock)),
            steward: None,
            function_arn: function_arn.to_owned(),
            revision: Arc::clone(&opening.revision),
            purpose: opening.purpose,
            clock,
            entropy: Arc::clone(&self.entropy),
            event: parking_lot::Mutex::default(),
        }
    }

    /// Version of what runs this revision; empty for custom runtimes.
    fn runtime_version(&self, revision: &Revision) -> String {
        match self.resolve(&revision.spec.runtime) {
            Ok((_, Some(interpreter))) => interpreter.version,
            Ok((_, None)) | Err(_) => String::new(),
        }
    }
}

impl Contract for AwsContract {
    fn name(&self) -> &'static str {
        CONTRACT
    }

    fn plan(&self, launch: &Launch<'_>) -> Result<LaunchPlan, ContractError> {
        let (revision, spec) = (launch.revision, &launch.revision.spec);
        let (runtime, interpreter) = self.resolve(&spec.runtime)?;
        let program = match &interpreter {
            Some(interpreter) => {
                let wrapper = spec.environment.get(EXEC_WRAPPER).map(String::as_str);
                launch::managed_program(interpreter, spec.memory, wrapper)
            }
            None => launch::provided_program(launch.tree, launch.beside)?,
        };
        let environment = environment::build(&Facts {
            revision,
            instance: launch.instance,
            purpose: launch.purpose,
            runtime,
            interpreter: interpreter.as_ref(),
            keys: &self.credentials.derive(launch.instance),
            now: self.clock.now(),
            options: &self.options,
        })?;
        let mut cell = self.cell_with(spec, runtime, interpreter.as_ref());
        if cell.stem.is_some() && stem::brings_libraries(launch.tree) {
            cell.stem = None;
        }
        let mut listeners = vec![self.options.runtime_port, self.options.platform_port];
        let mut program = program;
        if let Some(layers) = launch.beside {
            // Mounts of a cell are of its making: one with layers is made for this function, and its runtime started in it.
            cell.stem = None;
            cell.mounts.push(Mount {
                source: layers.to_owned(),
                target: launch::LAYERS.to_owned(),
                executable: true,
            });
            let extensions = launch::extensions(layers)?;
            if !extensions.is_empty() {
                cell.mounts
                    .push(self.bootstraps.supervisor().ok_or_else(launch::unsupervised)?);
                let port = self.options.supervisor_port;
                listeners.push(port);
                program = launch::supervised(port, interpreter.is_some(), &extensions, program);
            }
        }
        Ok(LaunchPlan {
            instance: launch.instance,
            cell,
            code: Mount {
                source: launch.tree.to_owned(),
                target: TASK_ROOT.to_owned(),
                executable: true,
            },
            program,
            environment,
            working_directory: TASK_ROOT.to_owned(),
            listeners,
            sockets: Vec::new(),
            channel: interpreter.is_some(),
            meets_in_scratch: false,
            limits: InstanceLimits {
                cpu_cap_millis: self
                    .options
                    .cap_cpu
                    .then(|| spec.memory.0.saturating_mul(1000).div_ceil(1769).max(1)),
                ..InstanceLimits::for_sizes(spec.memory, spec.scratch)
            },
        })
    }

    fn cell(&self, spec: &RevisionSpec) -> Option<CellKind> {
        let (runtime, interpreter) = self.resolve(&spec.runtime).ok()?;
        Some(self.cell_with(spec, runtime, interpreter.as_ref()))
    }

    fn open(&self, opening: Opening) -> Arc<dyn Session> {
        // A revision without an ARN cannot be planned, so it is never opened.
        let function_arn = function_arn(&opening.revision).unwrap_or_default();
        self.credentials.issue(
            opening.instance,
            opening.revision.namespace.clone(),
            function_arn.clone(),
        );
        let company = self.company(&opening, &function_arn);
        let version = narrate::version_of(&opening.revision, &self.runtime_version(&opening.revision));
        let api = RuntimeApi {
            exchange: Exchange::new(),
            limits: self.limits(),
            defaults: Defaults { function_arn },
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            extensions: ExtensionApi {
                registry: Arc::clone(&company.registry),
                telemetry: Arc::clone(&company.telemetry),
                function: Described {
                    name: opening.revision.name.to_string(),
                    version: opening.revision.label.clone(),
                    handler: opening.revision.spec.handler.clone(),
                    account: Place::of(&opening.revision.namespace)
                        .map(|place| place.account.to_string())
                        .unwrap_or_default(),
                },
            },
        };
        let credentials = Arc::clone(&self.credentials);
        // Python waits for events in a read, Node.js watches its socket.
        let ways = match Runtime::parse(&opening.revision.spec.runtime) {
            Some(Runtime::Managed(Language::Python, _)) => Dialect::Python,
            Some(Runtime::Managed(Language::Node, _) | Runtime::Provided) | None => Dialect::Plain,
        };
        let channel = opening.channel.map(|channel| (channel, ways));
        Arc::new(AwsSession::open(
            opening.instance,
            api,
            credentials,
            &self.front,
            (opening.listeners, channel),
            (company, version),
        ))
    }

    fn limits(&self) -> ContractLimits {
        ContractLimits {
            init: self.options.init,
            response: self.options.response,
            stream: self.options.stream,
        }
    }

    /// Initialization and duration together, rounded up to the next millisecond.
    /// Source: AWS Lambda pricing; initialization is billed for every configuration since 1 August 2025.
    fn billed_ms(&self, init: Duration, duration: Duration) -> u64 {
        sonagi_meter::rounded_up_ms(init + duration, Duration::from_millis(1))
    }

    fn narrate(&self, moment: &Moment<'_>) -> Vec<String> {
        let version = || match moment {
            Moment::InitStart { revision, .. } => self.runtime_version(revision),
            Moment::InitFailed { .. } | Moment::Start { .. } | Moment::TimedOut { .. } | Moment::End { .. } => {
                String::new()
            }
        };
        narrate::lines(moment, version, || self.clock.now())
    }
}
