//! Annotations and configuration: what they may be, and how a change is laid over what is there.
//! Source: fnproject/fn 0.3.753, `api/models/annotations.go`, `api/models/config.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::errors::FnError;

/// Values by key.
pub(crate) type Annotations = BTreeMap<String, Value>;
/// Texts by key.
pub(crate) type Config = BTreeMap<String, String>;

/// Keys of one object.
const KEYS_MAX: usize = 100;
/// Bytes of a key.
const KEY_MAX: usize = 128;
/// Bytes of a value, written as JSON.
const VALUE_MAX: usize = 512;

/// The annotations after a change. A key whose new value is an empty text or null goes.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn annotated(old: &Annotations, change: &Annotations) -> Result<Annotations, FnError> {
    let mut merged = old.clone();
    for (key, value) in change {
        if value.is_null() || value.as_str() == Some("") {
            merged.remove(key);
            continue;
        }
        check(key, value)?;
        merged.insert(key.clone(), value.clone());
    }
    if merged.len() > KEYS_MAX {
        let text = format!(
            "Invalid annotation change, new key(s) exceed maximum permitted number of annotations keys ({KEYS_MAX})"
        );
        return Err(FnError::bad(text));
    }
    Ok(merged)
}

fn check(key: &str, value: &Value) -> Result<(), FnError> {
    if key.is_empty() || !key.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        return Err(FnError::bad(
            "Invalid annotation key, annotation keys must contain ASCII only and not include spaces or control characters",
        ));
    }
    if key.len() > KEY_MAX {
        return Err(FnError::bad(format!(
            "Invalid annotation key length, annotation keys may not be larger than {KEY_MAX} bytes"
        )));
    }
    if value.to_string().len() > VALUE_MAX {
        return Err(FnError::bad(format!(
            "Invalid annotation value length, annotation values may not be larger than {VALUE_MAX} bytes when serialized as JSON"
        )));
    }
    Ok(())
}

/// Annotations of something new: an empty value is refused there.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn created(given: &Annotations) -> Result<Annotations, FnError> {
    let empty = |value: &Value| value.is_null() || value.as_str() == Some("");
    if given.values().any(empty) {
        return Err(FnError::bad(
            "Invalid annotation value, annotation values may not be empty strings",
        ));
    }
    annotated(&Annotations::new(), given)
}

/// The configuration after a change. A key whose new value is empty goes.
pub(crate) fn configured(old: &Config, change: &Config) -> Config {
    let mut merged = old.clone();
    for (key, value) in change {
        if value.is_empty() {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    merged
}

/// Whether every key can name a variable.
///
/// # Errors
/// 400: upstream starts a container that fails.
pub(crate) fn check_config(config: &Config) -> Result<(), FnError> {
    let unusable =
        |(key, value): &(&String, &String)| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0');
    match config.iter().find(unusable) {
        Some((key, _)) => Err(FnError::bad(format!(
            "Invalid config key {key:?}: it names a variable, which has no '=' and no NUL"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(pairs: &[(&str, Value)]) -> Annotations {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn a_change_is_laid_over_what_is_there() {
        let old = of(&[("a", json!(1)), ("b", json!("x")), ("c", json!({}))]);
        let new = annotated(&old, &of(&[("a", json!(2)), ("b", json!("")), ("c", Value::Null)])).unwrap();
        assert_eq!(new, of(&[("a", json!(2))]));
        let config: Config = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())].into();
        let change: Config = [("A".to_owned(), String::new()), ("C".to_owned(), "3".to_owned())].into();
        assert_eq!(configured(&config, &change).into_keys().collect::<Vec<_>>(), ["B", "C"]);
    }

    #[test]
    fn bounds_are_told() {
        let refused = |pairs: &[(&str, Value)]| created(&of(pairs)).unwrap_err().message;
        assert!(refused(&[("a b", json!(1))]).starts_with("Invalid annotation key, "));
        assert!(refused(&[("", json!(1))]).starts_with("Invalid annotation key, "));
        assert!(refused(&[("é", json!(1))]).starts_with("Invalid annotation key, "));
        assert!(refused(&[(&"k".repeat(129), json!(1))]).contains("128 bytes"));
        assert!(refused(&[("k", json!("v".repeat(511)))]).contains("512 bytes"));
        assert!(refused(&[("k", json!(""))]).starts_with("Invalid annotation value, "));
        let many: Vec<(String, Value)> = (0..101).map(|n| (format!("k{n}"), json!(n))).collect();
        let error = created(&many.into_iter().collect()).unwrap_err();
        assert!(
            error
                .message
                .starts_with("Invalid annotation change, new key(s) exceed maximum")
        );
        assert!(created(&of(&[(&"k".repeat(128), json!("v".repeat(510)))])).is_ok());
        assert!(check_config(&[("A=".to_owned(), String::new())].into()).is_err());
    }
}
