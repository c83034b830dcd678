//! The part of YAML in which people describe functions: mappings and lists in block and in flow style, plain and quoted
//! scalars, block scalars, comments. Anchors, tags and several documents are refused by name, so that nothing is read
//! otherwise than it was meant, and nothing unfolds.
//! Source: YAML 1.2.2, chapters 6 to 8 and 10.3 (core schema).

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

/// Nesting of one document.
const DEPTH_MAX: usize = 16;
/// Bytes of one document.
const BYTES_MAX: usize = 256 * 1024;

/// A text is not of this part of YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct YamlError {
    line: usize,
    problem: String,
}

/// One line with something on it; what a list in brackets or a block of text has below it belongs to it.
#[derive(Debug, Clone)]
struct Line<'a> {
    number: usize,
    indent: usize,
    text: Cow<'a, str>,
    /// The text that a `|` or `>` at its end stands for.
    block: Option<String>,
}

fn wrong<T>(line: usize, problem: impl Into<String>) -> Result<T, YamlError> {
    Err(YamlError {
        line,
        problem: problem.into(),
    })
}

/// Reads a document; an empty one is null.
///
/// # Errors
/// The first line that cannot be read, and why.
pub fn read(text: &str) -> Result<Value, YamlError> {
    if text.len() > BYTES_MAX {
        return wrong(1, format!("{} bytes, more than {BYTES_MAX}", text.len()));
    }
    let lines = lines(text)?;
    let mut blocks = Blocks { lines, at: 0 };
    let Some(first) = blocks.peek() else {
        return Ok(Value::Null);
    };
    let value = blocks.node(first.indent, 0)?;
    match blocks.peek() {
        Some(rest) => wrong(rest.number, "the indentation does not fit"),
        None => Ok(value),
    }
}

fn lines(text: &str) -> Result<Vec<Line<'_>>, YamlError> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut raw = text.lines().enumerate().map(|(at, raw)| (at + 1, raw)).peekable();
    while let Some((number, line)) = raw.next() {
        let content = without_comment(line).trim_end();
        let bare = content.trim_start_matches(' ');
        if bare.is_empty() || (bare == "---" && lines.is_empty()) {
            continue;
        }
        if bare.starts_with('\t') {
            return wrong(number, "a tab cannot indent");
        }
        if bare == "---" || bare == "..." {
            return wrong(number, "more than one document");
        }
        let indent = content.len() - bare.len();
        let mut line = Line {
            number,
            indent,
            text: Cow::Borrowed(bare),
            block: None,
        };
        if let Some((fold, end)) = block_indicator(value_of(bare), number)? {
            let mut below = Vec::new();
            let outer = indent + key_offset(bare);
            while let Some((_, next)) = raw.next_if(|(_, next)| next.trim().is_empty() || indent_of(next) > outer) {
                below.push(next);
            }
            line.block = Some(block_text(&below, fold, end));
        } else if value_of(bare).starts_with(['[', '{']) {
            // A list or mapping in brackets may go on below.
            while open_brackets(&line.text) > 0
                && let Some((_, next)) = raw.next()
            {
                let more = without_comment(next).trim();
                line.text = Cow::Owned(format!("{} {more}", line.text));
            }
        }
        lines.push(line);
    }
    Ok(lines)
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// How far from the beginning of a line its key is: behind dashes, if it is an item's.
fn key_offset(text: &str) -> usize {
    let mut rest = text;
    while let Some(inner) = item(rest) {
        rest = inner;
    }
    if rest.contains(": ") {
        text.len() - rest.len()
    } else {
        0
    }
}

/// What stands behind dashes and a key.
fn value_of(text: &str) -> &str {
    let mut rest = text;
    while let Some(inner) = item(rest) {
        rest = inner;
    }
    if rest.starts_with(['[', '{']) {
        return rest;
    }
    rest.split_once(": ").map_or(rest, |(_, value)| value.trim_start())
}

/// Brackets that are open at the end of a line, those in quotes aside.
fn open_brackets(text: &str) -> usize {
    let (mut quote, mut escaped, mut depth) = (None, false, 0_usize);
    for c in value_of(text).chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if matches!(c, '[' | '{') => depth += 1,
            None if matches!(c, ']' | '}') => depth = depth.saturating_sub(1),
            None => {}
        }
    }
    depth
}

/// How the lines of a block of text become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    /// `|`: as they are.
    Literal,
    /// `>`: with spaces between.
    Folded,
}

/// What becomes of the ends of lines at the end of a block of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// One is kept.
    Clip,
    /// `-`: none is.
    Strip,
    /// `+`: all are.
    Keep,
}

fn block_indicator(value: &str, line: usize) -> Result<Option<(Fold, End)>, YamlError> {
    let (fold, rest) = match value.chars().next() {
        Some('|') => (Fold::Literal, &value[1..]),
        Some('>') => (Fold::Folded, &value[1..]),
        _ => return Ok(None),
    };
    match rest {
        "" => Ok(Some((fold, End::Clip))),
        "-" => Ok(Some((fold, End::Strip))),
        "+" => Ok(Some((fold, End::Keep))),
        _ => wrong(line, format!("{value:?} is not read here; quote it if it is text")),
    }
}

/// The text of a block: its lines without the indentation of the first.
fn block_text(lines: &[&str], fold: Fold, end: End) -> String {
    let first = lines.iter().find(|line| !line.trim().is_empty());
    let indent = first.map_or(0, |line| indent_of(line));
    let cut = |line: &&str| line.get(indent.min(indent_of(line))..).unwrap_or_default().to_owned();
    let bare: Vec<String> = lines.iter().map(cut).collect();
    let filled = bare.iter().rposition(|line| !line.is_empty()).map_or(0, |at| at + 1);
    let mut text = match fold {
        Fold::Literal => bare[..filled].join("\n"),
        Fold::Folded => folded(&bare[..filled]),
    };
    match end {
        End::Strip => {}
        End::Clip if filled > 0 => text.push('\n'),
        End::Keep => text.extend(std::iter::repeat_n('\n', bare.len() - filled + usize::from(filled > 0))),
        End::Clip => {}
    }
    text
}

/// Lines joined by spaces; empty ones and those further right keep their ends.
fn folded(lines: &[String]) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            let before = &lines[at - 1];
            let apart = |line: &str| line.starts_with([' ', '\t']);
            if line.is_empty() || apart(line) || apart(before) {
                text.push('\n');
            } else if !before.is_empty() {
                text.push(' ');
            }
        }
        text.push_str(line);
    }
    text
}

/// The line without what follows a `#` that begins it or stands after a space, outside quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open && !(open == '"' && before == '\\') => quote = None,
            Some(_) => {}
            None if c == '#' && before.is_whitespace() => return &line[..at],
            None if matches!(c, '"' | '\'')
                && (before.is_whitespace() || matches!(before, '[' | '{' | ',' | ':' | '\'')) =>
            {
                quote = Some(c);
            }
            None => {}
        }
        before = c;
    }
    line
}

struct Blocks<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
}

impl<'a> Blocks<'a> {
    fn peek(&self) -> Option<Line<'a>> {
        self.lines.get(self.at).cloned()
    }

    /// The block that begins with this line.
    fn node(&mut self, indent: usize, depth: usize) -> Result<Value, YamlError> {
        let Some(line) = self.peek() else {
            return Ok(Value::Null);
        };
        if depth > DEPTH_MAX {
            return wrong(line.number, format!("nested more than {DEPTH_MAX} deep"));
        }
        if item(&line.text).is_some() {
            return self.list(indent, depth);
        }
        if key(&line)?.is_some() {
            return self.mapping(indent, depth);
        }
        self.at += 1;
        match line.block {
            Some(text) => Ok(Value::String(text)),
            None => scalar(&line.text, line.number, depth),
        }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent) {
            let Some(rest) = item(&line.text) else { break };
            if rest.is_empty() {
                self.at += 1;
                items.push(self.below(indent, depth)?);
                continue;
            }
            // What follows the dash is a block that begins further right on the same line.
            let inner = indent + (line.text.len() - rest.len());
            let rest = rest.to_owned();
            self.lines[self.at] = Line {
                indent: inner,
                text: Cow::Owned(rest),
                ..line
            };
            items.push(self.node(inner, depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Result<Value, YamlError> {
        let mut members = Map::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent) {
            let Some((name, rest)) = key(&line)? else {
                return wrong(line.number, "a line without ':' among keys");
            };
            self.at += 1;
            let value = match &line.block {
                Some(text) => Value::String(text.clone()),
                None if rest.is_empty() => self.value_below(indent, depth)?,
                None => scalar(rest, line.number, depth)?,
            };
            if members.insert(name.clone(), value).is_some() {
                return wrong(line.number, format!("{name:?} is there twice"));
            }
        }
        match self.peek() {
            Some(line) if line.indent > indent => wrong(line.number, "the indentation does not fit"),
            _ => Ok(Value::Object(members)),
        }
    }

    /// What belongs to a key without a value on its line: a block further right, or a list at the same indentation.
    fn value_below(&mut self, indent: usize, depth: usize) -> Result<Value, YamlError> {
        match self.peek() {
            Some(line) if line.indent == indent && item(&line.text).is_some() => self.list(indent, depth + 1),
            _ => self.below(indent, depth),
        }
    }

    fn below(&mut self, indent: usize, depth: usize) -> Result<Value, YamlError> {
        match self.peek() {
            Some(line) if line.indent > indent => self.node(line.indent, depth + 1),
            _ => Ok(Value::Null),
        }
    }
}

/// What follows the dash of a list's item.
fn item(text: &str) -> Option<&str> {
    match text.strip_prefix('-')? {
        "" => Some(""),
        rest => rest.starts_with(' ').then(|| rest.trim_start()),
    }
}

/// Key and the rest of a line of a mapping.
fn key<'a>(line: &'a Line<'_>) -> Result<Option<(String, &'a str)>, YamlError> {
    let text = &*line.text;
    if text.starts_with(['{', '[']) {
        return Ok(None);
    }
    if let Some(open) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let mut flow = Flow::new(text, line.number);
        let name = flow.quoted(open)?;
        let rest = flow.rest();
        return Ok(rest.strip_prefix(':').map(|rest| (name, rest.trim_start())));
    }
    let split = text
        .strip_suffix(':')
        .map(|name| (name, ""))
        .filter(|(name, _)| !name.contains(": "));
    let Some((name, rest)) = split.or_else(|| text.split_once(": ")) else {
        return Ok(None);
    };
    if name.starts_with(['?', '&', '*', '!', '|', '>', '%', '@', '`']) {
        return wrong(line.number, format!("a key cannot begin as {name:?} here"));
    }
    Ok(Some((name.trim_end().to_owned(), rest.trim_start())))
}

/// A value on one line.
fn scalar(text: &str, line: usize, depth: usize) -> Result<Value, YamlError> {
    let mut flow = Flow::new(text, line);
    let value = flow.value(depth, false)?;
    match flow.rest() {
        "" => Ok(value),
        rest => wrong(line, format!("{rest:?} after the value")),
    }
}

/// A reader of values in flow style.
struct Flow<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Flow<'a> {
    const fn new(text: &'a str, line: usize) -> Self {
        Self { text, at: 0, line }
    }

    fn rest(&self) -> &'a str {
        self.text[self.at..].trim()
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_spaces();
        let found = self.text[self.at..].starts_with(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    /// One value; inside brackets a plain one ends at a comma or bracket.
    fn value(&mut self, depth: usize, inside: bool) -> Result<Value, YamlError> {
        if depth > DEPTH_MAX {
            return wrong(self.line, format!("nested more than {DEPTH_MAX} deep"));
        }
        self.skip_spaces();
        match self.text[self.at..].chars().next() {
            None => Ok(Value::Null),
            Some(open @ ('"' | '\'')) => self.quoted(open).map(Value::String),
            Some('[') => self.sequence(depth),
            Some('{') => self.members(depth),
            Some(c @ ('&' | '*' | '!' | '|' | '>' | '%' | '@' | '`')) => wrong(
                self.line,
                format!("{c:?} begins something that is not read here; quote it if it is text"),
            ),
            Some(_) => Ok(plain(self.plain_text(inside))),
        }
    }

    fn plain_text(&mut self, inside: bool) -> &'a str {
        let rest = &self.text[self.at..];
        let end = if inside {
            let stops = rest.char_indices().find(|(at, c)| {
                matches!(c, ',' | ']' | '}') || (*c == ':' && rest[at + 1..].starts_with([' ', ',', '}', ']']))
            });
            stops.map_or(rest.len(), |(at, _)| at)
        } else {
            rest.len()
        };
        self.at += end;
        rest[..end].trim()
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, YamlError> {
        self.take('[');
        let mut items = Vec::new();
        loop {
            if self.take(']') {
                return Ok(Value::Array(items));
            }
            items.push(self.value(depth + 1, true)?);
            if !self.take(',') && !self.rest().starts_with(']') {
                return wrong(self.line, "a list in brackets ends on its line with ']'");
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<Value, YamlError> {
        self.take('{');
        let mut members = Map::new();
        loop {
            if self.take('}') {
                return Ok(Value::Object(members));
            }
            self.skip_spaces();
            let name = match self.text[self.at..].chars().next() {
                Some(open @ ('"' | '\'')) => self.quoted(open)?,
                _ => self.plain_text(true).to_owned(),
            };
            if !self.take(':') {
                return wrong(self.line, "a mapping in braces is written {key: value} on one line");
            }
            let value = self.value(depth + 1, true)?;
            members.insert(name, value);
            if !self.take(',') && !self.rest().starts_with('}') {
                return wrong(self.line, "a mapping in braces ends on its line with '}'");
            }
        }
    }

    fn quoted(&mut self, open: char) -> Result<String, YamlError> {
        let mut chars = self.text[self.at + 1..].char_indices();
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if c == open {
                let end = self.at + 1 + at + 1;
                if open == '\'' && self.text[end..].starts_with('\'') {
                    chars.next();
                    text.push('\'');
                    continue;
                }
                self.at = end;
                self.skip_spaces();
                return Ok(text);
            }
            if open == '"' && c == '\\' {
                let escaped = chars.next().map(|(_, c)| c);
                let meant = escaped.and_then(unescaped);
                text.push(meant.ok_or_else(|| YamlError {
                    line: self.line,
                    problem: format!("\\{} is not read here", escaped.unwrap_or(' ')),
                })?);
                continue;
            }
            text.push(c);
        }
        wrong(self.line, format!("{open} is not closed on its line"))
    }
}

const fn unescaped(c: char) -> Option<char> {
    Some(match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        '"' | '\\' | '/' | ' ' => c,
        _ => return None,
    })
}

/// A plain scalar by the core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::Number(number.into());
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    let number = text.parse::<f64>().ok().filter(|_| numeric).and_then(Number::from_f64);
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_functions_say_of_themselves_is_read() {
        let text = "\
# a function
---
schema_version: 20180708
name: hello   # its name
version: 0.0.1
runtime: \"python3.11\"
entrypoint: /python/bin/fdk /function/func.py handler
memory: 256
config:
  GREETING: 'it''s: #1'
  EMPTY:
  URL: http://x:80/a#b
expects:
  config:
  - name: A
    required: true
build:
- make
- make test
triggers:
  - name: one
    type: http
    source: /one
  -
    name: two
    source: \"/two\\t\"
annotations: {a/b: {x: [1, two, 'three']}, 'q': true}
none: []
float: 1.5
";
        let expected = json!({
            "schema_version": 20_180_708,
            "name": "hello",
            "version": "0.0.1",
            "runtime": "python3.11",
            "entrypoint": "/python/bin/fdk /function/func.py handler",
            "memory": 256,
            "config": {"GREETING": "it's: #1", "EMPTY": null, "URL": "http://x:80/a#b"},
            "expects": {"config": [{"name": "A", "required": true}]},
            "build": ["make", "make test"],
            "triggers": [
                {"name": "one", "type": "http", "source": "/one"},
                {"name": "two", "source": "/two\t"},
            ],
            "annotations": {"a/b": {"x": [1, "two", "three"]}, "q": true},
            "none": [],
            "float": 1.5,
        });
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("# nothing\n").unwrap(), Value::Null);
        assert_eq!(read("- a\n- - b\n  - c\n").unwrap(), json!(["a", ["b", "c"]]));
        assert_eq!(
            read("{\"name\": \"j\", \"n\": [1]}").unwrap(),
            json!({"name": "j", "n": [1]})
        );
    }

    #[test]
    fn blocks_of_text_and_brackets_over_lines_are_read() {
        let text = "\
code: |
  def main(args):
      return args  # no comment

  # the end
then: 1
folded: >-
  one
  two

  three
";
        let expected = json!({
            "code": "def main(args):\n    return args  # no comment\n\n# the end\n",
            "then": 1,
            "folded": "one two\nthree",
        });
        assert_eq!(read(text).unwrap(), expected);
        let text =
            "list: [1, # one\n  {a: ']'},\n  2]\nmore:\n- - [a,\n    b]\n- k: |-\n    x\n  l: 2\nkept: |+\n  y\n\n";
        let expected = json!({"list": [1, {"a": "]"}, 2], "more": [[["a", "b"]], {"k": "x", "l": 2}], "kept": "y\n\n"});
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("a: |\nb: >\n").unwrap(), json!({"a": "", "b": ""}));
    }

    #[test]
    fn what_is_not_read_is_refused_with_its_line() {
        for (text, line) in [
            ("a: &x 1\n", 1),
            ("a: 1\nb: *x\n", 2),
            ("a: |2\n  text\n", 1),
            ("a: [1,\n  2\n", 1),
            ("- a: 1\n  b: !x 2\n", 2),
            ("a: 1\n  b: 2\n", 2),
            ("a: 1\na: 2\n", 2),
            ("a: 'x\n", 1),
            ("a: [1\n", 1),
            ("a: {b: 1\n", 1),
            ("\ta: 1\n", 1),
            ("a: 1\n---\nb: 2\n", 2),
            ("a: \"\\x\"\n", 1),
            ("a: 1\njust text\n", 2),
        ] {
            assert_eq!(read(text).unwrap_err().line, line, "{text:?}");
        }
        let deep = "[".repeat(1000);
        assert!(read(&deep).is_err());
        let deeper: String = (0..100).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        assert!(read(&deeper).is_err());
    }
}
