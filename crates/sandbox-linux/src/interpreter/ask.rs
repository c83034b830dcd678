//! Asking an interpreter what it is. Its answer is kept, so that each file is run once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};
use sonagi_ports::Language;

/// Longest time that a program may take to answer.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// Longest answer.
const MOST_BYTES: u64 = 16 * 1024;
/// Format of the file with the answers.
const FORMAT: u32 = 1;

/// Isolated mode, without site packages: nothing of the host's configuration takes part.
const PYTHON_QUESTION: &str = "import sys, json, os
print(sys.implementation.name)
print('.'.join(map(str, sys.version_info[:3])))
print(sys.base_prefix)
print(os.path.dirname(os.path.dirname(json.__file__)))";

/// What an interpreter says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// For instance `3.11.7`.
    pub(super) version: String,
    /// The folder that holds all of it.
    pub(super) prefix: PathBuf,
    /// Python: its standard library.
    pub(super) library: Option<PathBuf>,
}

/// Answers of earlier runs, by the identity of the file that gave them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answers {
    format: u32,
    known: BTreeMap<String, Option<Answer>>,
    #[serde(skip)]
    used: BTreeMap<String, Option<Answer>>,
}

impl Answers {
    /// Reads what an earlier process has written. A file that cannot be read or understood is as good as none.
    pub(super) fn load(file: &Path) -> Self {
        let earlier = fs::read(file)
            .ok()
            .and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        earlier.filter(|answers| answers.format == FORMAT).unwrap_or(Self {
            format: FORMAT,
            known: BTreeMap::new(),
            used: BTreeMap::new(),
        })
    }

    /// Writes those that were asked for since [`Answers::load`].
    pub(super) fn save(self, file: &Path) -> io::Result<()> {
        let used = Self {
            format: FORMAT,
            known: self.used,
            used: BTreeMap::new(),
        };
        let draft = file.with_extension("new");
        fs::write(&draft, serde_json::to_vec(&used)?)?;
        fs::rename(draft, file)
    }

    /// What the program is; `None` when it is not what its name says or does not answer.
    pub(super) fn of(&mut self, language: Language, program: &Path) -> Option<Answer> {
        let found = fs::metadata(program).ok()?;
        let key = format!(
            "{}|{}|{}|{}.{}",
            program.display(),
            found.ino(),
            found.size(),
            found.mtime(),
            found.mtime_nsec()
        );
        let answer = match self.known.get(&key) {
            Some(answer) => answer.clone(),
            None => ask(language, program),
        };
        self.used.insert(key, answer.clone());
        answer
    }
}

fn ask(language: Language, program: &Path) -> Option<Answer> {
    let arguments: &[&str] = match language {
        Language::Python => &["-I", "-S", "-c", PYTHON_QUESTION],
        Language::Node => &["--version"],
    };
    match run(program, arguments) {
        Ok(text) => understand(language, program, &text),
        Err(error) => {
            tracing::warn!(program = %program.display(), %error, "an interpreter does not answer and is not used");
            None
        }
    }
}

fn understand(language: Language, program: &Path, text: &str) -> Option<Answer> {
    let mut lines = text.lines();
    match language {
        Language::Python => {
            lines.next().filter(|name| *name == "cpython")?;
            let (version, prefix, library) = (lines.next()?.to_owned(), lines.next()?.into(), lines.next()?.into());
            Some(Answer {
                version,
                prefix,
                library: Some(library),
            })
        }
        Language::Node => {
            let version = lines.next()?.strip_prefix('v')?.to_owned();
            Some(Answer {
                version,
                prefix: program.parent()?.parent()?.to_path_buf(),
                library: None,
            })
        }
    }
}

/// Runs a program with an empty environment and returns what it prints. It is killed when it takes too long.
fn run(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let ended = ended_in_time(&child);
    if !matches!(ended, Ok(true)) {
        child.kill()?;
    }
    let status = child.wait()?;
    if !ended? {
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    // What it printed fits the pipe, else it would not have ended. A descendant that it left may hold the pipe open: no
    // more is read than is there.
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        rustix::io::ioctl_fionbio(&output, true)?;
        match output.take(MOST_BYTES).read_to_string(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => drop(other?),
        }
    }
    Ok(text)
}

fn ended_in_time(child: &Child) -> io::Result<bool> {
    let process = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut waited = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut waited, Some(&PATIENCE)))?;
    Ok(ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let program = Path::new("/opt/node/bin/node");
        let node = understand(Language::Node, program, "v22.1.0\n").unwrap();
        assert_eq!(
            (node.version.as_str(), node.prefix.as_path()),
            ("22.1.0", Path::new("/opt/node"))
        );
        let text = "cpython\n3.11.7\n/p\n/p/lib/python3.11\n";
        let python = understand(Language::Python, program, text).unwrap();
        assert_eq!(
            (python.version.as_str(), python.library),
            ("3.11.7", Some(PathBuf::from("/p/lib/python3.11")))
        );
        assert_eq!(understand(Language::Python, program, "pypy\n3.11.7\n/p\n/p\n"), None);
        assert_eq!(understand(Language::Node, program, ""), None);
    }

    #[test]
    fn a_program_is_asked_once_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (program, file) = (dir.path().join("node"), dir.path().join("answers"));
        let script = |version: &str| {
            let count = dir.path().join("count");
            fs::write(
                &program,
                format!("#!/bin/sh\necho x >> {}\necho {version}\n", count.display()),
            )
            .unwrap();
            fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        };
        let version = || {
            let mut answers = Answers::load(&file);
            let answer = answers.of(Language::Node, &program);
            answers.save(&file).unwrap();
            answer.map(|answer| answer.version)
        };
        script("v1.2.3");
        assert_eq!(version().as_deref(), Some("1.2.3"));
        assert_eq!(version().as_deref(), Some("1.2.3"));
        assert_eq!(fs::read_to_string(dir.path().join("count")).unwrap(), "x\n");
        script("v1.2.34");
        assert_eq!(version().as_deref(), Some("1.2.34"));
        script("exit 3");
        assert_eq!(version(), None);
    }
}
