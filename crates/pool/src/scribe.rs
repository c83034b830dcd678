//! What becomes of the bytes that an instance writes: lines, each with the invocation during which it was read, under
//! limits whose marks are lines too. Pure: bytes and times in, lines out.
//!
//! Where an instance works on several events at once, a line may say to which it belongs
//! ([`sonagi_ports::OUTPUT_MARK`]); one that does not belongs to all that run then.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use sonagi_model::{FunctionId, InstanceId, InvocationId, LogLimits, Revision, Timestamp};
use sonagi_ports::{LogLine, LogSource, MARK_BYTES, marked_line};

/// Longest part of an unfinished line whose buffer is kept between invocations.
const KEPT_BUFFER: usize = 4096;

/// Turns output into lines.
#[derive(Debug)]
pub(crate) struct Scribe {
    function: FunctionId,
    label: String,
    instance: InstanceId,
    limits: LogLimits,
    /// Whether lines may say to which invocation they belong.
    marks: bool,
    /// Invocations under way, in the order in which they began.
    open: Vec<Open>,
    /// What belongs to none of them.
    loose: Open,
    /// A line whose end has not come yet; at most `limits.line` bytes.
    partial: Vec<u8>,
    /// Whether bytes of that line were dropped.
    overlong: bool,
    rate: Rate,
    ready: Vec<LogLine>,
}

/// The output of one invocation.
#[derive(Debug, Default)]
struct Open {
    invocation: Option<InvocationId>,
    /// Bytes so far.
    written: usize,
    tail: Option<Tail>,
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

/// Where a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// To all invocations under way, or to none if there are none.
    Running,
    /// To the one at this place.
    One(usize),
    /// To none.
    Nobody,
}

impl Scribe {
    pub(crate) fn new(revision: &Revision, instance: InstanceId, limits: LogLimits, now: Timestamp) -> Self {
        let available = capacity(&limits);
        Self {
            function: revision.function,
            label: revision.label.clone(),
            instance,
            limits,
            marks: revision.spec.concurrency > NonZeroU32::MIN,
            open: Vec::new(),
            loose: Open::default(),
            partial: Vec::new(),
            overlong: false,
            rate: Rate {
                available,
                filled: now,
                dropped: 0,
            },
            ready: Vec::new(),
        }
    }

    /// What follows belongs to this invocation too, or to none that has a name; its last `tail` bytes are kept.
    pub(crate) fn begin(&mut self, invocation: Option<InvocationId>, tail: Option<usize>) {
        self.open.retain(|open| open.invocation != invocation);
        self.open.push(Open {
            invocation,
            written: 0,
            tail: tail.map(|limit| Tail {
                limit,
                bytes: VecDeque::new(),
            }),
        });
    }

    /// An invocation is over: a line that has no end yet is finished, unless it may be another's.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        if self.open.len() <= 1 {
            self.cut(now);
        }
        self.mark_dropped(To::Running, now);
        if self.partial.is_empty() && self.partial.capacity() > KEPT_BUFFER {
            self.partial = Vec::new();
        }
    }

    /// Forgets an invocation and hands over its tail, if one was kept.
    pub(crate) fn end(&mut self, invocation: Option<InvocationId>) -> Option<Vec<u8>> {
        let at = self.find(invocation)?;
        let ended = self.open.remove(at);
        self.loose.written = 0;
        ended.tail.map(|tail| tail.bytes.into())
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

    /// Lines of the platform about an invocation, which no limit drops.
    pub(crate) fn platform(&mut self, invocation: Option<InvocationId>, lines: Vec<String>, now: Timestamp) {
        let to = self.find(invocation).map_or(To::Nobody, To::One);
        for text in lines {
            self.push(to, text, LogSource::Platform, now, false);
        }
    }

    /// A line that did not come out of the function's output, for whatever is under way.
    pub(crate) fn beside(&mut self, source: LogSource, text: String, now: Timestamp) {
        match source {
            LogSource::Function => {
                let line = &text.as_bytes()[..text.len().min(self.limits.line)];
                self.write(To::Running, line, line.len() < text.len(), now);
            }
            LogSource::Platform if self.open.is_empty() => self.push(To::Nobody, text, source, now, false),
            LogSource::Platform => {
                for at in 0..self.open.len() {
                    self.push(To::One(at), text.clone(), source, now, false);
                }
            }
        }
    }

    /// The finished lines, oldest first.
    pub(crate) fn take(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.ready)
    }

    fn find(&self, invocation: Option<InvocationId>) -> Option<usize> {
        self.open.iter().position(|open| open.invocation == invocation)
    }

    fn extend(&mut self, bytes: &[u8]) {
        let mark = if self.marks { MARK_BYTES } else { 0 };
        let room = self.limits.line + mark - self.partial.len();
        self.overlong |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The partial line is complete.
    fn line(&mut self, now: Timestamp) {
        let truncated = std::mem::take(&mut self.overlong);
        let line = std::mem::take(&mut self.partial);
        let (mut to, mut text) = (To::Running, &line[..]);
        if self.marks
            && let Some((invocation, rest)) = marked_line(&line)
        {
            // One that is not under way here (any more) is nobody's: a function cannot write into another's log.
            to = self.find(Some(invocation)).map_or(To::Nobody, To::One);
            text = rest;
        }
        self.write(to, text, truncated, now);
        self.partial = line;
        self.partial.clear();
    }

    fn write(&mut self, to: To, line: &[u8], truncated: bool, now: Timestamp) {
        match to {
            To::Running if self.open.is_empty() => self.write(To::Nobody, line, truncated, now),
            To::Running => {
                for at in 0..self.open.len() {
                    self.write(To::One(at), line, truncated, now);
                }
            }
            To::One(_) | To::Nobody => {
                if self.admit(to, line.len() + 1, now) {
                    let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
                    self.push(to, text.into_owned(), LogSource::Function, now, truncated);
                }
            }
        }
    }

    fn of(&mut self, to: To) -> &mut Open {
        match to {
            To::One(at) => &mut self.open[at],
            To::Running | To::Nobody => &mut self.loose,
        }
    }

    /// Whether a line of this size may be kept; marks what is dropped.
    fn admit(&mut self, to: To, size: usize, now: Timestamp) -> bool {
        let limit = self.limits.invocation;
        let open = self.of(to);
        let before = open.written;
        open.written = before.saturating_add(size);
        if open.written > limit {
            // Further lines, however short, are beyond the limit too.
            open.written = limit + 1;
            if before <= limit {
                let text = format!("more than {limit} bytes of output; the rest is dropped");
                self.push(to, text, LogSource::Platform, now, true);
            }
            return false;
        }
        self.rate.fill(&self.limits, now);
        if self.rate.available < size as u64 {
            self.rate.dropped += 1;
            return false;
        }
        self.rate.available -= size as u64;
        self.mark_dropped(to, now);
        true
    }

    fn mark_dropped(&mut self, to: To, now: Timestamp) {
        let dropped = std::mem::take(&mut self.rate.dropped);
        if dropped > 0 {
            let text = format!("{dropped} lines dropped: more than {} bytes a second", self.limits.rate);
            match to {
                To::Running if !self.open.is_empty() => {
                    for at in 0..self.open.len() {
                        self.push(To::One(at), text.clone(), LogSource::Platform, now, true);
                    }
                }
                To::Running | To::One(_) | To::Nobody => self.push(to, text, LogSource::Platform, now, true),
            }
        }
    }

    fn push(&mut self, to: To, text: String, source: LogSource, time: Timestamp, truncated: bool) {
        let open = self.of(to);
        if let Some(tail) = &mut open.tail {
            tail.push(&text);
        }
        let invocation = open.invocation;
        self.ready.push(LogLine {
            time,
            function: self.function,
            label: self.label.clone(),
            instance: self.instance,
            invocation,
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
        scribe.platform(Some(id), vec!["REPORT".to_owned()], sample::NOW);
        assert_eq!(
            lines(&mut scribe),
            [("REPORT".to_owned(), false)],
            "no limit drops the platform's lines"
        );
        scribe.finish(sample::NOW);
        scribe.end(Some(id));
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
        let id = Some(InvocationId::generate());
        scribe.begin(id, Some(12));
        scribe.platform(id, vec!["START".to_owned()], sample::NOW);
        scribe.feed(b"one\ntwo", sample::NOW);
        scribe.finish(sample::NOW);
        scribe.platform(id, vec!["END".to_owned()], sample::NOW);
        assert_eq!(scribe.end(id).unwrap(), b"one\ntwo\nEND\n");
        assert_eq!(scribe.end(id), None);
    }

    /// Of an instance that works on several events.
    fn shared(line: usize, invocation: usize) -> Scribe {
        let limits = LogLimits {
            line,
            invocation,
            ..LogLimits::default()
        };
        let mut revision = sample::revision(&sample::function("scribe"));
        revision.spec.concurrency = NonZeroU32::new(3).unwrap();
        Scribe::new(&revision, InstanceId::generate(), limits, sample::NOW)
    }

    fn marked(id: InvocationId, text: &str) -> Vec<u8> {
        format!("\x1d{}\x1d{text}\n", id.as_uuid().as_simple()).into_bytes()
    }

    fn owned(scribe: &mut Scribe) -> Vec<(String, Option<InvocationId>)> {
        let lines = scribe.take().into_iter();
        lines.map(|line| (line.text, line.invocation)).collect()
    }

    #[test]
    fn marked_lines_are_one_invocations_and_others_all_that_run() {
        let mut scribe = shared(10, 1000);
        let (a, b, foreign) = (
            InvocationId::generate(),
            InvocationId::generate(),
            InvocationId::generate(),
        );
        scribe.begin(Some(a), Some(100));
        scribe.begin(Some(b), Some(100));
        let line = marked(b, "of b");
        scribe.feed(&line[..20], sample::NOW);
        scribe.feed(&line[20..], sample::NOW);
        scribe.feed(&marked(a, "of a, long"), sample::NOW);
        scribe.feed(&marked(foreign, "?"), sample::NOW);
        scribe.feed(b"both\n", sample::NOW);
        let own = |text: &str, id| (text.to_owned(), id);
        let expected = [
            own("of b", Some(b)),
            own("of a, long", Some(a)),
            own("?", None),
            own("both", Some(a)),
            own("both", Some(b)),
        ];
        assert_eq!(owned(&mut scribe), expected);
        scribe.feed(&line[..20], sample::NOW);
        scribe.finish(sample::NOW);
        assert_eq!(scribe.end(Some(a)).unwrap(), b"of a, long\nboth\n");
        scribe.feed(&line[20..], sample::NOW);
        assert_eq!(owned(&mut scribe), [own("of b", Some(b))], "another's end cuts no line");
        scribe.feed(b"rest", sample::NOW);
        scribe.finish(sample::NOW);
        assert_eq!(scribe.end(Some(b)).unwrap(), b"of b\nboth\nof b\nrest\n");
    }

    #[test]
    fn each_invocation_has_its_own_limit() {
        let mut scribe = shared(100, 10);
        let (a, b) = (InvocationId::generate(), InvocationId::generate());
        scribe.begin(Some(a), None);
        scribe.begin(Some(b), None);
        for id in [a, a, a, b] {
            scribe.feed(&marked(id, "123456"), sample::NOW);
        }
        let kept: Vec<_> = scribe
            .take()
            .into_iter()
            .map(|line| (line.invocation, line.truncated))
            .collect();
        assert_eq!(kept, [(Some(a), false), (Some(a), true), (Some(b), false)]);
    }

    #[test]
    fn an_instance_with_one_place_marks_nothing() {
        let mut scribe = scribe(100, 1000, 1000);
        let id = InvocationId::generate();
        scribe.begin(Some(id), None);
        scribe.feed(&marked(id, "x"), sample::NOW);
        assert!(owned(&mut scribe)[0].0.starts_with('\x1d'));
    }
}
