//! Alive, ready, and numbers about what runs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use sonagi_model::{Exit, InstanceId, InstanceLimits, Mebibytes, Outside};
use sonagi_pool::{Pool, PoolSnapshot, RevisionSnapshot};
use sonagi_ports::{CellKind, LaunchPlan, Mount, Prepared, Readiness, Sandbox};
use sonagi_wire::Body;
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::front::plain;

/// How long a canary's good end counts.
const FRESH: Duration = Duration::from_secs(10);

/// Answers questions about the platform's health.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) sandbox: Arc<dyn Sandbox>,
    pub(crate) pool: Pool,
    /// The mounts that a canary runs in, and an empty folder as its code.
    pub(crate) canary_mounts: Vec<Mount>,
    pub(crate) canary_code: std::path::PathBuf,
    /// SHA-256 of the bearer token.
    pub(crate) token: [u8; 32],
    pub(crate) last_good: Mutex<Option<Instant>>,
}

impl Health {
    /// Ready means: a process has really run in a sandbox within the last seconds.
    pub(crate) async fn ready(&self) -> Response<Body> {
        let mut last = self.last_good.lock().await;
        if last.is_some_and(|at| at.elapsed() < FRESH) {
            return plain(StatusCode::OK, "ready\n");
        }
        match self.canary().await {
            Ok(()) => {
                *last = Some(Instant::now());
                plain(StatusCode::OK, "ready\n")
            }
            Err(why) => {
                tracing::error!(%why, "the canary did not run");
                plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "not ready: no function can be run; see the platform's log\n",
                )
            }
        }
    }

    /// Runs a shell that exits at once, in a sandbox of its own.
    pub(crate) async fn canary(&self) -> Result<(), String> {
        let plan = LaunchPlan {
            instance: InstanceId::generate(),
            cell: CellKind {
                mounts: self.canary_mounts.clone(),
                stem: None,
                outside: Outside::Closed,
            },
            code: Mount {
                source: self.canary_code.clone(),
                target: "/var/task".to_owned(),
                executable: false,
            },
            program: ["/bin/sh", "-c", "exit 0"].map(str::to_owned).to_vec(),
            environment: Vec::new(),
            working_directory: "/var/task".to_owned(),
            listeners: Vec::new(),
            sockets: Vec::new(),
            channel: false,
            meets_in_scratch: false,
            limits: InstanceLimits::for_sizes(Mebibytes(64), Mebibytes(16)),
        };
        let started = self.sandbox.start(plan).await.map_err(|error| error.to_string())?;
        let exit = tokio::time::timeout(Duration::from_secs(10), started.sandbox.exited()).await;
        started.sandbox.destroy().await;
        match exit {
            Ok(Exit::Code(0)) => Ok(()),
            Ok(exit) => Err(format!("the canary ended with {exit}")),
            Err(_) => Err("the canary did not end within 10 s".to_owned()),
        }
    }

    /// Numbers in the Prometheus text format, for holders of the token.
    pub(crate) fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        if !bool::from(crate::token::digest(given).ct_eq(&self.token)) {
            return plain(
                StatusCode::UNAUTHORIZED,
                "metrics need the bearer token of the native API\n",
            );
        }
        let mut text = String::new();
        for (name, kind, help, value) in numbers(&self.pool.snapshot()) {
            let _ = writeln!(
                text,
                "# HELP sonagi_{name} {help}\n# TYPE sonagi_{name} {kind}\nsonagi_{name} {value}"
            );
        }
        write_readiness(&mut text, &self.sandbox.readiness());
        plain(StatusCode::OK, text)
    }
}

/// How what is prepared ahead of demand stands, by level.
fn write_readiness(text: &mut String, levels: &[(Prepared, Readiness)]) {
    type Value = fn(&Readiness) -> f64;
    #[expect(clippy::cast_precision_loss, reason = "counts of what fits into this host")]
    let metrics: [(&str, &str, &str, Value); 7] = [
        ("prepared_ready", "gauge", "Cells or stems that are ready.", |of| {
            of.ready as f64
        }),
        ("prepared_wanted", "gauge", "Cells or stems to be kept ready.", |of| {
            of.wanted as f64
        }),
        ("prepared_hits_total", "counter", "Starts that found one ready.", |of| {
            of.hits as f64
        }),
        (
            "prepared_misses_total",
            "counter",
            "Starts that found none ready.",
            |of| of.misses as f64,
        ),
        ("prepared_made_total", "counter", "Made ahead of demand.", |of| {
            of.made as f64
        }),
        (
            "prepared_failed_total",
            "counter",
            "Failed to be made ahead of demand.",
            |of| of.failed as f64,
        ),
        (
            "prepared_making_seconds_total",
            "counter",
            "Time that making them ahead of demand took.",
            |of| of.making.as_secs_f64(),
        ),
    ];
    for (name, kind, help, value) in metrics {
        let _ = writeln!(text, "# HELP sonagi_{name} {help}\n# TYPE sonagi_{name} {kind}");
        for (level, readiness) in levels {
            let (level, value) = (level.as_str(), value(readiness));
            let _ = writeln!(text, "sonagi_{name}{{level=\"{level}\"}} {value}");
        }
    }
}

/// Name, kind, meaning and value of each metric.
#[expect(clippy::too_many_lines, reason = "a table")]
fn numbers(pool: &PoolSnapshot) -> [(&'static str, &'static str, &'static str, u64); 14] {
    let sum = |of: fn(&RevisionSnapshot) -> usize| pool.revisions.iter().map(of).sum::<usize>() as u64;
    let counts = &pool.counts;
    [
        (
            "instances_starting",
            "gauge",
            "Instances that are starting.",
            sum(|of| of.starting),
        ),
        (
            "instances_idle",
            "gauge",
            "Idle instances whose processes run.",
            sum(|of| of.idle),
        ),
        (
            "instances_frozen",
            "gauge",
            "Idle instances whose processes are stopped.",
            sum(|of| of.frozen),
        ),
        (
            "instances_busy",
            "gauge",
            "Instances that work on an event.",
            sum(|of| of.busy),
        ),
        (
            "requests_waiting",
            "gauge",
            "Requests that wait for an instance.",
            sum(|of| of.waiting),
        ),
        (
            "memory_charged_mebibytes",
            "gauge",
            "Memory that instances are charged, MiB.",
            u64::from(pool.memory.0),
        ),
        (
            "memory_limit_mebibytes",
            "gauge",
            "Memory that instances may be charged, MiB.",
            u64::from(pool.memory_limit.0),
        ),
        (
            "starts_cold_total",
            "counter",
            "Calls for which an instance was started.",
            counts.cold,
        ),
        (
            "starts_warm_total",
            "counter",
            "Calls that found an instance.",
            counts.warm,
        ),
        (
            "init_failures_total",
            "counter",
            "Instances that did not become ready.",
            counts.init_failures,
        ),
        (
            "reclaimed_total",
            "counter",
            "Instances reclaimed by idle time or age.",
            counts.reclaimed,
        ),
        (
            "evicted_total",
            "counter",
            "Instances evicted for their memory.",
            counts.evicted,
        ),
        (
            "exited_total",
            "counter",
            "Instances that ended while idle.",
            counts.exited,
        ),
        (
            "condemned_total",
            "counter",
            "Instances destroyed after a failure.",
            counts.condemned,
        ),
    ]
}
