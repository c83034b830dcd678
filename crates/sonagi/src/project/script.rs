//! Finds entry points in the text of scripts, without running anything: what a module offers at its top level.
//!
//! Neither language is parsed whole. Each module cuts a script into what matters (statements of Python, tokens of
//! JavaScript), so that comments, text in quotes and layout cannot hide an entry point or make one up. What a script
//! offers only while it runs (`from x import *`, `module.exports = require(…)`) is told apart from what it does not
//! offer at all: see [`Sighting::Perhaps`].

mod javascript;
mod python;

pub use javascript::Module;

/// What a script seems to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting<T> {
    /// This entry point.
    Entry(T),
    /// Something that can be an entry point, offered in a way that is known only when it runs: the words that do it.
    Perhaps(&'static str),
    /// Nothing.
    Nothing,
}

/// The name of a Python module's entry point: a function or a value (a framework's adapter) with one of these names, best
/// first.
pub fn python_entry(source: &str, names: &[&'static str]) -> Sighting<&'static str> {
    let offers = python::offers(source);
    let found = names
        .iter()
        .copied()
        .find(|name| offers.names.iter().any(|offered| offered == name));
    match found {
        Some(name) => Sighting::Entry(name),
        None if offers.everything => Sighting::Perhaps("from … import *"),
        None => Sighting::Nothing,
    }
}

/// The name of a JavaScript module's entry point among these, best first, and how it is exported. With `bare`, a function
/// at the top level needs no export.
pub fn node_entry(source: &str, names: &[&'static str], bare: bool) -> Sighting<(&'static str, Module)> {
    let offers = javascript::offers(source);
    let found = names.iter().copied().find_map(|name| {
        let exported = offers.names.iter().find(|(offered, _)| offered == name);
        let declared = bare && offers.declared.iter().any(|declared| declared == name);
        let declared = declared.then_some((name, Module::CommonJs));
        exported.map(|(_, module)| (name, *module)).or(declared)
    });
    match (found, offers.perhaps) {
        (Some(entry), _) => Sighting::Entry(entry),
        (None, Some(how)) => Sighting::Perhaps(how),
        (None, None) => Sighting::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: &[&str] = &["lambda_handler", "handler"];
    const NODE: &[&str] = &["handler", "lambdaHandler"];

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
            ("handler = lambda e, c: {'ok': 1}", Some("handler")),
            ("handler = decorator(main)", Some("handler")),
            ("handler: Callable = make()", Some("handler")),
            ("main = handler = make()", Some("handler")),
            ("x = 1; handler = lambda e, c: x", Some("handler")),
            ("import json; from inner import handler", Some("handler")),
            ("x = ';'; y = 1", None),
            ("from inner import handler  # the real one", Some("handler")),
            (
                "from inner import (main as lambda_handler, other)",
                Some("lambda_handler"),
            ),
            (
                "from inner import (\n  other,  # one\n  main as handler,\n)",
                Some("handler"),
            ),
            ("from inner import a, \\\n  handler", Some("handler")),
            (
                "@wrap(\n  x)\ndef handler(\n  event,\n  context,\n):\n  pass",
                Some("handler"),
            ),
            (
                "try:\n    from fast import handler\nexcept ImportError:\n    handler = slow",
                Some("handler"),
            ),
            ("if True:\n\n  # why\n  def handler(e, c):\n    pass", Some("handler")),
            ("class A:\n    def handler(self): pass", None),
            ("def f():\n    handler = 1\n    return handler", None),
            ("def f(): pass\nhandler = f", Some("handler")),
            ("\u{feff}def handler(e, c): pass", Some("handler")),
            ("def handlers(e): pass", None),
            ("def handler(): pass", None),
            ("    def handler(self): pass", None),
            ("# def handler(e, c):", None),
            ("'''\ndef handler(e, c): pass\n'''", None),
            ("x = \"\"\"\nhandler = 1\n\"\"\"", None),
            ("f(handler=1)", None),
            ("x = {\n'a': 1}\nhandler == 1", None),
            ("async def handler(e, c): pass", None),
            ("from handler import thing", None),
            ("", None),
        ] {
            let found = match python_entry(source, PYTHON) {
                Sighting::Entry(name) => Some(name),
                Sighting::Perhaps(_) | Sighting::Nothing => None,
            };
            assert_eq!(found, expected, "{source}");
        }
        assert_eq!(
            python_entry("from inner import *", PYTHON),
            Sighting::Perhaps("from … import *")
        );
        assert_eq!(
            python_entry("from inner import *\ndef handler(e, c): pass", PYTHON),
            Sighting::Entry("handler")
        );
    }

    #[test]
    fn node_entries() {
        use Module::{CommonJs, Es};
        for (source, expected) in [
            ("exports.handler = async (event) => event;", Some(("handler", CommonJs))),
            ("module.exports.handler=function(){}", Some(("handler", CommonJs))),
            ("'use strict';exports.handler = f", Some(("handler", CommonJs))),
            ("const f = 1; exports['handler'] = f", Some(("handler", CommonJs))),
            (
                "const x = 1;\nmodule.exports = { handler };",
                Some(("handler", CommonJs)),
            ),
            ("exports = module.exports = { handler: f }", Some(("handler", CommonJs))),
            ("module.exports = {handler}", Some(("handler", CommonJs))),
            ("module.exports = { 'handler': f }", Some(("handler", CommonJs))),
            ("module.exports = { ...others, handler }", Some(("handler", CommonJs))),
            (
                "Object.defineProperty(exports, \"handler\", { value: f })",
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
            ("module.exports = { f(a, handler) {} }", None),
            (
                "module.exports = { x: a ? b : c, handler: d }",
                Some(("handler", CommonJs)),
            ),
            ("export const handler = async () => {}", Some(("handler", Es))),
            ("const a = 1; export const handler = a", Some(("handler", Es))),
            ("export const other = f(1, 2), handler = 3", Some(("handler", Es))),
            ("export const { handler } = make()", Some(("handler", Es))),
            ("export async function handler(event) {}", Some(("handler", Es))),
            ("export function lambdaHandler(event) {}", Some(("lambdaHandler", Es))),
            ("export {handler}", Some(("handler", Es))),
            ("export { main as handler };", Some(("handler", Es))),
            ("export { main as handler } from './main.mjs'", Some(("handler", Es))),
            ("const a = 1;\nexport {\n  other,\n  handler,\n}", Some(("handler", Es))),
            (
                "const url = 'http://x'; exports.handler = f",
                Some(("handler", CommonJs)),
            ),
            ("const r = /[/'\"]/; exports.handler = f", Some(("handler", CommonJs))),
            (
                "const t = `a ${b + `c`} '`; exports.handler = f",
                Some(("handler", CommonJs)),
            ),
            ("#!/usr/bin/env node\nexports.handler = f", Some(("handler", CommonJs))),
            ("export { handler as other };", None),
            ("exports.handler == 1", None),
            ("const text = 'exports.handler = 1'", None),
            ("const text = `exports.handler = 1`", None),
            ("my.exports.handlers = 1", None),
            ("// exports.handler = 1", None),
            ("/* export const handler = 1\n*/", None),
            ("export const handlers = 1", None),
            ("const handler = 1", None),
            ("/* unfinished", None),
            ("'unfinished", None),
            ("`unfinished ${", None),
        ] {
            let found = match node_entry(source, NODE, false) {
                Sighting::Entry(entry) => Some(entry),
                Sighting::Perhaps(_) | Sighting::Nothing => None,
            };
            assert_eq!(found, expected, "{source}");
        }
        for (source, how) in [
            ("module.exports = require('./x')", "module.exports = …"),
            ("export * from './x.mjs'", "export * from …"),
            ("module.exports = { ...others }", "module.exports = { ... }"),
        ] {
            assert_eq!(node_entry(source, NODE, false), Sighting::Perhaps(how), "{source}");
        }
        assert_eq!(node_entry("module.exports = { other }", NODE, false), Sighting::Nothing);
        for (source, expected) in [
            ("function main(params) {}", Some(("main", CommonJs))),
            ("async function main (params) {}", Some(("main", CommonJs))),
            ("const main = (p) => p", Some(("main", CommonJs))),
            ("export function main(p) {}", Some(("main", Es))),
            ("const a = 1; function main(p) {}", Some(("main", CommonJs))),
            ("function mainly(p) {}", None),
            ("if (x) { function main(p) {} }", None),
            ("call(function main(p) {})", None),
        ] {
            let found = match node_entry(source, &["main"], true) {
                Sighting::Entry(entry) => Some(entry),
                Sighting::Perhaps(_) | Sighting::Nothing => None,
            };
            assert_eq!(found, expected, "{source}");
        }
    }
}
