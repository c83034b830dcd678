//! Pages of lists: sorted by name, continued after the last name.
//! Source: fnproject/fn 0.3.753, `api/server/server.go` (`pageParams`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::Call;
use crate::errors::FnError;

/// Entries of a page, unless the request says otherwise.
const STANDARD: usize = 30;
/// Most entries of a page.
const MOST: usize = 100;

/// The page of a list that a request asks for.
///
/// # Errors
/// 400 for a cursor that no answer had.
pub(super) fn page(call: &Call, mut rows: Vec<(String, Value)>) -> Result<Value, FnError> {
    let asked = call
        .text("per_page")
        .and_then(|text| text.parse::<i64>().ok())
        .filter(|asked| *asked > 0);
    let size = asked.map_or(STANDARD, |asked| usize::try_from(asked).unwrap_or(MOST).min(MOST));
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    if let Some(cursor) = call.text("cursor") {
        let after = URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| FnError::bad("Invalid cursor"))?;
        rows.retain(|(name, _)| *name > after);
    }
    rows.truncate(size);
    // A full page may be the last one: then an empty one follows.
    let next = rows
        .last()
        .filter(|_| rows.len() == size)
        .map(|(name, _)| URL_SAFE_NO_PAD.encode(name));
    let mut shown = Map::new();
    if let Some(next) = next {
        shown.insert("next_cursor".to_owned(), json!(next));
    }
    let items: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    shown.insert("items".to_owned(), Value::Array(items));
    Ok(Value::Object(shown))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::accounts::Account;
    use crate::records::Base;

    fn call(pairs: &[(&str, &str)]) -> Call {
        Call {
            account: Arc::new(Account {
                name: "a".to_owned(),
                token: String::new(),
            }),
            query: pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: Bytes::new(),
            base: Base {
                url: String::new(),
                prefix: String::new(),
            },
        }
    }

    #[test]
    fn pages_continue_after_their_last_name() {
        let rows = || ["c", "a", "b"].map(|name| (name.to_owned(), json!(name))).to_vec();
        let first = page(&call(&[("per_page", "2")]), rows()).unwrap();
        assert_eq!(first["items"], json!(["a", "b"]));
        let cursor = first["next_cursor"].as_str().unwrap().to_owned();
        let second = page(&call(&[("per_page", "2"), ("cursor", &cursor)]), rows()).unwrap();
        assert_eq!(second, json!({"items": ["c"]}));
        let full = page(&call(&[("per_page", "3")]), rows()).unwrap();
        assert!(full["next_cursor"].is_string());
        for size in ["0", "-1", "x", "1000"] {
            assert_eq!(
                page(&call(&[("per_page", size)]), rows()).unwrap()["items"]
                    .as_array()
                    .unwrap()
                    .len(),
                3
            );
        }
        assert_eq!(page(&call(&[("cursor", "!")]), rows()).unwrap_err().status, 400);
        assert_eq!(page(&call(&[]), Vec::new()).unwrap(), json!({"items": []}));
    }
}
