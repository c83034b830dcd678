//! Notices: kept with the change that they tell of, until they are passed on.

use bytes::Bytes;
use rusqlite::{Connection, params};

use crate::error::{Doing, Error};
use crate::model::Notice;
use crate::writer::Change;

const NOTE: &str = "keep a notice";

/// The oldest notices.
pub(crate) fn oldest(index: &Connection, limit: u32) -> Result<Vec<Notice>, Error> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Notice {
            id: row.get(0)?,
            payload: Bytes::from(row.get::<_, Vec<u8>>(1)?),
        })
    };
    index
        .prepare_cached("SELECT id, payload FROM notices ORDER BY id LIMIT ?1")
        .and_then(|mut statement| statement.query_map([limit], read)?.collect())
        .doing("read notices")
}

/// How many there are.
pub(crate) fn count(index: &Connection) -> Result<u64, Error> {
    let count: i64 = index
        .query_row("SELECT count(*) FROM notices", [], |row| row.get(0))
        .doing("count notices")?;
    Ok(u64::try_from(count).unwrap_or(0))
}

impl Change<'_> {
    pub(crate) fn notice(&self, payloads: &[Bytes]) -> Result<(), Error> {
        for payload in payloads {
            let sql = "INSERT INTO notices (payload) VALUES (?1)";
            self.run(NOTE, sql, params![payload.as_ref()])?;
        }
        Ok(())
    }

    /// Forgets notices that were passed on; how many there were.
    pub(crate) fn passed_on(&self, ids: &[i64]) -> Result<u64, Error> {
        let mut gone = 0;
        for id in ids {
            gone += self.run("forget a notice", "DELETE FROM notices WHERE id = ?1", [id])?;
        }
        Ok(gone as u64)
    }
}
