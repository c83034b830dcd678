//! Running a step in a cell from the command line: what it says is shown and its end kept, its time is bounded.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use super::plan::{Plan, Shown};
use super::{BuildError, cell};
use crate::progress::Progress;

/// Longest time of one step.
const LIMIT: Duration = Duration::from_secs(600);
/// Lines of a step's output that are kept for its error.
const LINES_KEPT: usize = 30;
/// Bytes of a line that are kept.
const LINE_BYTES: u64 = 400;

/// One step.
#[derive(Debug)]
pub struct Step<'a> {
    /// What it does, for people.
    pub name: &'static str,
    /// The writable folder, prepared by [`prepare`].
    pub build: &'a Path,
    /// What of the host it sees beside the system's folders.
    pub shown: Vec<Shown>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Absolute path inside.
    pub directory: String,
}

/// Makes the folders that every step expects in its writable folder, and gives everything in it to the steps' uid.
pub fn prepare(build: &Path) -> Result<(), BuildError> {
    for folder in ["tmp", "home"] {
        let path = build.join(folder);
        fs::create_dir_all(&path).map_err(BuildError::io("making the folder", &path))?;
    }
    cell::give(build).map_err(BuildError::io("giving to the build's user", build))
}

/// Runs a step to its good end.
pub async fn run(step: Step<'_>) -> Result<(), BuildError> {
    let progress = Progress::start(step.name);
    let root = tempfile::tempdir().map_err(BuildError::io("making a folder in", &std::env::temp_dir()))?;
    let plan = Plan {
        root: root.path().to_owned(),
        build: step.build.to_owned(),
        shown: step.shown,
        command: step.command,
        environment: step.environment,
        directory: step.directory,
    };
    let text = serde_json::to_vec(&plan).map_err(|error| BuildError::Cell(error.to_string()))?;
    let mut tail = Tail::default();
    let ended = tokio::time::timeout(LIMIT, supervise(&text, &mut tail, &progress)).await;
    let status = match ended {
        Ok(status) => status.map_err(|error| BuildError::Cell(error.to_string()))?,
        Err(_) => {
            return Err(BuildError::TimedOut {
                step: step.name,
                seconds: LIMIT.as_secs(),
                output: tail.text(),
            });
        }
    };
    if status.success() {
        return Ok(());
    }
    if status.code() == Some(i32::from(cell::CELL_FAILED))
        && let Some(why) = tail.lines.iter().find_map(|line| line.strip_prefix(cell::MARK))
    {
        return Err(BuildError::Cell(why.to_owned()));
    }
    Err(BuildError::Step {
        step: step.name,
        status: status.to_string(),
        output: tail.text(),
    })
}

/// Starts the cell and follows it to its end. Dropping the future kills the cell.
async fn supervise(plan: &[u8], tail: &mut Tail, progress: &Progress) -> std::io::Result<ExitStatus> {
    let mut child = Command::new("/proc/self/exe")
        .arg(cell::OUTER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(std::io::Error::other("the pipes of the cell are missing"));
    };
    stdin.write_all(plan).await?;
    drop(stdin);
    let (mut out, mut err) = (Lines::new(stdout), Lines::new(stderr));
    loop {
        let line = tokio::select! {
            line = out.next(), if !out.ended => line?,
            line = err.next(), if !err.ended => line?,
            else => break,
        };
        if let Some(line) = line {
            progress.say(&line);
            tail.push(line);
        }
    }
    child.wait().await
}

/// Lines of a stream, each cut at [`LINE_BYTES`]. Cancel safe: what was read stays in the buffer.
struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
            ended: false,
        }
    }

    async fn next(&mut self) -> std::io::Result<Option<String>> {
        loop {
            let room = LINE_BYTES.saturating_sub(self.line.len() as u64).max(1);
            let read = (&mut self.reader).take(room).read_until(b'\n', &mut self.line).await?;
            self.ended = read == 0;
            let whole = self.ended || self.line.ends_with(b"\n") || self.line.len() as u64 >= LINE_BYTES;
            if whole {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line))
                    .trim_end()
                    .to_owned();
                return Ok((!line.is_empty()).then_some(line));
            }
        }
    }
}

/// The end of what a step said.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    fn push(&mut self, line: String) {
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        // Control characters could do things to the terminal that shows the error.
        self.lines
            .push_back(line.chars().filter(|c| !c.is_control() || *c == '\t').collect());
    }

    fn text(&self) -> String {
        self.lines
            .iter()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
