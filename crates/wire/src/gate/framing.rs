//! Where requests begin and end in the bytes of an HTTP/1 connection, decided more strictly than the HTTP library does: what
//! two readers could take for different things is refused here, before the library sees it.
//!
//! Sources: RFC 9112, 2.2 (line ends), 5 (fields), 6.1 to 6.3 (length of a message), 7.1 (chunks); RFC 9110, 5.6.2 (tokens).

use super::Refusal;

/// Longest line that announces a chunk: its length and whatever extensions it has.
const CHUNK_LINE_MAX: usize = 256;

/// Empty lines that may stand before a request (RFC 9112, 2.2 lets a server skip some).
const BLANK_LINES_MAX: u8 = 4;

/// Bounds of a request's head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    /// Bytes of the whole head.
    pub(super) bytes: usize,
    /// Bytes of the target in its first line.
    pub(super) target_bytes: usize,
    /// Header lines, of trailers too.
    pub(super) headers: usize,
}

/// What was found of a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It goes on after what has come.
    Partial,
    /// It is whole and sound, with so many bytes.
    Whole(usize),
}

/// Follows one connection from request to request.
#[derive(Debug)]
pub(super) struct Framing {
    limits: HeadLimits,
    state: State,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// So many bytes of a body are to come.
    Length(u64),
    Chunked(Chunked),
}

impl Framing {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Head(Head::default()),
        }
    }

    /// Whether the next byte belongs to a head (its first one included).
    pub(super) fn in_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Looks at the bytes of a head from its first one on; each call has all bytes of the last one and perhaps more. Must be
    /// called only [`Self::in_head`].
    pub(super) fn head(&mut self, bytes: &[u8]) -> Result<Found, Refusal> {
        let State::Head(head) = &mut self.state else {
            return Ok(Found::Whole(0));
        };
        let found = head.read(bytes, &self.limits)?;
        if let Found::Whole(_) = found {
            self.state = match head.body()? {
                None => State::Head(Head::default()),
                Some(Length::Known(0)) => State::Head(Head::default()),
                Some(Length::Known(bytes)) => State::Length(bytes),
                Some(Length::Chunks) => State::Chunked(Chunked::default()),
            };
        }
        Ok(found)
    }

    /// Takes bytes of a body; how many of them belong to it. Fewer than all: the next head begins behind them.
    pub(super) fn body(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match &mut self.state {
            State::Head(_) => Ok(0),
            State::Length(left) => {
                let taken = (bytes.len() as u64).min(*left);
                *left -= taken;
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                // At most the length of a slice.
                Ok(taken as usize)
            }
            State::Chunked(chunked) => {
                let (taken, over) = chunked.read(bytes, &self.limits)?;
                if over {
                    self.state = State::Head(Head::default());
                }
                Ok(taken)
            }
        }
    }
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunks,
}

/// A head as far as it has been read.
#[derive(Debug, Default)]
struct Head {
    /// Where the line that is not over begins.
    line: usize,
    /// Where to look for its end.
    scanned: usize,
    blank_lines: u8,
    /// Whether its first line said HTTP/1.1 (`Some(true)`) or HTTP/1.0; `None` before that line.
    newer: Option<bool>,
    headers: usize,
    length: Option<u64>,
    chunks: bool,
}

impl Head {
    fn read(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Found, Refusal> {
        while let Some(end) = bytes[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let end = self.scanned + end;
            if end >= limits.bytes {
                return Err(self.too_large(end, limits));
            }
            let line = bytes[self.line..end].strip_suffix(b"\r").ok_or(Refusal::BareLineFeed)?;
            (self.line, self.scanned) = (end + 1, end + 1);
            match (self.newer, line.is_empty()) {
                (None, true) if self.blank_lines < BLANK_LINES_MAX => self.blank_lines += 1,
                (None, _) => self.newer = Some(request_line(line, limits)?),
                (Some(_), true) => return Ok(Found::Whole(end + 1)),
                (Some(_), false) => self.header(line, limits)?,
            }
        }
        self.scanned = bytes.len();
        if bytes.len() >= limits.bytes || (self.newer.is_none() && bytes.len() - self.line > limits.target_bytes + 64) {
            return Err(self.too_large(bytes.len(), limits));
        }
        Ok(Found::Partial)
    }

    /// Which limit was passed: while the first line lasts, it is the target that is too long.
    fn too_large(&self, end: usize, limits: &HeadLimits) -> Refusal {
        if self.newer.is_none() && end - self.line > limits.target_bytes {
            return Refusal::TargetTooLong(limits.target_bytes);
        }
        Refusal::HeadTooLarge(limits.bytes)
    }

    fn header(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
        self.headers += 1;
        if self.headers > limits.headers {
            return Err(Refusal::TooManyHeaders(limits.headers));
        }
        let (name, value) = field(line)?;
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::RepeatedLength);
                }
                self.length = Some(length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunks || self.newer != Some(true) || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::Encoding);
                }
                self.chunks = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// The body that a whole head announces.
    fn body(&self) -> Result<Option<Length>, Refusal> {
        match (self.length, self.chunks) {
            (Some(_), true) => Err(Refusal::LengthAndEncoding),
            (Some(bytes), false) => Ok(Some(Length::Known(bytes))),
            (None, true) => Ok(Some(Length::Chunks)),
            (None, false) => Ok(None),
        }
    }
}

/// Checks `METHOD TARGET HTTP/1.x`; whether it is 1.1.
fn request_line(line: &[u8], limits: &HeadLimits) -> Result<bool, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    if target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong(limits.target_bytes));
    }
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() {
        return Err(Refusal::RequestLine);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(Refusal::RequestLine),
    }
}

/// A line `NAME: VALUE`; the value without the white space around it.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::FoldedHeader);
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::HeaderName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Refusal::HeaderName);
    }
    if value
        .iter()
        .any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
    {
        return Err(Refusal::HeaderValue);
    }
    Ok((name, value.trim_ascii()))
}

/// A length: digits, nothing else, and few enough of them for 64 bits.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Length);
    }
    Ok(value
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Characters of a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A body in chunks as far as it has been read.
#[derive(Debug, Default)]
struct Chunked {
    part: Part,
    /// Bytes of the line that is not over, at most [`CHUNK_LINE_MAX`] of a chunk's, the head's limit of trailers.
    line: Vec<u8>,
    trailers: usize,
    trailer_bytes: usize,
}

#[derive(Debug, Default)]
enum Part {
    #[default]
    Size,
    Data(u64),
    /// The line end behind a chunk's data.
    DataEnd,
    Trailers,
}

impl Chunked {
    /// Takes bytes: how many, and whether the body is over behind them.
    fn read(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if let Part::Data(left) = &mut self.part {
                let taken = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                at += taken;
                *left -= taken as u64;
                if *left == 0 {
                    self.part = Part::DataEnd;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if byte != b'\n' {
                self.line.push(byte);
                self.check_line_length(limits)?;
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").ok_or(Refusal::BareLineFeed)?;
            if self.line_over(line, limits)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    fn check_line_length(&self, limits: &HeadLimits) -> Result<(), Refusal> {
        let allowed = match self.part {
            Part::Size | Part::Data(_) => CHUNK_LINE_MAX,
            Part::DataEnd => 1,
            Part::Trailers => limits.bytes.saturating_sub(self.trailer_bytes),
        };
        if self.line.len() > allowed {
            return Err(Refusal::Chunk);
        }
        Ok(())
    }

    /// What follows behind a line; whether it was the last one.
    fn line_over(&mut self, line: &[u8], limits: &HeadLimits) -> Result<bool, Refusal> {
        match self.part {
            Part::Size => {
                self.part = match chunk_size(line)? {
                    0 => Part::Trailers,
                    size => Part::Data(size),
                };
            }
            Part::DataEnd if line.is_empty() => self.part = Part::Size,
            Part::Data(_) | Part::DataEnd => return Err(Refusal::Chunk),
            Part::Trailers if line.is_empty() => return Ok(true),
            Part::Trailers => {
                self.trailers += 1;
                self.trailer_bytes += line.len() + 2;
                if self.trailers > limits.headers {
                    return Err(Refusal::TooManyHeaders(limits.headers));
                }
                field(line)?;
            }
        }
        Ok(false)
    }
}

/// `SIZE` in hexadecimal, with extensions that are ignored.
fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    let (digits, extension) = (line[..end].trim_ascii_end(), &line[end..]);
    let controls = extension.iter().any(|byte| *byte < b' ' && *byte != b'\t');
    if digits.is_empty() || digits.len() > 15 || controls {
        return Err(Refusal::Chunk);
    }
    digits.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(Refusal::Chunk)?;
        Ok(number * 16 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 400,
        target_bytes: 100,
        headers: 5,
    };

    /// Reads one request byte by byte and at once, and returns what both find: the bytes of it, or why it is refused.
    fn read(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let whole = read_in_steps(bytes, bytes.len().max(1));
        for step in [1, 2, 3, 7] {
            assert_eq!(read_in_steps(bytes, step), whole, "in steps of {step}");
        }
        whole
    }

    fn read_in_steps(bytes: &[u8], step: usize) -> Result<Option<usize>, Refusal> {
        let mut framing = Framing::new(LIMITS);
        let (mut come, mut head) = (0, 0);
        while head == 0 {
            if come == bytes.len() {
                return Ok(None);
            }
            come = (come + step).min(bytes.len());
            if let Found::Whole(length) = framing.head(&bytes[..come])? {
                head = length;
            }
        }
        let mut taken = head;
        while !framing.in_head() {
            let end = (taken + step).min(bytes.len());
            if taken == end {
                return Ok(None);
            }
            taken += framing.body(&bytes[taken..end])?;
        }
        Ok(Some(taken))
    }

    #[test]
    fn requests_end_where_they_say() {
        for (request, behind) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET"),
            ("\r\n\r\nGET / HTTP/1.0\r\n\r\n", ""),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "GET / HTTP/1.1\r\n"),
            ("POST / HTTP/1.1\r\nContent-Length:\t0 \r\n\r\n", "x"),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                "GET",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA;b=\"c\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
                "",
            ),
        ] {
            let bytes = [request, behind].concat();
            assert_eq!(read(bytes.as_bytes()), Ok(Some(request.len())), "{request:?}");
            for cut in 0..request.len() {
                assert_eq!(read(&request.as_bytes()[..cut]), Ok(None), "{request:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let long = "a".repeat(101);
        let many = "X: y\r\n".repeat(6);
        let wide = format!("X: {}\r\nY: {0}\r\n", "y".repeat(200));
        let post = |lines: &str| format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n");
        let chunks = |body: &str| post("Transfer-Encoding: chunked") + body;
        let cases = [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(), Refusal::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(), Refusal::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(), Refusal::BareLineFeed),
            ("\nGET / HTTP/1.1\r\n\r\n".to_owned(), Refusal::BareLineFeed),
            ("\r\n".repeat(5), Refusal::RequestLine),
            ("GET /\r\n\r\n".to_owned(), Refusal::RequestLine),
            ("GET  / HTTP/1.1\r\n\r\n".to_owned(), Refusal::RequestLine),
            ("G\tT / HTTP/1.1\r\n\r\n".to_owned(), Refusal::RequestLine),
            ("GET / HTTP/2.0\r\n\r\n".to_owned(), Refusal::RequestLine),
            (format!("GET /{long} HTTP/1.1\r\n\r\n"), Refusal::TargetTooLong(100)),
            (format!("GET /{}", long.repeat(9)), Refusal::TargetTooLong(100)),
            (post(&many), Refusal::TooManyHeaders(5)),
            (post(&wide), Refusal::HeadTooLarge(400)),
            (post("X : y"), Refusal::HeaderName),
            (post(": y"), Refusal::HeaderName),
            (post("X"), Refusal::HeaderName),
            (post("X: y\r\n z"), Refusal::FoldedHeader),
            (post("X: a\0b"), Refusal::HeaderValue),
            (post("X: a\rb"), Refusal::HeaderValue),
            (post("Content-Length: 3\r\nContent-Length: 3"), Refusal::RepeatedLength),
            (post("Content-Length: 3, 3"), Refusal::Length),
            (post("Content-Length: +3"), Refusal::Length),
            (post("Content-Length: "), Refusal::Length),
            (post("Content-Length: 99999999999999999999"), Refusal::Length),
            (
                post("Content-Length: 3\r\nTransfer-Encoding: chunked"),
                Refusal::LengthAndEncoding,
            ),
            (post("Transfer-Encoding: gzip, chunked"), Refusal::Encoding),
            (post("Transfer-Encoding: xchunked"), Refusal::Encoding),
            (
                post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
                Refusal::Encoding,
            ),
            (
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                Refusal::Encoding,
            ),
            (chunks("3\nabc"), Refusal::BareLineFeed),
            (chunks("3\r\nabcd\r\n"), Refusal::Chunk),
            (chunks("0x3\r\nabc\r\n"), Refusal::Chunk),
            (chunks("-3\r\n"), Refusal::Chunk),
            (chunks("\r\n"), Refusal::Chunk),
            (chunks("1111111111111111\r\n"), Refusal::Chunk),
            (chunks(&format!("3;{}\r\n", "x".repeat(300))), Refusal::Chunk),
            (chunks(&format!("0\r\n{many}\r\n")), Refusal::TooManyHeaders(5)),
            (chunks(&format!("0\r\n{wide}\r\n")), Refusal::Chunk),
            (chunks("0\r\nX y\r\n\r\n"), Refusal::HeaderName),
        ];
        for (request, expected) in cases {
            assert_eq!(read(request.as_bytes()), Err(expected), "{request:?}");
        }
    }
}
