//! Listings: keys in order, those with a common beginning joined into one line.

use rusqlite::{Connection, params};
use sonagi_model::Timestamp;

use crate::error::{Doing, Error};
use crate::model::Summary;
use crate::rows::{READ, key, unsigned};

/// What is listed.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that have this text after the prefix are joined up to its end; none are if it is empty.
    pub delimiter: String,
    /// Only what comes after this key, or after all keys that begin with this common beginning.
    pub after: String,
    /// At most so many lines.
    pub limit: usize,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An object.
    Object(Summary),
    /// What several keys begin with.
    Common(String),
}

impl Entry {
    /// What the next page comes after.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Object(summary) => &summary.key,
            Self::Common(beginning) => beginning,
        }
    }
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Its lines.
    pub entries: Vec<Entry>,
    /// Whether more follow.
    pub more: bool,
}

/// Rows read at once.
const BATCH: usize = 256;

/// The first text that is after every text with this beginning; nothing if there is none.
fn end_of(beginning: &[u8]) -> Option<Vec<u8>> {
    let mut end = beginning.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// What is joined with this key, if anything is.
fn common<'a>(query: &ListQuery, key: &'a str) -> Option<&'a str> {
    if query.delimiter.is_empty() {
        return None;
    }
    let rest = key.get(query.prefix.len()..)?;
    let at = rest.find(&query.delimiter)?;
    key.get(..query.prefix.len() + at + query.delimiter.len())
}

/// Where reading begins: at this key, or only after it.
#[derive(Debug)]
struct From {
    key: Vec<u8>,
    including: bool,
}

impl From {
    fn of(query: &ListQuery) -> Option<Self> {
        let after = query.after.as_bytes();
        if after < query.prefix.as_bytes() || query.after.is_empty() {
            return Some(Self {
                key: query.prefix.clone().into_bytes(),
                including: true,
            });
        }
        // A page that ended with a common beginning goes on after all that has it.
        match common(query, &query.after) {
            Some(beginning) if query.after.starts_with(&query.prefix) => {
                end_of(beginning.as_bytes()).map(|key| Self { key, including: true })
            }
            Some(_) | None => Some(Self {
                key: after.to_vec(),
                including: false,
            }),
        }
    }
}

/// Reads one page. Keys with one beginning are skipped by a new search, so that a page costs what it shows.
pub(crate) fn page(index: &Connection, bucket: &str, query: &ListQuery) -> Result<Page, Error> {
    let mut page = Page::default();
    let end = end_of(query.prefix.as_bytes());
    let mut from = From::of(query);
    while let Some(begin) = from.take() {
        let rows = batch(index, bucket, &begin, end.as_deref())?;
        let full = rows.len() == BATCH;
        let mut last = None;
        for summary in rows {
            let beginning = common(query, &summary.key).map(str::to_owned);
            if page.entries.len() >= query.limit {
                page.more = true;
                return Ok(page);
            }
            if let Some(beginning) = beginning {
                from = end_of(beginning.as_bytes()).map(|key| From { key, including: true });
                page.entries.push(Entry::Common(beginning));
                last = None;
                break;
            }
            last = Some(summary.key.clone());
            page.entries.push(Entry::Object(summary));
        }
        if let Some(key) = last.filter(|_| full) {
            from = Some(From {
                key: key.into_bytes(),
                including: false,
            });
        }
    }
    Ok(page)
}

fn batch(index: &Connection, bucket: &str, from: &From, end: Option<&[u8]>) -> Result<Vec<Summary>, Error> {
    // One statement per kind of bound, so that each is a search in the primary key.
    let sql = match (from.including, end.is_some()) {
        (true, true) => "key >= ?2 AND key < ?3",
        (false, true) => "key > ?2 AND key < ?3",
        (true, false) => "key >= ?2 AND ?3 IS NULL",
        (false, false) => "key > ?2 AND ?3 IS NULL",
    };
    let sql =
        format!("SELECT key, size, etag, modified FROM objects WHERE bucket = ?1 AND {sql} ORDER BY key LIMIT ?4");
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Summary {
            key: key(row, 0)?,
            size: unsigned(row.get(1)?),
            etag: row.get(2)?,
            modified: Timestamp::from_micros(row.get(3)?),
        })
    };
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    index
        .prepare_cached(&sql)
        .and_then(|mut statement| {
            statement
                .query_map(params![bucket, from.key, end, limit], read)?
                .collect()
        })
        .doing(READ)
}
