//! `sonagi dev`: a project that is live while it is written.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sonagi_testkit::platform::{EGRESS, PATIENCE, binary};
use sonagi_testkit::{Leftovers, Project};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A running `sonagi dev --output json`.
struct Dev {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Events that nobody has asked for yet: output and answers come in either order.
    waiting: Vec<Value>,
    data: PathBuf,
    endpoint: String,
}

impl Dev {
    /// Starts it on a platform of its own; returns when that is up.
    async fn start(path: &Path, temporary: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command
            .arg("dev")
            .arg(path)
            .args(["--output", "json"])
            .args(arguments)
            .env(EGRESS.0, EGRESS.1)
            .env("TMPDIR", temporary)
            .env_remove("SONAGI_DATA")
            .env_remove("SONAGI_SERVER")
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("it can be started");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut dev = Self {
            child,
            lines,
            waiting: Vec::new(),
            data: PathBuf::new(),
            endpoint: String::new(),
        };
        let up = dev.event("up").await;
        dev.data = up["data"].as_str().expect("a state directory").into();
        dev.endpoint = up["endpoint"].as_str().expect("an address").to_owned();
        dev
    }

    /// The next event of this kind; others wait for whoever asks for them.
    async fn event(&mut self, kind: &str) -> Value {
        self.event_where(kind, |_| true).await
    }

    async fn event_where(&mut self, kind: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let wanted = |event: &Value| event["event"] == kind && matches(event);
        if let Some(index) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(index);
        }
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let line = self.lines.next_line().await.expect("it can be read");
                let line = line.expect("it goes on");
                let event: Value = serde_json::from_str(&line).expect("a JSON document a line");
                if wanted(&event) {
                    return event;
                }
                self.waiting.push(event);
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("no {kind}, only {:#?}", self.waiting))
    }

    /// Ctrl-C, and nothing is left.
    async fn stop(mut self, temporary: &Path) {
        let group = std::fs::read_to_string(self.data.join("sandbox/group")).expect("the name of its groups");
        let id = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        kill_process(id.expect("it runs"), Signal::INT).expect("a signal can be sent");
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends").expect("its status");
        assert!(status.success(), "{status}");
        let left = Leftovers::find(group.trim(), &self.data);
        assert!(left.is_empty(), "{left:?}");
        let files: Vec<_> = std::fs::read_dir(temporary).expect("the folder").flatten().collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

fn source(answer: &str) -> String {
    format!("import helper\nprint('loaded')\ndef handler(event, context):\n    return [{answer}, helper.VALUE]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_save_is_live_and_a_broken_one_changes_nothing() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let project = Project::python("written", &source("1")).with("helper.py", "VALUE = 'a'\n");
    let mut dev = Dev::start(project.path(), temporary.path(), &["--invoke-on-save", "{}"]).await;
    let live = dev.event("live").await;
    assert_eq!(
        (live["name"].as_str(), live["created"].as_bool()),
        (Some("written"), Some(true))
    );
    assert_eq!(dev.event("answer").await["answer"], serde_json::json!([1, "a"]));
    let call = dev.event("call").await;
    assert_eq!(
        (call["status"].as_str(), call["start"].as_str()),
        (Some("success"), Some("cold")),
        "{call}"
    );

    // Written in place.
    project.write("app.py", source("2"));
    let live = dev.event("live").await;
    assert!(live["took_ms"].as_f64().is_some_and(|took| took > 0.0), "{live}");
    assert_eq!(dev.event("answer").await["answer"], serde_json::json!([2, "a"]));
    dev.event_where("log", |line| line["text"] == "loaded").await;

    // As editors do it: another file, renamed over the old one.
    project.write("app.py.new", source("3"));
    std::fs::rename(project.path().join("app.py.new"), project.path().join("app.py")).expect("a rename");
    dev.event_where("answer", |event| event["answer"] == serde_json::json!([3, "a"]))
        .await;

    // A save without an entry point is explained; what was live before still is.
    project.write("app.py", "def nothing(): pass\n");
    let broken = dev.event("broken").await;
    assert!(
        broken["message"]
            .as_str()
            .is_some_and(|text| text.contains("no function was found")),
        "{broken}"
    );
    let url = live["url"].as_str().expect("a URL");
    let http = sonagi_testkit::Http::new(&dev.endpoint);
    let answer = http.call_url(url, "/", "{}").await.expect("an answer");
    assert_eq!(answer.json().expect("a document"), serde_json::json!([3, "a"]));

    // Many files at once, a new folder among them, are one deployment.
    for number in 0..200 {
        project.write(&format!("more/m{number}.py"), "X = 1\n");
    }
    project.write("helper.py", "VALUE = 'b'\n");
    project.write("app.py", source("4"));
    dev.event_where("answer", |event| event["answer"] == serde_json::json!([4, "b"]))
        .await;
    dev.stop(temporary.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_keeps_its_code_and_node_is_watched_too() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let gate = |version: u32| {
        format!(
            "export const handler = async (event) => {{\n  if (event.rawQueryString) await new Promise((go) => setTimeout(go, 1500));\n  \
             return {version};\n}};\n"
        )
    };
    let project = Project::node("served", &gate(1));
    let mut dev = Dev::start(project.path(), temporary.path(), &["--timeout", "30s"]).await;
    let live = dev.event("live").await;
    let url = live["url"].as_str().expect("a URL").to_owned();
    let http = sonagi_testkit::Http::new(&dev.endpoint);
    let slow = http.call_url(&url, "/", "{}").await.expect("an answer");
    assert_eq!(slow.text(), "1");
    let first = dev.event("call").await["invocation"].clone();
    let aside = sonagi_testkit::Http::new(&dev.endpoint);
    let slow_url = url.clone();
    let under_way = aside.call_url(&slow_url, "/?wait=1", "{}");
    let meanwhile = async {
        dev.event_where("log", |line| {
            line["source"] == "platform" && line["invocation"].is_string() && line["invocation"] != first
        })
        .await;
        project.write("index.mjs", gate(2));
        dev.event("live").await;
        let quick = http.call_url(&url, "/", "{}").await.expect("an answer");
        assert_eq!(quick.text(), "2");
    };
    let (slow, ()) = tokio::join!(under_way, meanwhile);
    assert_eq!(slow.expect("an answer").text(), "1");
    dev.stop(temporary.path()).await;
}
