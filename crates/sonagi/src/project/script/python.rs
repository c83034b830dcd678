//! What a Python module offers: names bound at its top level, also below `if`, `try` and the like.

/// Names that a module binds.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Their names, in order.
    pub(super) names: Vec<String>,
    /// Whether it takes over whatever another module offers.
    pub(super) everything: bool,
}

/// A simple statement or the head of a compound one: its text without comments and text in quotes, on one line.
struct Statement {
    indent: usize,
    text: String,
}

/// The names that a module binds at its top level.
pub(super) fn offers(source: &str) -> Offers {
    let mut offers = Offers::default();
    // Indentations of the blocks that are open, and whether what they bind belongs to the module.
    let mut blocks: Vec<(usize, Scope)> = Vec::new();
    for Statement { indent, text } in statements(source) {
        while blocks.last().is_some_and(|(opened, _)| *opened >= indent) {
            blocks.pop();
        }
        let scope = if indent == 0 {
            Scope::Module
        } else {
            blocks.last().map_or(Scope::Other, |(_, scope)| *scope)
        };
        let inner = text.starts_with("def ") || text.starts_with("class ") || text.starts_with("async ");
        if scope == Scope::Module {
            bind(&text, &mut offers);
        }
        if text.ends_with(':') {
            let below = if inner { Scope::Other } else { scope };
            blocks.push((indent, below));
        }
    }
    offers
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Module,
    Other,
}

/// Takes note of what one statement binds.
fn bind(text: &str, offers: &mut Offers) {
    if let Some(rest) = text.strip_prefix("def ") {
        // One that takes nothing is called by nobody but itself.
        let taking = rest
            .split_once('(')
            .filter(|(_, rest)| !rest.trim_start().starts_with(')'));
        offers.names.extend(taking.map(|(name, _)| name.trim().to_owned()));
    } else if let Some(names) = text
        .strip_prefix("from ")
        .and_then(|rest| rest.split_once(" import"))
        .map(|(_, names)| names)
    {
        for part in names.split(',') {
            let part = part.trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')');
            offers.everything |= part == "*";
            offers.names.push(
                part.split_once(" as ")
                    .map_or(part, |(_, alias)| alias.trim())
                    .to_owned(),
            );
        }
    } else {
        offers.names.extend(targets(text));
    }
}

/// The names in `a = b = value` or `a: Type = value`.
fn targets(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut begin = 0;
    let mut found = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'=' if depth == 0 => {
                let before = at.checked_sub(1).map(|at| bytes[at]);
                // A comparison or `+=` ends what could be targets.
                if bytes.get(at + 1) == Some(&b'=') || before.is_some_and(|byte| b"=!<>+-*/%&|^@:".contains(&byte)) {
                    break;
                }
                let target = &text[begin..at];
                let name = target.split_once(':').map_or(target, |(name, _type)| name).trim();
                found.push(name.to_owned());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// Cuts a script into statements. Text in quotes becomes `""`.
fn statements(source: &str) -> Vec<Statement> {
    let mut cutter = Cutter::default();
    let mut rest = source.strip_prefix('\u{feff}').unwrap_or(source);
    while let Some(character) = rest.chars().next() {
        let mut taken = character.len_utf8();
        match character {
            '#' => taken = rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => {
                taken = quoted(rest, character);
                cutter.text.push_str("\"\"");
            }
            '\\' if rest[1..].starts_with('\n') || rest[1..].starts_with("\r\n") => {
                taken = rest.find('\n').map_or(rest.len(), |at| at + 1);
                cutter.text.push(' ');
            }
            '\n' if cutter.depth == 0 => cutter.end_line(),
            ';' if cutter.depth == 0 => cutter.end_statement(),
            '\n' | '\r' => cutter.text.push(' '),
            ' ' | '\t' if cutter.at_beginning() => cutter.indent += if character == '\t' { 8 } else { 1 },
            other => {
                match other {
                    '(' | '[' | '{' => cutter.depth += 1,
                    ')' | ']' | '}' => cutter.depth = cutter.depth.saturating_sub(1),
                    _ => {}
                }
                cutter.text.push(other);
            }
        }
        rest = &rest[taken..];
    }
    cutter.end_line();
    cutter.done
}

#[derive(Default)]
struct Cutter {
    done: Vec<Statement>,
    text: String,
    indent: usize,
    /// Open brackets.
    depth: usize,
    /// A statement of this line is done.
    continued: bool,
}

impl Cutter {
    const fn at_beginning(&self) -> bool {
        self.text.is_empty() && !self.continued
    }

    fn end_statement(&mut self) {
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        if !text.is_empty() {
            self.done.push(Statement {
                indent: self.indent,
                text: text.to_owned(),
            });
        }
        self.continued = true;
    }

    fn end_line(&mut self) {
        self.end_statement();
        self.indent = 0;
        self.continued = false;
    }
}

/// The length of a text in quotes, quotes included; an unfinished one ends with its line, or with the script.
fn quoted(text: &str, quote: char) -> usize {
    let bytes = text.as_bytes();
    let three: String = std::iter::repeat_n(quote, 3).collect();
    let (mut at, end) = if text.starts_with(&three) {
        (3, three)
    } else {
        (1, quote.to_string())
    };
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at..].starts_with(end.as_bytes()) {
            return at + end.len();
        } else if bytes[at] == b'\n' && end.len() == 1 {
            return at;
        } else {
            at += 1;
        }
    }
    text.len()
}
