//! Finds entry points in the text of scripts: line by line, at the top level, without running anything.

/// The name of a Python module's entry point: a function or a value (a framework's adapter) with one of these names, best
/// first.
pub fn python_entry(source: &str, names: &[&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| {
        source.lines().any(|line| {
            let rest = line
                .strip_prefix("def ")
                .map(str::trim_start)
                .and_then(|rest| rest.strip_prefix(name));
            // One that takes nothing is called by nobody but itself.
            let takes = |rest: &str| {
                rest.trim_start()
                    .strip_prefix('(')
                    .map(|rest| !rest.trim_start().starts_with(')'))
            };
            let defines = rest.and_then(takes).unwrap_or(false);
            let assigned = line.strip_prefix(name).map(str::trim_start);
            let assigns = assigned.is_some_and(|rest| rest.starts_with('=') && !rest.starts_with("=="));
            let imports = line.starts_with("from ")
                && line
                    .split_once(" import ")
                    .is_some_and(|(_, names)| imported(names).any(|found| found == *name));
            defines || assigns || imports
        })
    })
}

/// Names that `from m import NAMES` brings in.
fn imported(names: &str) -> impl Iterator<Item = &str> {
    let names = names.split('#').next().unwrap_or("");
    names
        .split(',')
        .map(|part| part.trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')'))
        .map(|part| part.split_once(" as ").map_or(part, |(_, alias)| alias.trim()))
}

/// How a JavaScript module offers its entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// `export`.
    Es,
    /// `exports`.
    CommonJs,
}

/// The name of a JavaScript module's entry point among these, best first, and how it is exported. With `bare`, a function
/// at the top level needs no export.
pub fn node_entry(source: &str, names: &[&'static str], bare: bool) -> Option<(&'static str, Module)> {
    let code = without_comments(source);
    names.iter().copied().find_map(|name| {
        let es = code.lines().any(|line| es_exports(line.trim_start(), name)) || in_braces(&code, "export", name);
        if es {
            return Some((name, Module::Es));
        }
        let common = code.lines().any(|line| common_exports(line.trim_start(), name))
            || code
                .split_once("module.exports")
                .is_some_and(|(_, rest)| object_has(rest, name));
        let declared = bare && code.lines().any(|line| declares(line, name));
        (common || declared).then_some((name, Module::CommonJs))
    })
}

/// Whether a line at the top level declares a function, or a value, of this name.
fn declares(line: &str, name: &str) -> bool {
    ["function ", "async function ", "const ", "let ", "var "]
        .iter()
        .filter_map(|word| line.strip_prefix(word)?.trim_start().strip_prefix(name))
        .any(|rest| rest.trim_start().starts_with(['(', '=']))
}

fn es_exports(line: &str, name: &str) -> bool {
    let Some(rest) = line.strip_prefix("export ") else {
        return false;
    };
    let mut words = rest
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
        .filter(|word| !word.is_empty());
    let declared = match words.next() {
        Some("const" | "let" | "var" | "function") => words.next(),
        Some("async") => words.nth(1),
        _ => None,
    };
    declared == Some(name)
}

fn common_exports(line: &str, name: &str) -> bool {
    ["exports.", "module.exports."].iter().any(|prefix| {
        let rest = line.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    })
}

/// Whether `KEYWORD { … }` names the entry point, as itself or by `as`.
fn in_braces(code: &str, keyword: &str, name: &str) -> bool {
    code.match_indices(keyword).any(|(at, _)| {
        let rest = code[at + keyword.len()..].trim_start();
        let Some((inside, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            return false;
        };
        inside
            .split(',')
            .map(str::trim)
            .any(|part| part.rsplit(" as ").next().map(str::trim) == Some(name))
    })
}

/// Whether `= { name, … }` or `= { name: …` follows.
fn object_has(rest: &str, name: &str) -> bool {
    let Some(body) = rest
        .trim_start()
        .strip_prefix('=')
        .map(str::trim_start)
        .and_then(|rest| rest.strip_prefix('{'))
    else {
        return false;
    };
    let mut depth = 0_usize;
    let mut key = String::new();
    for character in body.chars() {
        match character {
            '{' | '(' | '[' => depth += 1,
            '}' if depth == 0 => return key.trim() == name,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' | ':' if depth == 0 => {
                if key.trim() == name {
                    return true;
                }
                key.clear();
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            key.push(character);
        } else if character == '(' && depth == 1 {
            // A method in short form: `handler(event) { … }`.
            let word = key.trim().trim_start_matches("async ").trim();
            if word == name {
                return true;
            }
        }
    }
    false
}

/// JavaScript without its comments. Text in quotes is not understood: a comment sign in one hides the rest of a line,
/// which can only hide an entry point, never make one up.
fn without_comments(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("/*").into_iter().chain(rest.find("//")).min() {
        code.push_str(&rest[..at]);
        let (end, skip) = if rest[at..].starts_with("/*") {
            ("*/", 2)
        } else {
            ("\n", 0)
        };
        match rest[at..].find(end) {
            Some(found) => rest = &rest[at + found + skip..],
            None => return code,
        }
    }
    code.push_str(rest);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_entries() {
        for (source, expected) in [
            ("def handler(event, context):\n  pass", Some("handler")),
            (
                "import x\n\ndef lambda_handler (e, c): return 1",
                Some("lambda_handler"),
            ),
            (
                "def handler(e, c): 1\ndef lambda_handler(e, c): 2",
                Some("lambda_handler"),
            ),
            ("handler = Mangum(app)", Some("handler")),
            ("from inner import handler  # the real one", Some("handler")),
            (
                "from inner import (main as lambda_handler, other)",
                Some("lambda_handler"),
            ),
            ("def handlers(e): pass", None),
            ("    def handler(self): pass", None),
            ("# def handler(e, c):", None),
            ("handler == 1", None),
            ("async def handler(e, c): pass", None),
            ("from handler import thing", None),
            ("", None),
        ] {
            let names = ["lambda_handler", "handler"];
            assert_eq!(python_entry(source, &names), expected, "{source}");
        }
    }

    #[test]
    fn node_entries() {
        use Module::{CommonJs, Es};
        for (source, expected) in [
            ("exports.handler = async (event) => event;", Some(("handler", CommonJs))),
            ("module.exports.handler=function(){}", Some(("handler", CommonJs))),
            (
                "const x = 1;\nmodule.exports = { handler };",
                Some(("handler", CommonJs)),
            ),
            ("module.exports = { a: { handler: 1 }, other }", None),
            (
                "module.exports = { other: 1,\n  handler: async () => {},\n}",
                Some(("handler", CommonJs)),
            ),
            (
                "module.exports = { async handler(event) { return 1 } }",
                Some(("handler", CommonJs)),
            ),
            ("export const handler = async () => {}", Some(("handler", Es))),
            ("export async function handler(event) {}", Some(("handler", Es))),
            ("export function lambdaHandler(event) {}", Some(("lambdaHandler", Es))),
            ("export { main as handler };", Some(("handler", Es))),
            ("const a = 1;\nexport {\n  other,\n  handler,\n}", Some(("handler", Es))),
            ("export { handler as other };", None),
            ("// exports.handler = 1", None),
            ("/* export const handler = 1\n*/", None),
            ("export const handlers = 1", None),
            ("const handler = 1", None),
            ("/* unfinished", None),
        ] {
            let names = ["handler", "lambdaHandler"];
            assert_eq!(node_entry(source, &names, false), expected, "{source}");
        }
        for (source, expected) in [
            ("function main(params) {}", Some(("main", CommonJs))),
            ("async function main (params) {}", Some(("main", CommonJs))),
            ("const main = (p) => p", Some(("main", CommonJs))),
            ("export function main(p) {}", Some(("main", Es))),
            ("function mainly(p) {}", None),
            ("  function main(p) {}", None),
        ] {
            assert_eq!(node_entry(source, &["main"], true), expected, "{source}");
        }
    }
}
