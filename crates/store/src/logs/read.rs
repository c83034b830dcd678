//! The newest lines of a function, read backwards from its segments.

use std::fs;
use std::io;
use std::path::Path;

use sonagi_model::{FunctionId, InvocationId, Timestamp};
use sonagi_ports::LogLine;

use super::line::decode;
use super::segments;

/// Which lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    pub(super) function: FunctionId,
    pub(super) invocation: Option<InvocationId>,
    pub(super) since: Option<Timestamp>,
    /// How many at most, the newest.
    pub(super) limit: usize,
}

/// Lines that pass, oldest first. One segment is in memory at a time.
pub(super) fn tail(folder: &Path, filter: &Filter) -> io::Result<Vec<LogLine>> {
    let wanted = filter.invocation.map(|invocation| invocation.to_string());
    let mut found = Vec::new();
    for segment in segments::list(folder)?.into_iter().rev() {
        if found.len() >= filter.limit {
            break;
        }
        let text = match fs::read(&segment.path) {
            Ok(text) => text,
            // It was the oldest one and went meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let lines = text.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        // Most lines are of other invocations: looking for the id is faster than reading them all.
        let candidates = lines.filter(|line| wanted.as_ref().is_none_or(|id| contains(line, id.as_bytes())));
        let passing = candidates
            .filter_map(|line| decode(filter.function, line))
            .filter(|line| passes(line, filter));
        found.extend(passing.take(filter.limit - found.len()));
    }
    found.reverse();
    Ok(found)
}

fn contains(line: &[u8], id: &[u8]) -> bool {
    line.windows(id.len()).any(|window| window == id)
}

fn passes(line: &LogLine, filter: &Filter) -> bool {
    (filter.invocation.is_none() || line.invocation == filter.invocation)
        && filter.since.is_none_or(|since| line.time >= since)
}
