//! What becomes of the bytes that an instance writes: lines, each with the invocation during which it was read, under
//! limits whose marks are lines too. Pure: bytes and times in, lines out.

use std::collections::VecDeque;

use sonagi_model::{FunctionId, InstanceId, InvocationId, LogLimits, Revision, Timestamp};
use sonagi_ports::{LogLine, LogSource};

/// Longest part of an unfinished line whose buffer is kept between invocations.
const KEPT_BUFFER: usize = 4096;

/// Turns output into lines.
#[derive(Debug)]
pub(crate) struct Scribe {
    function: FunctionId,
    label: String,
    instance: InstanceId,
    limits: LogLimits,
    invocation: Option<InvocationId>,
    /// A line whose end has not come yet; at most `limits.line` bytes.
    partial: Vec<u8>,
    /// Whether bytes of that line were dropped.
    overlong: bool,
    /// Bytes of this invocation so far.
    written: usize,
    rate: Rate,
    tail: Option<Tail>,
    ready: Vec<LogLine>,
}

/// A bucket of bytes that fills by the sustained rate and holds what one invocation may write.
#[derive(Debug)]
struct Rate {
    available: u64,
    filled: Timestamp,
    dropped: u64,
}

/// The last bytes of an invocation's log.
#[derive(Debug)]
struct Tail {
    limit: usize,
    bytes: VecDeque<u8>,
}

impl Tail {
    fn push(&mut self, text: &str) {
        self.bytes.extend(text.as_bytes());
        self.bytes.push_back(b'\n');
        let surplus = self.bytes.len().saturating_sub(self.limit);
        self.bytes.drain(..surplus);
    }
}

impl Scribe {
    pub(crate) fn new(revision: &Revision, instance: InstanceId, limits: LogLimits, now: Timestamp) -> Self {
        let available = capacity(&limits);
        Self {
            function: revision.function,
            label: revision.label.clone(),
            instance,
            limits,
            invocation: None,
            partial: Vec::new(),
            overlong: false,
            written: 0,
            rate: Rate {
                available,
                filled: now,
                dropped: 0,
            },
            tail: None,
            ready: Vec::new(),
        }
    }

    /// What follows belongs to this invocation, or to none; its last `tail` bytes are kept.
    pub(crate) fn begin(&mut self, invocation: Option<InvocationId>, tail: Option<usize>) {
        self.invocation = invocation;
        self.written = 0;
        self.tail = tail.map(|limit| Tail {
            limit,
            bytes: VecDeque::new(),
        });
    }

    /// The invocation is over: an unfinished line is finished, and what follows belongs to none.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        self.cut(now);
        self.mark_dropped(now);
        if self.partial.capacity() > KEPT_BUFFER {
            self.partial = Vec::new();
        }
    }

    /// Forgets the invocation and hands over its tail, if one was kept.
    pub(crate) fn end(&mut self) -> Option<Vec<u8>> {
        self.invocation = None;
        self.written = 0;
        self.tail.take().map(|tail| tail.bytes.into())
    }

    /// Bytes that the instance wrote.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Timestamp) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..end]);
            self.line(now);
            rest = &rest[end + 1..];
        }
        self.extend(rest);
    }

    /// The instance will write nothing any more, or nothing that belongs to what it has written.
    pub(crate) fn cut(&mut self, now: Timestamp) {
        if !self.partial.is_empty() || self.overlong {
            self.line(now);
        }
    }

    /// Lines of the platform, which no limit drops.
    pub(crate) fn platform(&mut self, lines: Vec<String>, now: Timestamp) {
        for text in lines {
            self.push(text, LogSource::Platform, now, false);
        }
    }

    /// The finished lines, oldest first.
    pub(crate) fn take(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.ready)
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = self.limits.line - self.partial.len();
        self.overlong |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The partial line is complete.
    fn line(&mut self, now: Timestamp) {
        let truncated = std::mem::take(&mut self.overlong);
        let size = self.partial.len() + 1;
        if self.admit(size, now) {
            let end = self.partial.strip_suffix(b"\r").map_or(self.partial.len(), <[u8]>::len);
            let text = String::from_utf8_lossy(&self.partial[..end]).into_owned();
            self.push(text, LogSource::Function, now, truncated);
        }
        self.partial.clear();
    }

    /// Whether a line of this size may be kept; marks what is dropped.
    fn admit(&mut self, size: usize, now: Timestamp) -> bool {
        let before = self.written;
        self.written = before.saturating_add(size);
        if self.written > self.limits.invocation {
            if before <= self.limits.invocation {
                let text = format!(
                    "more than {} bytes of output; the rest is dropped",
                    self.limits.invocation
                );
                self.push(text, LogSource::Platform, now, true);
                // Further lines, however short, are beyond the limit too.
                self.written = self.limits.invocation + 1;
            }
            return false;
        }
        self.rate.fill(&self.limits, now);
        if self.rate.available < size as u64 {
            self.rate.dropped += 1;
            return false;
        }
        self.rate.available -= size as u64;
        self.mark_dropped(now);
        true
    }

    fn mark_dropped(&mut self, now: Timestamp) {
        let dropped = std::mem::take(&mut self.rate.dropped);
        if dropped > 0 {
            let text = format!("{dropped} lines dropped: more than {} bytes a second", self.limits.rate);
            self.push(text, LogSource::Platform, now, true);
        }
    }

    fn push(&mut self, text: String, source: LogSource, time: Timestamp, truncated: bool) {
        if let Some(tail) = &mut self.tail {
            tail.push(&text);
        }
        self.ready.push(LogLine {
            time,
            function: self.function,
            label: self.label.clone(),
            instance: self.instance,
            invocation: self.invocation,
            source,
            text,
            truncated,
        });
    }
}

const fn capacity(limits: &LogLimits) -> u64 {
    let invocation = limits.invocation as u64;
    if invocation > limits.rate {
        invocation
    } else {
        limits.rate
    }
}

impl Rate {
    fn fill(&mut self, limits: &LogLimits, now: Timestamp) {
        let passed = u64::try_from(now.since(self.filled).as_micros()).unwrap_or(u64::MAX);
        let gained = limits.rate.saturating_mul(passed) / 1_000_000;
        // Steps too short to gain a byte add up until they do.
        if gained > 0 {
            self.available = self.available.saturating_add(gained).min(capacity(limits));
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sonagi_ports::fake::sample;

    use super::*;

    fn scribe(line: usize, invocation: usize, rate: u64) -> Scribe {
        let limits = LogLimits {
            line,
            invocation,
            rate,
            ..LogLimits::default()
        };
        let revision = sample::revision(&sample::function("scribe"));
        Scribe::new(&revision, InstanceId::generate(), limits, sample::NOW)
    }

    fn lines(scribe: &mut Scribe) -> Vec<(String, bool)> {
        scribe
            .take()
            .into_iter()
            .map(|line| (line.text, line.truncated))
            .collect()
    }

    #[test]
    fn bytes_become_lines_wherever_they_are_cut() {
        let mut scribe = scribe(5, 1000, 1000);
        type Case<'a> = (&'a [&'a [u8]], &'a [(&'a str, bool)]);
        let table: [Case<'_>; 6] = [
            (&[b"a\nb\r\n\n"], &[("a", false), ("b", false), ("", false)]),
            (&[b"a", b"b", b"c\nd"], &[("abc", false), ("d", false)]),
            (&[b"12345\n"], &[("12345", false)]),
            (&[b"123456\n1\n"], &[("12345", true), ("1", false)]),
            (&[b"12345", b"67", b"8\nx\n"], &[("12345", true), ("x", false)]),
            (&[b"\xff\n"], &[("\u{fffd}", false)]),
        ];
        for (chunks, expected) in table {
            for chunk in chunks {
                scribe.feed(chunk, sample::NOW);
            }
            scribe.cut(sample::NOW);
            let expected: Vec<_> = expected.iter().map(|(text, cut)| ((*text).to_owned(), *cut)).collect();
            assert_eq!(lines(&mut scribe), expected, "{chunks:?}");
        }
    }

    #[test]
    fn an_invocation_over_its_limit_is_marked_once_and_the_next_begins_anew() {
        let mut scribe = scribe(100, 10, 1_000_000);
        let id = InvocationId::generate();
        scribe.begin(Some(id), None);
        scribe.feed(b"12345678\n123\n1\n\n", sample::NOW);
        let kept = scribe.take();
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(
            (kept[0].text.as_str(), kept[0].source),
            ("12345678", LogSource::Function)
        );
        assert_eq!((kept[1].truncated, kept[1].source), (true, LogSource::Platform));
        assert!(kept.iter().all(|line| line.invocation == Some(id)));
        scribe.platform(vec!["REPORT".to_owned()], sample::NOW);
        assert_eq!(
            lines(&mut scribe),
            [("REPORT".to_owned(), false)],
            "no limit drops the platform's lines"
        );
        scribe.finish(sample::NOW);
        scribe.end();
        scribe.begin(None, None);
        scribe.feed(b"next\n", sample::NOW);
        assert_eq!(scribe.take()[0].invocation, None);
    }

    #[test]
    fn the_rate_drops_lines_and_says_how_many() {
        let mut scribe = scribe(100, 20, 20);
        scribe.feed(b"123456789\n", sample::NOW);
        scribe.begin(None, None);
        scribe.feed(b"123456789\n", sample::NOW);
        scribe.begin(None, None);
        assert_eq!(lines(&mut scribe).len(), 2, "the bucket was full");
        scribe.feed(b"a\nb\nc\n", sample::NOW);
        assert_eq!(lines(&mut scribe), []);
        scribe.feed(b"d\n", sample::NOW.plus(Duration::from_millis(100)));
        let marked = [
            ("3 lines dropped: more than 20 bytes a second".to_owned(), true),
            ("d".to_owned(), false),
        ];
        assert_eq!(lines(&mut scribe), marked);
        scribe.feed(b"e\n", sample::NOW.plus(Duration::from_millis(100)));
        scribe.finish(sample::NOW);
        assert_eq!(lines(&mut scribe)[0].0, "1 lines dropped: more than 20 bytes a second");
    }

    #[test]
    fn the_tail_has_the_last_bytes_of_everything() {
        let mut scribe = scribe(100, 100, 100);
        scribe.begin(Some(InvocationId::generate()), Some(12));
        scribe.platform(vec!["START".to_owned()], sample::NOW);
        scribe.feed(b"one\ntwo", sample::NOW);
        scribe.finish(sample::NOW);
        scribe.platform(vec!["END".to_owned()], sample::NOW);
        assert_eq!(scribe.end().unwrap(), b"one\ntwo\nEND\n");
        assert_eq!(scribe.end(), None);
    }
}
