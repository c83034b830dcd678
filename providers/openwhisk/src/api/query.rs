//! Queries: their parameters, and those that all lists share.
//! Source: apache/openwhisk (commit 1fae641), `ListLimit`, `ListSkip`, `Messages.scala`.

use crate::errors::WhiskError;
use crate::limits::WhiskLimits;

/// The parameters of a query, decoded, in order; and the query as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub(crate) raw: String,
    pub(crate) pairs: Vec<(String, String)>,
}

/// Which entries of a list are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) limit: u64,
    pub(crate) skip: u64,
    pub(crate) count: bool,
}

/// Decodes one part of a form or query.
pub(crate) fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

/// The pairs of a form or query.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self {
            raw: text.to_owned(),
            pairs: pairs(text),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter that is `true` or `false`.
    pub(crate) fn flag(&self, name: &str, absent: bool) -> Result<bool, WhiskError> {
        match self.get(name) {
            None => Ok(absent),
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some("false" | "0" | "no" | "off") => Ok(false),
            Some(other) => Err(WhiskError::query(
                name,
                format!("'{other}' is not a valid Boolean value"),
            )),
        }
    }

    /// A parameter that is a whole number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, WhiskError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(WhiskError::query(
                name,
                format!("The value '{text}' is not an integer."),
            )),
        }
    }

    /// The page of a list.
    ///
    /// # Errors
    /// 400 out of range.
    pub(crate) fn page(&self, limits: &WhiskLimits, collection: &str) -> Result<Page, WhiskError> {
        let (standard, most) = limits.page;
        let limit = match self.number("limit")? {
            None => standard,
            Some(0) => most,
            Some(limit) => match u64::try_from(limit) {
                Ok(limit) if limit <= most => limit,
                Ok(_) | Err(_) => {
                    let why = format!("The value '{limit}' is not in the range of 0 to {most} for {collection}.");
                    return Err(WhiskError::query("limit", why));
                }
            },
        };
        let skip = self.number("skip")?.unwrap_or(0);
        let skip = u64::try_from(skip).map_err(|_| {
            let why = format!("The value '{skip}' is not greater than or equal to 0 for {collection}.");
            WhiskError::query("skip", why)
        })?;
        Ok(Page {
            limit,
            skip,
            count: self.flag("count", false)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_bounds() {
        let page = |text: &str| Query::parse(text).page(&WhiskLimits::default(), "actions");
        let shown = |text: &str| page(text).map(|page| (page.limit, page.skip, page.count)).unwrap();
        assert_eq!(shown(""), (30, 0, false));
        assert_eq!(shown("limit=0&skip=5&count=true"), (200, 5, true));
        let text = page("limit=201").unwrap_err().text;
        assert!(text.contains("The value '201' is not in the range of 0 to 200 for actions."));
        for bad in ["limit=-1", "limit=x", "skip=-1", "skip=x", "count=maybe"] {
            assert_eq!(page(bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn forms_are_decoded() {
        assert_eq!(
            pairs("a=1+2&b%20c=%C3%A9&d"),
            [("a", "1 2"), ("b c", "é"), ("d", "")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
    }
}
