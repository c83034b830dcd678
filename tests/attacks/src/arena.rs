//! A platform with a healthy neighbor, on which attacks are run one after the other, fresh and warm.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Platform, Project, Setup, checkout, until};

use crate::neighbor::{Neighbor, Seen};
use crate::table::{Attack, Expect};

/// What the daemon's environment holds that no function may ever see.
pub const MARK: &str = "attack-mark-of-the-daemon";

/// How much the platform may grow over all attacks, in KiB: what it logs and records, never what functions produce.
const GROWTH_KIB: u64 = 160 * 1024;

/// What came of one attack.
#[derive(Debug)]
pub struct Report {
    /// Number in the list.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// What happened, shortened.
    pub happened: String,
    /// What was wrong, if anything was.
    pub wrong: Option<String>,
}

/// The place.
#[derive(Debug)]
pub struct Arena {
    /// The platform under attack.
    pub platform: Platform,
    neighbor: Option<Neighbor>,
    foreign: PathBuf,
    program: Vec<u8>,
    resident: u64,
    deployed: usize,
    _tools: tempfile::TempDir,
}

impl Arena {
    /// Starts a platform with its neighbor.
    ///
    /// # Panics
    /// It does not start, or the attackers' C program cannot be compiled.
    pub async fn open() -> Self {
        let tools = tempfile::tempdir().expect("a temporary folder");
        let foreign = compile(tools.path());
        let platform = Setup::new().variable("SONAGI_ATTACK_MARK", MARK).start().await;
        let project = Project::python("neighbor", "def handler(event, context):\n    return 'healthy'\n");
        // Generous: this watches for lost answers, on a machine that may be busy with a compiler.
        let settings = ["--timeout", "60s"];
        platform
            .cli()
            .json(&[&["deploy", project.as_str()], &settings[..]].concat())
            .await;
        platform.native("POST", "/functions/neighbor/invoke", "{}").await;
        let token = fs::read_to_string(platform.data().join("token")).expect("a token");
        let path = "/sonagi/v1/functions/neighbor/invoke".to_owned();
        let neighbor = Neighbor::call(platform.http(), path, token.trim());
        Self {
            neighbor: Some(neighbor),
            foreign,
            program: program_of(&platform),
            resident: resident_kib(&platform),
            deployed: 0,
            platform,
            _tools: tools,
        }
    }

    /// Runs one attack on a fresh and then on the warm instance, and looks at the host after each.
    pub async fn run(&mut self, attack: &Attack) -> Report {
        let (happened, wrong) = match self.attempts(attack).await {
            Ok(happened) => (happened, None),
            Err(wrong) => (String::new(), Some(wrong)),
        };
        Report {
            number: attack.number,
            name: attack.name.to_owned(),
            happened,
            wrong,
        }
    }

    async fn attempts(&mut self, attack: &Attack) -> Result<String, String> {
        self.deployed += 1;
        let name = format!("attack-{}-{}", attack.number, self.deployed);
        let mark = format!("mark-of-{name}");
        self.deploy(&name, attack.settings).await;
        let mut event: Value = serde_json::from_str(attack.event).expect("JSON in the table");
        event["attack"] = json!(attack.name);
        event["mark"] = json!(mark);
        event["data"] = json!(self.platform.data());
        event["daemon"] = json!(self.platform.id());
        event["addresses"] = json!(addresses());
        event["ports"] = json!([self.platform.port(), 22, 80]);
        let mut happened = String::new();
        for instance in ["fresh", "warm"] {
            let (failed, answer) = self.call(&name, &event).await?;
            happened = judge(attack.expect, failed, &answer).map_err(|wrong| format!("{instance}: {wrong}"))?;
            self.healthy().await.map_err(|wrong| format!("{instance}: {wrong}"))?;
        }
        self.remove(&name).await;
        until("the end of what it started", PATIENCE, async || {
            (!is_running(&mark)).then_some(())
        })
        .await;
        Ok(happened)
    }

    /// Deploys the attackers under a name.
    pub async fn deploy(&self, name: &str, settings: &[&str]) {
        let project = Project::new(name)
            .with_copy(&checkout("tests/attacks/functions"), ".")
            .with_copy(&self.foreign, "foreign");
        let handler = ["--handler", "attack.handler", "--runtime", "python3.11"];
        self.platform
            .cli()
            .json(&[&["deploy", project.as_str()], &handler[..], settings].concat())
            .await;
    }

    /// Removes a function with its instances.
    pub async fn remove(&self, name: &str) {
        self.platform.cli().json(&["rm", name, "--yes"]).await;
    }

    /// Calls a function: whether it failed, and what it said.
    ///
    /// # Errors
    /// Nothing ran.
    pub async fn call(&self, name: &str, event: &Value) -> Result<(bool, Value), String> {
        let path = format!("/functions/{name}/invoke");
        let answer = self.platform.native_answer("POST", &path, event.to_string()).await;
        if !answer.status.is_success() {
            return Err(format!("{} {}", answer.status, answer.text()));
        }
        let failed = answer.headers.get("sonagi-failed").is_some_and(|value| value == "true");
        Ok((failed, answer.json().unwrap_or(Value::Null)))
    }

    /// Looks at the platform from outside.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn healthy(&mut self) -> Result<(), String> {
        if self.platform.has_ended() {
            return Err(format!("the platform has ended:\n{}", self.platform.log()));
        }
        let ready = self.platform.http().get("/readyz").await;
        if !ready.is_ok_and(|answer| answer.status.is_success()) {
            return Err("the platform is not ready".to_owned());
        }
        let grown = resident_kib(&self.platform).saturating_sub(self.resident);
        if grown > GROWTH_KIB {
            return Err(format!("the platform has grown by {grown} KiB"));
        }
        Ok(())
    }

    /// Stops everything, and tells what the neighbor saw and what is wrong with the host.
    ///
    /// # Errors
    /// The neighbor missed an answer, the platform's program was changed, or something is left on the host.
    ///
    /// # Panics
    /// It was closed before.
    pub async fn close(mut self) -> Result<Seen, String> {
        let seen = self.neighbor.take().expect("closed once").stop().await;
        if !seen.errors.is_empty() {
            return Err(format!(
                "the neighbor had {} errors: {:?}",
                seen.errors.len(),
                seen.errors.first()
            ));
        }
        if program_of(&self.platform) != self.program {
            return Err("the platform's program was changed".to_owned());
        }
        self.platform.stop().await;
        let left = self.platform.leftovers();
        if left.is_empty() {
            Ok(seen)
        } else {
            Err(format!("left on the host: {left:?}"))
        }
    }
}

/// Holds what came of an attack against what must.
fn judge(expect: Expect, failed: bool, answer: &Value) -> Result<String, String> {
    match expect {
        Expect::Ended(words) => {
            let text = answer.to_string();
            let known = failed && words.iter().any(|word| text.contains(word));
            if known {
                Ok(shortened(&text))
            } else {
                Err(shortened(&text))
            }
        }
        Expect::Each(words) => {
            let steps = answer["steps"].as_object().filter(|steps| !failed && !steps.is_empty());
            let Some(steps) = steps else {
                return Err(shortened(&answer.to_string()));
            };
            let odd = steps
                .iter()
                .filter(|(_, came)| !came.as_str().is_some_and(|came| words.contains(&came)));
            let odd: Vec<_> = odd.map(|(step, came)| format!("{step}: {came}")).collect();
            if !odd.is_empty() {
                return Err(odd.join("; "));
            }
            let came: std::collections::BTreeSet<_> = steps.values().filter_map(Value::as_str).collect();
            let came: Vec<_> = came.into_iter().collect();
            Ok(format!("{} steps: {}", steps.len(), came.join(", ")))
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(240).collect()
}

/// Compiles the C attacker, without any library that it would need inside.
fn compile(folder: &Path) -> PathBuf {
    let program = folder.join("foreign");
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-O1", "-o"]).arg(&program);
    let compiled = compiler.arg(checkout("tests/attacks/functions/foreign.c")).status();
    let compiled = compiled.expect("a C compiler (`cc`) is needed; on Debian: apt-get install gcc libc6-dev");
    assert!(compiled.success(), "foreign.c cannot be compiled");
    program
}

fn program_of(platform: &Platform) -> Vec<u8> {
    fs::read(format!("/proc/{}/exe", platform.id())).expect("its program")
}

fn resident_kib(platform: &Platform) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", platform.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// Addresses of this host, as far as its routes tell.
fn addresses() -> Vec<IpAddr> {
    let toward = |own: &str, there: &str| {
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((there, 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    [toward("0.0.0.0", "192.0.2.1"), toward("::", "2001:db8::1")]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether a process with this word in its command line runs on the host.
fn is_running(mark: &str) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|byte| byte.is_ascii_digit())
    });
    ids.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default())
        .any(|line| line.windows(mark.len()).any(|part| part == mark.as_bytes()))
}

/// Longest time that a call which the platform ends may take beyond its own limit, on a loaded machine.
pub const LATE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_that_is_missing_is_told() {
        let refused = Expect::Each(&["EPERM"]);
        assert!(judge(refused, false, &json!({"steps": {"mount": "EPERM"}})).is_ok());
        for answer in [
            json!({"steps": {"mount": "EPERM", "chroot": "done"}}),
            json!({"steps": {"mount": 1}}),
            json!({"steps": {}}),
            json!(null),
        ] {
            assert!(judge(refused, false, &answer).is_err(), "{answer}");
        }
        let ended = Expect::Ended(&["OutOfMemory"]);
        assert!(judge(ended, true, &json!({"errorType": "Runtime.OutOfMemory"})).is_ok());
        assert!(judge(ended, true, &json!({"errorType": "Runtime.ExitError"})).is_err());
        assert!(judge(ended, false, &json!("OutOfMemory")).is_err());
    }
}
