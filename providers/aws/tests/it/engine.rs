//! A stand-in for the engine. It runs Python handlers for real, one process for each call; handlers named `play.…` are
//! played from a script instead.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sonagi_aws::Runner;
use sonagi_dispatch::{Answer, Finished, FloorStatus, LogTail, Refused, Request, Streaming};
use sonagi_model::{
    Exit, Function, FunctionError, FunctionId, Outcome, Revision, RevisionId, RunRecord, ThrottleReason, Timestamp,
};
use sonagi_ports::fake::{FakeArtifactStore, sample};
use sonagi_ports::{AcceptError, Accepted, ArtifactStore, NewEvent, StreamPart};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::clients::python;

/// Runs a handler out of a zip archive; the context has what the tests look at.
const RUN: &str = r#"
import importlib, json, sys, traceback
archive, handler, context, event = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.stdin.read()
sys.path.insert(0, archive)
out = sys.stdout
sys.stdout = sys.stderr
class Context: pass
c = Context()
c.__dict__.update(context)
try:
    module, name = handler.rsplit(".", 1)
    result = getattr(importlib.import_module(module), name)(json.loads(event), c)
    out.write(json.dumps(result))
except Exception as error:
    trace = traceback.format_exception(error)
    out.write(json.dumps({"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": trace,
                          "requestId": c.aws_request_id}))
    sys.exit(99)
"#;

/// See the module.
#[derive(Debug)]
pub struct StandIn {
    artifacts: Arc<FakeArtifactStore>,
    /// Every request that was run.
    pub ran: Mutex<Vec<Request>>,
    /// Every event that was accepted.
    pub accepted: Mutex<Vec<NewEvent>>,
    /// Functions whose reservation was told.
    pub reserved: Mutex<Vec<Option<u32>>>,
    /// What is to be kept loaded: it is, at once.
    pub floors: Mutex<Vec<(FunctionId, RevisionId, usize)>>,
    tasks: TaskTracker,
}

impl StandIn {
    pub fn new(artifacts: Arc<FakeArtifactStore>) -> Self {
        let (ran, accepted, reserved, floors) = Default::default();
        Self {
            artifacts,
            ran,
            accepted,
            reserved,
            floors,
            tasks: TaskTracker::new(),
        }
    }

    async fn python(&self, request: &Request) -> Result<(Outcome, Bytes, Vec<u8>), String> {
        let archive = self
            .artifacts
            .archive(&request.revision.artifact)
            .await
            .map_err(|error| error.to_string())?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("code.zip");
        std::fs::write(&path, &archive).map_err(|error| error.to_string())?;
        let revision = &request.revision;
        let context = serde_json::json!({
            "aws_request_id": request.invocation, "function_version": revision.label, "function_name": revision.name,
            "invoked_function_arn": request.attributes.get("invoked-arn"),
            "trace": request.attributes.get("trace-id"), "client": request.attributes.get("client-context"),
            "memory_limit_in_mb": revision.spec.memory.0.to_string(),
        });
        let mut child = Command::new(python())
            .args(["-c", RUN])
            .arg(&path)
            .args([revision.spec.handler.as_str(), &context.to_string()])
            .env_clear()
            .envs(&revision.spec.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut input = child.stdin.take().ok_or("no input")?;
        let (event, output) = (request.payload.clone(), child.wait_with_output());
        let writing = async move {
            let _ = input.write_all(&event).await;
        };
        let both = async { tokio::join!(writing, output).1 };
        let Ok(output) = tokio::time::timeout(revision.spec.timeout, both).await else {
            return Ok((Outcome::Timeout, Bytes::new(), Vec::new()));
        };
        let output = output.map_err(|error| error.to_string())?;
        let outcome = match output.status.code() {
            Some(0) => Outcome::Success,
            Some(99) => Outcome::FunctionError(FunctionError {
                kind: None,
                body: output.stdout.clone(),
            }),
            Some(code) => Outcome::Exited(Exit::Code(code)),
            None => Outcome::Exited(Exit::Signal(9)),
        };
        let body = if outcome == Outcome::Success {
            Bytes::from(output.stdout)
        } else {
            Bytes::new()
        };
        Ok((outcome, body, output.stderr))
    }

    /// A streamed answer from these parts; the channel closes without an end if the last part is none.
    fn stream(&self, request: &Request, content_type: &str, parts: Vec<StreamPart>, outcome: Outcome) -> Answer {
        let (sender, receiver) = mpsc::channel(1);
        let (done, finished) = oneshot::channel();
        let end = finish(request, outcome, Bytes::new(), None);
        self.tasks.spawn(async move {
            for part in parts {
                if sender.send(part).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(sender);
            let _ = done.send(end);
        });
        Answer::Stream(Streaming {
            content_type: Some(content_type.to_owned()),
            parts: receiver,
            finished,
        })
    }

    fn play(&self, name: &str, request: &Request) -> Result<Answer, Refused> {
        let whole = |outcome| Ok(Answer::Whole(finish(request, outcome, Bytes::new(), None)));
        let error = |text: &str| FunctionError {
            kind: Some("unhandled".to_owned()),
            body: text.as_bytes().to_vec(),
        };
        let data = |text: &'static [u8]| StreamPart::Data(Bytes::from_static(text));
        let prelude = "application/vnd.awslambda.http-integration-response";
        let late = || error("{\"errorType\":\"TypeError\",\"errorMessage\":\"too late\"}");
        match name {
            "exit0" => whole(Outcome::Exited(Exit::Code(0))),
            "exit3" => whole(Outcome::InitExited(Exit::Code(3))),
            "oom" => whole(Outcome::Exited(Exit::OutOfMemory)),
            "init" => whole(Outcome::InitError(error(
                "{\"errorType\":\"Runtime.ImportModuleError\"}",
            ))),
            "large" => whole(Outcome::ResponseTooLarge(6_291_556)),
            "entry" => whole(Outcome::EntryPoint {
                kind: None,
                message: "no such file".to_owned(),
            }),
            "damaged" => whole(Outcome::ArtifactDamaged("byte 7".to_owned())),
            "platform" => whole(Outcome::Platform("/secret/path".to_owned())),
            "reserved" => Err(Refused::Throttled(ThrottleReason::FunctionConcurrency)),
            "account" => Err(Refused::Throttled(ThrottleReason::TenantConcurrency)),
            "node" => Err(Refused::Throttled(ThrottleReason::NodeCapacity)),
            "stopping" => Err(Refused::Stopping),
            "text" => Ok(Answer::Whole(finish(
                request,
                Outcome::Success,
                Bytes::from_static(b"not json"),
                None,
            ))),
            "stream" => {
                let parts = vec![data(b"one;"), data(b"two"), StreamPart::End];
                Ok(self.stream(request, "text/plain", parts, Outcome::Success))
            }
            "http" => {
                let head = b"{\"statusCode\":203,\"headers\":{\"x-kind\":\"stream\"},\"cookies\":[\"a=b\"]}\0\0\0";
                let parts = vec![data(head), data(b"\0\0\0\0\0one;"), data(b"two"), StreamPart::End];
                Ok(self.stream(request, prelude, parts, Outcome::Success))
            }
            "late" => {
                let parts = vec![data(b"one;"), StreamPart::Failed(late())];
                Ok(self.stream(request, "text/plain", parts, Outcome::FunctionError(late())))
            }
            "early" => {
                let parts = vec![StreamPart::Failed(late())];
                Ok(self.stream(request, "text/plain", parts, Outcome::FunctionError(late())))
            }
            "cut" => Ok(self.stream(request, "text/plain", vec![data(b"one;")], Outcome::Timeout)),
            other => panic!("nothing to play as {other}"),
        }
    }
}

/// The end of an attempt, with a record that fits it.
fn finish(request: &Request, outcome: Outcome, body: Bytes, log_tail: Option<Vec<u8>>) -> Finished {
    let record = RunRecord {
        invocation: request.invocation,
        status: (&outcome).into(),
        ..sample::run(&request.function, Timestamp::EPOCH)
    };
    Finished {
        outcome,
        body,
        content_type: None,
        log_tail,
        record: Arc::new(record),
    }
}

#[async_trait]
impl Runner for StandIn {
    async fn run(&self, request: Request) -> Result<Answer, Refused> {
        self.ran.lock().push(request.clone());
        let handler = request.revision.spec.handler.clone();
        if let Some(name) = handler.strip_prefix("play.") {
            return self.play(name, &request);
        }
        let result = self.python(&request).await;
        let (outcome, body, log) = result.unwrap_or_else(|why| (Outcome::Platform(why), Bytes::new(), Vec::new()));
        let log_tail = match request.log_tail {
            LogTail::Omit => None,
            LogTail::Bytes(limit) => {
                let id = request.invocation;
                let log = [format!("START RequestId: {id}\n").as_bytes(), &log, b"END\n"].concat();
                Some(log[log.len().saturating_sub(limit)..].to_vec())
            }
        };
        Ok(Answer::Whole(finish(&request, outcome, body, log_tail)))
    }

    async fn accept(&self, event: NewEvent) -> Result<Accepted, AcceptError> {
        let accepted = Accepted::New(event.id);
        self.accepted.lock().push(event);
        Ok(accepted)
    }

    fn reserve(&self, function: &Function) {
        self.reserved.lock().push(function.reserved_concurrency);
    }

    fn provision(&self, function: FunctionId, floors: &[(Arc<Revision>, usize)]) {
        let mut kept = self.floors.lock();
        kept.retain(|(of, _, _)| *of != function);
        kept.extend(floors.iter().map(|(revision, wanted)| (function, revision.id, *wanted)));
    }

    fn provisioned(&self, revision: RevisionId) -> Option<FloorStatus> {
        let kept = self.floors.lock();
        let (_, _, wanted) = kept.iter().find(|(_, id, _)| *id == revision)?;
        Some(FloorStatus {
            wanted: *wanted,
            starting: 0,
            ready: *wanted,
            failure: None,
        })
    }
}
