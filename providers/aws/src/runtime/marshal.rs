//! Events as Python's interpreter reads them fastest: JSON documents in the form of its `marshal` module.
//!
//! A document becomes exactly the value that `json.loads` makes of it, or is left as it is: whatever is not plain (lone
//! surrogates, `NaN`, whole numbers over 64 bits, text that is no UTF-8, a broken document) the function's own reader
//! decides, with its own errors. The form is that of all versions since 3.4 (CPython `Python/marshal.c`): one letter for a
//! type, lengths and numbers little-endian.

/// Largest document that is put into this form: the time for it is the server's, not the function's.
const LARGEST: usize = 16 * 1024;
/// Deepest nesting.
const DEEPEST: u32 = 64;
/// Room that a document may need beside its own size, before the buffer grows.
const ROOM: usize = 64;

/// Bytes of a string that are looked at: its end, an escape, what must not be there, what is not ASCII.
const NOT_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = byte < 0x20 || byte >= 0x80 || byte == b'"' as usize || byte == b'\\' as usize;
        byte += 1;
    }
    table
};

/// Appends a document in this form. If it cannot be given so, nothing is appended and the answer is false.
pub(super) fn append(document: &[u8], out: &mut Vec<u8>) -> bool {
    if document.len() > LARGEST {
        return false;
    }
    let Ok(text) = std::str::from_utf8(document) else {
        return false;
    };
    let before = out.len();
    out.reserve(document.len() + ROOM);
    let mut reader = Reader { text, at: 0, out };
    let whole = reader.value(0).is_some() && {
        reader.space();
        reader.at == text.len()
    };
    if !whole {
        out.truncate(before);
    }
    whole
}

struct Reader<'a> {
    text: &'a str,
    /// Index of the next byte; always between two characters.
    at: usize,
    out: &'a mut Vec<u8>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes this byte, or says that another is there.
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        self.space();
        match self.peek()? {
            b'{' if depth < DEEPEST => self.object(depth + 1),
            b'[' if depth < DEEPEST => self.array(depth + 1),
            b'"' => self.string(),
            b't' => self.word("true", b'T'),
            b'f' => self.word("false", b'F'),
            b'n' => self.word("null", b'N'),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, letter: u8) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| {
            self.at += word.len();
            self.out.push(letter);
        })
    }

    /// `{`, keys and values, `0`.
    fn object(&mut self, depth: u32) -> Option<()> {
        self.at += 1;
        self.out.push(b'{');
        self.space();
        if self.peek()? != b'}' {
            loop {
                self.space();
                (self.peek()? == b'"').then_some(())?;
                self.string()?;
                self.space();
                self.take(b':')?;
                self.value(depth)?;
                self.space();
                if self.take(b',').is_none() {
                    break;
                }
            }
        }
        self.take(b'}')?;
        self.out.push(b'0');
        Some(())
    }

    /// `[`, how many (32 bits), values.
    fn array(&mut self, depth: u32) -> Option<()> {
        self.at += 1;
        let place = self.letter_and_length(b'[');
        let mut count = 0_u32;
        self.space();
        if self.peek()? != b']' {
            loop {
                self.value(depth)?;
                count += 1;
                self.space();
                if self.take(b',').is_none() {
                    break;
                }
            }
        }
        self.take(b']')?;
        self.set_length(place, count)
    }

    /// `z`: ASCII with a length of 8 bits, `a`: ASCII, `u`: UTF-8, both with a length of 32 bits.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        let from = self.at;
        let mut ascii = true;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            self.at += rest.iter().position(|byte| NOT_PLAIN[usize::from(*byte)])?;
            match self.peek()? {
                b'"' => break,
                b'\\' => return self.escaped(from),
                0..0x20 => return None,
                _ => ascii = false,
            }
            self.at += 1;
        }
        let plain = self.text.as_bytes().get(from..self.at)?;
        self.at += 1;
        match u8::try_from(plain.len()) {
            Ok(length) if ascii => self.out.extend_from_slice(&[b'z', length]),
            _ => {
                self.out.push(if ascii { b'a' } else { b'u' });
                self.out
                    .extend_from_slice(&u32::try_from(plain.len()).ok()?.to_le_bytes());
            }
        }
        self.out.extend_from_slice(plain);
        Some(())
    }

    /// A string that begins there and has an escape here.
    fn escaped(&mut self, from: usize) -> Option<()> {
        let place = self.letter_and_length(b'u');
        let mut plain_from = from;
        loop {
            match self.peek()? {
                b'"' => break,
                0..0x20 => return None,
                b'\\' => {
                    self.out
                        .extend_from_slice(self.text.as_bytes().get(plain_from..self.at)?);
                    self.at += 1;
                    let character = self.escape()?;
                    self.out
                        .extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    plain_from = self.at;
                }
                _ => self.at += 1,
            }
        }
        self.out
            .extend_from_slice(self.text.as_bytes().get(plain_from..self.at)?);
        self.at += 1;
        let length = u32::try_from(self.out.len() - place - 4).ok()?;
        self.set_length(place, length)
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                if (0xd800..0xdc00).contains(&unit) && self.text.get(self.at..)?.starts_with("\\u") {
                    self.at += 2;
                    char::decode_utf16([unit, self.unit()?]).next()?.ok()?
                } else {
                    char::from_u32(u32::from(unit))?
                }
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        // `from_str_radix` takes a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }

    /// `i`: 32 bits; `l`: digits of 15 bits with their number, negative for a negative number, before them; `g`: a double.
    fn number(&mut self) -> Option<()> {
        let from = self.at;
        let _ = self.take(b'-');
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        let mut whole = true;
        if self.take(b'.').is_some() {
            whole = false;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.text.get(from..self.at)?;
        if whole {
            self.integer(text.parse().ok()?);
        } else {
            self.out.push(b'g');
            self.out.extend_from_slice(&text.parse::<f64>().ok()?.to_le_bytes());
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn integer(&mut self, number: i64) {
        if let Ok(small) = i32::try_from(number) {
            self.out.push(b'i');
            self.out.extend_from_slice(&small.to_le_bytes());
            return;
        }
        let place = self.letter_and_length(b'l');
        let (mut left, mut count) = (number.unsigned_abs(), 0_i32);
        while left > 0 {
            let digit = u16::try_from(left & 0x7fff).unwrap_or(0);
            self.out.extend_from_slice(&digit.to_le_bytes());
            left >>= 15;
            count += 1;
        }
        let count = if number < 0 { -count } else { count };
        let _ = self.set_length(place, count.cast_unsigned());
    }

    /// A letter, and room for a length; where that is.
    fn letter_and_length(&mut self, letter: u8) -> usize {
        self.out.extend_from_slice(&[letter, 0, 0, 0, 0]);
        self.out.len() - 4
    }

    fn set_length(&mut self, place: usize, length: u32) -> Option<()> {
        self.out
            .get_mut(place..place + 4)?
            .copy_from_slice(&length.to_le_bytes());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Documents that are plain.
    const PLAIN: &[&str] = &[
        "{}",
        "[]",
        " [ 1 , 2 ] ",
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1.5e3",
        "1E-7",
        "1e999",
        "2147483647",
        "2147483648",
        "-2147483649",
        "32768",
        "9223372036854775807",
        "-9223372036854775808",
        "1099511627776",
        r#""""#,
        r#""text""#,
        r#""é한글😀""#,
        r#""\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00 after""#,
        r#""é\n""#,
        r#"{"a":1,"b":[true,null,{"c":"d"}],"a":2}"#,
        "{ \"k\" :\t\"v\" ,\n\"l\" : [ ] , \"m\":{ } }",
        r#"[0.1,1.7976931348623157e308,5e-324,123456789.123456789]"#,
    ];

    /// What only the function's own reader may judge.
    const OTHER: &[&str] = &[
        "",
        " ",
        "nul",
        "NaN",
        "-Infinity",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "[1,]",
        "[1 2]",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1,}",
        "{1:2}",
        "\"\u{1}\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"open",
        "1 2",
        "\u{feff}1",
        "9223372036854775808",
        "[",
        "{",
    ];

    /// Python's judgement of pairs of a document and its form: whether both give the same value, types and order included.
    const JUDGE: &str = "
import json, marshal, sys
def same(a, b):
    if type(a) is not type(b): return False
    if type(a) is dict: return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if type(a) is list: return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)
for line in sys.stdin:
    document, form = (bytes.fromhex(part) for part in line.split())
    print(same(json.loads(document), marshal.loads(form)), document)
";

    fn judged(pairs: &[(Vec<u8>, Vec<u8>)]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let lines: String = pairs
            .iter()
            .map(|(document, form)| format!("{} {}\n", hex(document), hex(form)))
            .collect();
        let mut python = Command::new("python3")
            .args(["-c", JUDGE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut input = python.stdin.take().unwrap();
        let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
        let told = python.wait_with_output().unwrap();
        writing.join().unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert_eq!(told.lines().count(), pairs.len());
        for line in told.lines() {
            assert!(line.starts_with("True "), "{line}");
        }
    }

    fn form(document: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        if append(document, &mut out) {
            return Some(out.split_off(6));
        }
        assert_eq!(out, b"before");
        None
    }

    #[test]
    fn plain_documents_are_what_pythons_own_reader_makes_of_them() {
        let long = format!("[\"{}\",\"{}é\"]", "x".repeat(300), "y".repeat(300));
        let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
        let documents = PLAIN.iter().copied().chain([long.as_str(), deep.as_str()]);
        let pairs: Vec<_> = documents
            .map(|document| (document.into(), form(document.as_bytes()).expect(document)))
            .collect();
        judged(&pairs);
    }

    #[test]
    fn everything_else_is_left_to_the_function() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let large = format!("\"{}\"", "x".repeat(LARGEST));
        for document in OTHER.iter().copied().chain([deep.as_str(), large.as_str()]) {
            assert_eq!(form(document.as_bytes()), None, "{document:?}");
        }
        assert_eq!(form(b"\"\xff\""), None);
        assert_eq!(form(b"\xff\xfe1\0"), None);
    }

    #[test]
    fn damaged_documents_are_read_rightly_or_not_at_all() {
        // Xorshift (Marsaglia): the same documents in every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let letters = b"{}[]\",:\\u0123456789eE+-. \ntrfnd\xc3\xa9";
        let mut pairs = Vec::new();
        for _ in 0..20_000 {
            let mut document = PLAIN[next(PLAIN.len())].as_bytes().to_vec();
            for _ in 0..=next(3) {
                let letter = letters[next(letters.len())];
                match next(3) {
                    0 if !document.is_empty() => drop(document.remove(next(document.len()))),
                    1 if !document.is_empty() => {
                        let place = next(document.len());
                        document[place] = letter;
                    }
                    _ => document.insert(next(document.len() + 1), letter),
                }
            }
            if let Some(form) = form(&document) {
                pairs.push((document, form));
            }
        }
        assert!(pairs.len() > 1000, "{}", pairs.len());
        judged(&pairs);
    }
}
