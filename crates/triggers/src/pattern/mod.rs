//! Event patterns: a JSON document that says which JSON documents are meant.
//!
//! A pattern has the structure of the events it matches. Its objects name fields, all of which must match; its arrays hold
//! alternatives for one field, of which one must: literals, or *tests* such as `{"prefix": "x"}`. `$or` in an object holds
//! alternatives of several fields.
//! Sources: "Amazon EventBridge event patterns", "Content filtering in event patterns" (user guide); the words of the
//! errors are those of the open library that the service is built on.
//!
//! How arrays in events are read: a field that is an array matches when one of its elements does, and objects in an array
//! must match whole (all fields of a sub-pattern are looked for in the same element).

mod cidr;
mod parse;
mod wildcard;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use parse::PatternError;

use cidr::Cidr;
use wildcard::Wildcard;

/// A pattern, understood. Matching takes time proportional to the sizes of event and pattern, per wildcard to their
/// product.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    fields: Fields,
}

/// Fields of one object.
#[derive(Debug, Clone, PartialEq, Default)]
struct Fields {
    /// All of these must match.
    all: Vec<(String, Node)>,
    /// And of each of these, one.
    any: Vec<Vec<Fields>>,
}

/// What is asked of one field.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Object(Fields),
    /// One of these.
    OneOf(Vec<Test>),
}

/// One alternative.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equals(Literal),
    Text(Text),
    /// The field is there and is none of these.
    AnythingBut(Vec<But>),
    Numeric(Range),
    Exists(bool),
    Cidr(Cidr),
}

/// What a text must be like.
#[derive(Debug, Clone, PartialEq)]
enum Text {
    Prefix(String),
    PrefixIgnoringCase(String),
    Suffix(String),
    SuffixIgnoringCase(String),
    IgnoringCase(String),
    Wildcard(Wildcard),
}

#[derive(Debug, Clone, PartialEq)]
enum But {
    Literal(Literal),
    Text(Text),
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

/// Bounds of a number, each with whether it is itself within.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    low: Option<(f64, bool)>,
    high: Option<(f64, bool)>,
}

impl Pattern {
    /// Whether an event is meant.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        event.as_object().is_some_and(|event| self.fields.match_object(event))
    }
}

impl Fields {
    fn match_object(&self, object: &Map<String, Value>) -> bool {
        self.all.iter().all(|(name, node)| node.matches(object.get(name)))
            && self
                .any
                .iter()
                .all(|alternatives| alternatives.iter().any(|fields| fields.match_object(object)))
    }
}

impl Node {
    fn matches(&self, found: Option<&Value>) -> bool {
        match self {
            Self::Object(fields) => match found {
                Some(Value::Object(object)) => fields.match_object(object),
                Some(Value::Array(items)) => {
                    items.iter().any(|item| self.matches(Some(item)))
                        || (items.is_empty() && fields.match_object(&Map::new()))
                }
                // What is asked of fields that are not there: only their absence can match.
                None | Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                    fields.match_object(&Map::new())
                }
            },
            Self::OneOf(tests) => tests.iter().any(|test| test.matches(found)),
        }
    }
}

impl Test {
    fn matches(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Self::Exists(wanted), found) => found.is_some_and(is_leaf) == *wanted,
            (_, None | Some(Value::Object(_))) => false,
            (_, Some(Value::Array(items))) => items.iter().any(|item| self.matches(Some(item))),
            (Self::Equals(literal), Some(value)) => literal.equals(value),
            (Self::Text(text), Some(value)) => value.as_str().is_some_and(|value| text.matches(value)),
            (Self::AnythingBut(buts), Some(value)) => !buts.iter().any(|but| but.is(value)),
            (Self::Numeric(range), Some(value)) => value.as_f64().is_some_and(|value| range.holds(value)),
            (Self::Cidr(cidr), Some(value)) => value
                .as_str()
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| cidr.holds(address)),
        }
    }
}

/// Objects are no leaves, and neither are arrays in which there is none.
fn is_leaf(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(items) => items.iter().any(is_leaf),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

impl But {
    fn is(&self, value: &Value) -> bool {
        match self {
            Self::Literal(literal) => literal.equals(value),
            Self::Text(text) => value.as_str().is_some_and(|value| text.matches(value)),
        }
    }
}

impl Literal {
    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(found)) => wanted == found,
            (Self::Number(wanted), Value::Number(found)) => found.as_f64() == Some(*wanted),
            (Self::Text(wanted), Value::String(found)) => wanted == found,
            (Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_), _) => false,
        }
    }
}

impl Text {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Self::PrefixIgnoringCase(prefix) => starts_ignoring_case(value.chars(), prefix.chars()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_str()),
            Self::SuffixIgnoringCase(suffix) => starts_ignoring_case(value.chars().rev(), suffix.chars().rev()),
            Self::IgnoringCase(wanted) => {
                value.chars().count() == wanted.chars().count() && starts_ignoring_case(value.chars(), wanted.chars())
            }
            Self::Wildcard(wildcard) => wildcard.matches(value),
        }
    }
}

/// Character by character, as the service compares: letters whose other case has another length are told apart.
fn starts_ignoring_case(mut value: impl Iterator<Item = char>, mut wanted: impl Iterator<Item = char>) -> bool {
    wanted.all(|wanted| {
        value
            .next()
            .is_some_and(|found| found == wanted || found.to_lowercase().eq(wanted.to_lowercase()))
    })
}

impl Range {
    fn holds(&self, value: f64) -> bool {
        let above = |(bound, within): (f64, bool)| value > bound || (within && value == bound);
        let below = |(bound, within): (f64, bool)| value < bound || (within && value == bound);
        self.low.is_none_or(above) && self.high.is_none_or(below)
    }
}
