//! Reading patterns, and what is wrong with them.

use serde_json::{Map, Value};

use super::cidr::Cidr;
use super::wildcard::Wildcard;
use super::{But, Fields, Literal, Node, Pattern, Range, Test, Text};

/// A text that is no pattern: why, in the words of the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

type Result<T> = std::result::Result<T, PatternError>;

/// Numbers beyond these cannot be compared exactly. Source: "Numeric matching": -5.0e9 to 5.0e9.
const NUMBER_MAX: f64 = 5.0e9;

/// The names of tests: an object in `$or` that has only these is no alternative.
const TESTS: [&str; 8] = [
    "prefix",
    "suffix",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
    "equals-ignore-case",
    "wildcard",
];

fn wrong<T>(text: impl Into<String>) -> Result<T> {
    Err(PatternError(text.into()))
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self> {
        match serde_json::from_str(text) {
            Ok(value) => Self::from_value(&value),
            Err(error) => wrong(format!(
                "Unable to parse JSON at line: {}, column: {}",
                error.line(),
                error.column()
            )),
        }
    }

    /// A pattern from a JSON value.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Object(object) => Ok(Self {
                fields: fields(object)?,
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                wrong("Filter is not an object")
            }
        }
    }
}

fn fields(object: &Map<String, Value>) -> Result<Fields> {
    if object.is_empty() {
        return wrong("Empty objects are not allowed");
    }
    let mut read = Fields::default();
    for (name, value) in object {
        match value {
            Value::Array(items) if name == "$or" && is_or(items) => {
                let alternatives = items.iter().filter_map(Value::as_object).map(fields);
                read.any.push(alternatives.collect::<Result<_>>()?);
            }
            Value::Object(inner) => read.all.push((name.clone(), Node::Object(fields(inner)?))),
            Value::Array(items) if items.is_empty() => return wrong("Empty arrays are not allowed"),
            Value::Array(items) => {
                let tests = items.iter().map(test).collect::<Result<_>>()?;
                read.all.push((name.clone(), Node::OneOf(tests)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return wrong(format!("\"{name}\" must be an object or an array"));
            }
        }
    }
    Ok(read)
}

/// `$or` is a relation if it has two objects or more, none of them a mere test; else it is the name of a field.
fn is_or(items: &[Value]) -> bool {
    items.len() > 1
        && items.iter().all(|item| {
            item.as_object()
                .is_some_and(|object| object.is_empty() || object.keys().any(|key| !TESTS.contains(&key.as_str())))
        })
}

fn literal(value: &Value) -> Option<Literal> {
    Some(match value {
        Value::Null => Literal::Null,
        Value::Bool(value) => Literal::Bool(*value),
        Value::Number(number) => Literal::Number(number.as_f64()?),
        Value::String(text) => Literal::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => return None,
    })
}

fn test(value: &Value) -> Result<Test> {
    let Some(object) = value.as_object() else {
        return match literal(value) {
            Some(literal) => Ok(Test::Equals(literal)),
            None => wrong("Match value must be String, number, true, false, or null"),
        };
    };
    let (name, argument) = only(object)?;
    Ok(match name {
        "prefix" | "suffix" | "equals-ignore-case" | "wildcard" => Test::Text(text(name, argument, Nested::Yes)?),
        "anything-but" => Test::AnythingBut(anything_but(argument)?),
        "numeric" => Test::Numeric(numeric(argument)?),
        "exists" => match argument.as_bool() {
            Some(wanted) => Test::Exists(wanted),
            None => return wrong("exists match pattern must be either true or false."),
        },
        "cidr" => match argument.as_str() {
            Some(text) => Test::Cidr(Cidr::parse(text).map_err(PatternError)?),
            None => return wrong("CIDR match pattern must be a string"),
        },
        other => return wrong(format!("Unrecognized match type {other}")),
    })
}

fn only(object: &Map<String, Value>) -> Result<(&str, &Value)> {
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (Some((name, argument)), None) => Ok((name, argument)),
        (None, _) => wrong("Empty objects are not allowed"),
        (Some(_), Some(_)) => wrong("Only one key allowed in match expression"),
    }
}

/// Whether `{"prefix": {"equals-ignore-case": …}}` may stand here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nested {
    Yes,
    No,
}

fn text(name: &str, argument: &Value, nested: Nested) -> Result<Text> {
    if let (Value::Object(object), "prefix" | "suffix", Nested::Yes) = (argument, name, nested) {
        let (inner, argument) = only(object)?;
        let (Value::String(wanted), "equals-ignore-case") = (argument, inner) else {
            return wrong(format!(
                "Unsupported {name} pattern: it takes a string, or equals-ignore-case with one"
            ));
        };
        let wanted = wanted.clone();
        return Ok(match name {
            "prefix" => Text::PrefixIgnoringCase(wanted),
            _ => Text::SuffixIgnoringCase(wanted),
        });
    }
    let Value::String(wanted) = argument else {
        return wrong(format!("{name} match pattern must be a string"));
    };
    Ok(match name {
        "prefix" => Text::Prefix(wanted.clone()),
        "suffix" => Text::Suffix(wanted.clone()),
        "equals-ignore-case" => Text::IgnoringCase(wanted.clone()),
        _ => Text::Wildcard(Wildcard::parse(wanted).map_err(PatternError)?),
    })
}

fn anything_but(argument: &Value) -> Result<Vec<But>> {
    match argument {
        Value::Object(object) => {
            let (name, argument) = only(object)?;
            if !matches!(name, "prefix" | "suffix" | "equals-ignore-case" | "wildcard") {
                return wrong(format!("Unsupported anything-but pattern: {name}"));
            }
            let of = |argument: &Value| text(name, argument, Nested::No).map(But::Text);
            match argument.as_array() {
                Some(items) if items.is_empty() => wrong("Empty arrays are not allowed"),
                Some(items) => items.iter().map(of).collect(),
                None => Ok(vec![of(argument)?]),
            }
        }
        Value::Array(items) if items.is_empty() => wrong("Empty arrays are not allowed"),
        Value::Array(items) => {
            let numbers = items.iter().all(Value::is_number);
            let texts = items.iter().all(Value::is_string);
            if !numbers && !texts {
                return wrong(
                    "Inside anything-but list, either all values are number or string, mixed type is not supported",
                );
            }
            Ok(items.iter().filter_map(literal).map(But::Literal).collect())
        }
        Value::String(_) | Value::Number(_) => Ok(literal(argument).map(But::Literal).into_iter().collect()),
        Value::Null | Value::Bool(_) => wrong("Value of anything-but must be an array or single string/number value."),
    }
}

fn numeric(argument: &Value) -> Result<Range> {
    let Value::Array(members) = argument else {
        return wrong("Value of numeric must be an array.");
    };
    let member = |at: usize| -> Result<Option<(&str, f64)>> {
        let Some(operator) = members.get(at) else {
            return Ok(None);
        };
        let Value::String(operator) = operator else {
            return wrong(format!("Invalid member in numeric match: {operator}"));
        };
        if !matches!(operator.as_str(), "=" | "<" | "<=" | ">" | ">=") {
            return wrong(format!("Unrecognized numeric range operator: {operator}"));
        }
        match members.get(at + 1).and_then(Value::as_f64) {
            Some(bound) if bound.abs() <= NUMBER_MAX => Ok(Some((operator, bound))),
            Some(_) => wrong(format!(
                "Value must be between {} and {}, inclusive",
                -5_000_000_000_i64, 5_000_000_000_i64
            )),
            None => wrong(format!("Value of {operator} must be numeric")),
        }
    };
    let Some((operator, bound)) = member(0)? else {
        return wrong("Invalid member in numeric match: ]");
    };
    if members.len() > 4 || (members.len() > 2 && operator == "=") {
        return wrong("Too many elements in numeric expression");
    }
    let second = member(2)?;
    let mut range = Range { low: None, high: None };
    match operator {
        "=" => {
            range.low = Some((bound, true));
            range.high = range.low;
        }
        ">" | ">=" => range.low = Some((bound, operator == ">=")),
        _ => range.high = Some((bound, operator == "<=")),
    }
    match second {
        None => {}
        Some((upper @ ("<" | "<="), limit)) if range.low.is_some() => {
            if limit <= bound {
                return wrong("Bottom must be less than top");
            }
            range.high = Some((limit, upper == "<="));
        }
        Some((bad, _)) => return wrong(format!("Bad numeric range operator: {bad}")),
    }
    Ok(range)
}
