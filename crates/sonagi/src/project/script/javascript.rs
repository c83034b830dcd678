//! What a JavaScript module offers: names that it exports, as ES module or as CommonJS.

/// How a JavaScript module offers its entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// `export`.
    Es,
    /// `exports`.
    CommonJs,
}

/// Names that a module exports.
#[derive(Debug, Default)]
pub(super) struct Offers {
    pub(super) names: Vec<(String, Module)>,
    /// Functions and values that it declares at its top level.
    pub(super) declared: Vec<String>,
    /// What it exports besides, in words, if that is known only when it runs.
    pub(super) perhaps: Option<&'static str>,
}

/// A piece of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, keyword or number.
    Word(String),
    /// Text in quotes.
    Text(String),
    /// A regular expression or a template.
    Opaque,
    /// Any other character; `==`, `===` and `=>` are [`Token::Operator`], so that `=` assigns.
    Sign(char),
    /// An operator that begins with `=`.
    Operator,
}

/// The names that a module exports.
pub(super) fn offers(source: &str) -> Offers {
    let tokens = tokens(source);
    let mut offers = Offers {
        declared: top_level(&tokens),
        ..Offers::default()
    };
    for at in 0..tokens.len() {
        let after_dot = at
            .checked_sub(1)
            .is_some_and(|before| tokens[before] == Token::Sign('.'));
        match &tokens[at] {
            Token::Word(word) if word == "export" && !after_dot => exported(&tokens[at + 1..], &mut offers),
            Token::Word(word) if word == "exports" => {
                let of_module = after_dot && at >= 2 && tokens[at - 2] == Token::Word("module".to_owned());
                if !after_dot || of_module {
                    assigned(&tokens[at + 1..], &mut offers);
                }
                defined(&tokens[at + 1..], &mut offers);
            }
            Token::Word(_) | Token::Text(_) | Token::Opaque | Token::Sign(_) | Token::Operator => {}
        }
    }
    offers
}

/// Names that are declared outside of all brackets: `function NAME(`, `const NAME =`.
fn top_level(tokens: &[Token]) -> Vec<String> {
    let mut depth = 0_usize;
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 && matches!(word.as_str(), "function" | "const" | "let" | "var") => {
                if let [Token::Word(name), Token::Sign('(' | '='), ..] = &tokens[at + 1..] {
                    names.push(name.clone());
                }
            }
            Token::Word(_) | Token::Text(_) | Token::Opaque | Token::Sign(_) | Token::Operator => {}
        }
    }
    names
}

/// What follows `export`.
fn exported(rest: &[Token], offers: &mut Offers) {
    match rest.first() {
        Some(Token::Sign('*')) => offers.perhaps = Some("export * from …"),
        Some(Token::Sign('{')) => {
            let inside = rest[1..].iter().take_while(|token| **token != Token::Sign('}'));
            let mut last = None;
            for token in inside.chain([&Token::Sign(',')]) {
                match token {
                    Token::Word(word) | Token::Text(word) => last = Some(word.clone()),
                    Token::Sign(',') => offers.names.extend(last.take().map(|name| (name, Module::Es))),
                    Token::Opaque | Token::Sign(_) | Token::Operator => {}
                }
            }
        }
        Some(Token::Word(word)) if matches!(word.as_str(), "const" | "let" | "var") => {
            offers
                .names
                .extend(declared(&rest[1..]).into_iter().map(|name| (name, Module::Es)));
        }
        Some(Token::Word(word)) if matches!(word.as_str(), "function" | "async" | "class") => {
            let name = rest[1..].iter().find_map(|token| match token {
                Token::Word(word) if word != "function" => Some(word.clone()),
                Token::Word(_) | Token::Text(_) | Token::Opaque | Token::Sign(_) | Token::Operator => None,
            });
            offers.names.extend(name.map(|name| (name, Module::Es)));
        }
        _ => {}
    }
}

/// The names in `a = 1, { b, c } = d, e`, up to the end of the statement.
fn declared(rest: &[Token]) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut in_value = false;
    for token in rest {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') if depth == 0 => break,
            Token::Sign(')' | ']' | '}') => depth -= 1,
            Token::Sign(';') if depth == 0 => break,
            Token::Sign(',') if depth == 0 => in_value = false,
            Token::Sign('=') if depth == 0 => in_value = true,
            Token::Word(word) if !in_value => names.push(word.clone()),
            // Without semicolons, the next statement begins with a keyword.
            Token::Word(word) if depth == 0 && matches!(word.as_str(), "export" | "const" | "let" | "var") => break,
            Token::Word(_) | Token::Text(_) | Token::Opaque | Token::Sign(_) | Token::Operator => {}
        }
    }
    names
}

/// What follows `exports` or `module.exports`.
fn assigned(rest: &[Token], offers: &mut Offers) {
    match rest {
        [Token::Sign('.'), Token::Word(name), Token::Sign('='), ..]
        | [
            Token::Sign('['),
            Token::Text(name),
            Token::Sign(']'),
            Token::Sign('='),
            ..,
        ] => {
            offers.names.push((name.clone(), Module::CommonJs));
        }
        [Token::Sign('='), Token::Sign('{'), object @ ..] => {
            let (keys, spread) = keys(object);
            offers
                .names
                .extend(keys.into_iter().map(|name| (name, Module::CommonJs)));
            if spread {
                offers.perhaps = Some("module.exports = { ... }");
            }
        }
        // `exports = module.exports = …` is seen again at the second one.
        [Token::Sign('='), Token::Word(word), ..] if word == "module" || word == "exports" => {}
        [Token::Sign('='), ..] => offers.perhaps = Some("module.exports = …"),
        _ => {}
    }
}

/// `Object.defineProperty(exports, "name"`: what follows `exports`.
fn defined(rest: &[Token], offers: &mut Offers) {
    if let [Token::Sign(','), Token::Text(name), Token::Sign(','), ..] = rest {
        offers.names.push((name.clone(), Module::CommonJs));
    }
}

/// The keys of an object whose `{` has been read, and whether others are spread into it.
fn keys(object: &[Token]) -> (Vec<String>, bool) {
    let (mut names, mut spread) = (Vec::new(), false);
    let mut depth = 0_usize;
    let mut key: Option<&str> = None;
    let mut in_value = false;
    for token in object {
        match token {
            Token::Sign('}') if depth == 0 => break,
            Token::Sign(open @ ('(' | '[' | '{')) => {
                // A method in short form: `handler(event) { … }`.
                if depth == 0 && !in_value && *open == '(' {
                    names.extend(key.take().map(str::to_owned));
                    in_value = true;
                }
                depth += 1;
            }
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Sign(sign @ (',' | ':')) if depth == 0 => {
                if !in_value {
                    names.extend(key.take().map(str::to_owned));
                }
                in_value = *sign == ':' || in_value && *sign != ',';
            }
            Token::Sign('.') if depth == 0 && !in_value => (spread, in_value) = (true, true),
            Token::Word(word) | Token::Text(word) if depth == 0 && !in_value => key = Some(word),
            Token::Word(_) | Token::Text(_) | Token::Opaque | Token::Sign(_) | Token::Operator => {}
        }
    }
    if !in_value {
        names.extend(key.map(str::to_owned));
    }
    (names, spread)
}

/// Cuts a script into tokens, without comments.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source.strip_prefix('\u{feff}').unwrap_or(source);
    if rest.starts_with("#!") {
        rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
    }
    while let Some(character) = rest.chars().next() {
        let (token, taken) = match character {
            '/' if rest.starts_with("//") => (None, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (None, rest.find("*/").map_or(rest.len(), |at| at + 2)),
            '/' if begins_expression(tokens.last()) => (Some(Token::Opaque), expression(rest)),
            '\'' | '"' => {
                let taken = text(rest, character);
                let inside = &rest[1..taken.saturating_sub(1).max(1)];
                (Some(Token::Text(inside.to_owned())), taken)
            }
            '`' => (Some(Token::Opaque), template(rest)),
            '=' => match rest.find(|c| c != '=' && c != '>').unwrap_or(rest.len()) {
                1 => (Some(Token::Sign('=')), 1),
                length => (Some(Token::Operator), length),
            },
            c if is_word(c) => {
                let taken = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Some(Token::Word(rest[..taken].to_owned())), taken)
            }
            c if c.is_whitespace() => (None, c.len_utf8()),
            c => (Some(Token::Sign(c)), c.len_utf8()),
        };
        tokens.extend(token);
        rest = &rest[taken..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Whether `/` begins a regular expression after this token; after a value it divides.
fn begins_expression(before: Option<&Token>) -> bool {
    match before {
        None | Some(Token::Operator) => true,
        Some(Token::Word(word)) => matches!(
            word.as_str(),
            "return" | "typeof" | "case" | "in" | "of" | "delete" | "void"
        ),
        Some(Token::Sign(sign)) => !matches!(sign, ')' | ']' | '}'),
        Some(Token::Text(_) | Token::Opaque) => false,
    }
}

/// The length of a text in quotes; an unfinished one ends with its line.
fn text(rest: &str, quote: char) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\n' => return at,
            byte if char::from(byte) == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a regular expression without its flags; an unfinished one ends with its line.
fn expression(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut class) = (1, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'[' => class = true,
            b']' => class = false,
            b'/' if !class => return at + 1,
            b'\n' => return at,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

/// The length of a template, with the templates and texts in its placeholders.
fn template(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    // Open braces of each placeholder around; a template's own text is where the last one is `None`.
    let mut inside: Vec<Option<usize>> = vec![None];
    let mut at = 1;
    while at < bytes.len() {
        let step = match (bytes[at], inside.last_mut()) {
            (b'\\', _) => 2,
            (b'`', Some(None)) => {
                inside.pop();
                if inside.is_empty() {
                    return at + 1;
                }
                1
            }
            (b'$', Some(None)) if bytes.get(at + 1) == Some(&b'{') => {
                inside.push(Some(0));
                2
            }
            (b'`', Some(Some(_))) => {
                inside.push(None);
                1
            }
            (quote @ (b'\'' | b'"'), Some(Some(_))) => text(&rest[at..], char::from(quote)),
            (b'{', Some(Some(depth))) => {
                *depth += 1;
                1
            }
            (b'}', Some(Some(0))) => {
                inside.pop();
                1
            }
            (b'}', Some(Some(depth))) => {
                *depth -= 1;
                1
            }
            _ => 1,
        };
        at += step;
    }
    rest.len()
}
