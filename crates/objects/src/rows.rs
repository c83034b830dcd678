//! Rows of buckets, objects and bodies.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sonagi_model::Timestamp;

use crate::error::{Doing, Error};
use crate::model::{Bucket, Condition, Object, Segment};
use crate::writer::Change;

pub(crate) const READ: &str = "read the index of objects";
pub(crate) const STORE: &str = "store an object";
pub(crate) const REMOVE: &str = "remove an object";

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A column that holds JSON.
pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into()))
}

/// A column that holds a key.
pub(crate) fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

pub(crate) fn bucket(index: &Connection, name: &str) -> Result<Option<Bucket>, Error> {
    let sql = "SELECT owner, region, created, document FROM buckets WHERE name = ?1";
    let read = |row: &Row<'_>| {
        Ok(Bucket {
            name: name.to_owned(),
            owner: row.get(0)?,
            region: row.get(1)?,
            created: Timestamp::from_micros(row.get(2)?),
            document: json(row, 3)?,
        })
    };
    index
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([name], read).optional())
        .doing(READ)
}

/// The buckets of an owner after a name, by name.
pub(crate) fn buckets(index: &Connection, owner: &str, after: &str, limit: u32) -> Result<Vec<Bucket>, Error> {
    let sql = "SELECT name, region, created, document FROM buckets WHERE owner = ?1 AND name > ?2
               ORDER BY name LIMIT ?3";
    let read = |row: &Row<'_>| {
        Ok(Bucket {
            name: row.get(0)?,
            owner: owner.to_owned(),
            region: row.get(1)?,
            created: Timestamp::from_micros(row.get(2)?),
            document: json(row, 3)?,
        })
    };
    index
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map(params![owner, after, limit], read)?.collect())
        .doing(READ)
}

pub(crate) fn object(index: &Connection, bucket: &str, key: &str) -> Result<Option<Object>, Error> {
    let sql = "SELECT size, etag, modified, segments, document FROM objects WHERE bucket = ?1 AND key = ?2";
    let read = |row: &Row<'_>| {
        Ok(Object {
            key: key.to_owned(),
            size: unsigned(row.get(0)?),
            etag: row.get(1)?,
            modified: Timestamp::from_micros(row.get(2)?),
            segments: json(row, 3)?,
            document: json(row, 4)?,
        })
    };
    index
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(params![bucket, key.as_bytes()], read).optional())
        .doing(READ)
}

impl Change<'_> {
    pub(crate) fn bucket(&self, name: &str) -> Result<Bucket, Error> {
        bucket(self.index, name)?.ok_or_else(|| Error::NoBucket(name.to_owned()))
    }

    /// Puts an object in its place and lets go of what was there.
    pub(crate) fn put_object(&mut self, bucket: &str, object: &Object) -> Result<(), Error> {
        self.drop_object(bucket, &object.key)?;
        let segments = serde_json::to_string(&object.segments).doing(STORE)?;
        let sql = "INSERT INTO objects (bucket, key, size, etag, modified, segments, document)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let parameters = params![
            bucket,
            object.key.as_bytes(),
            signed(object.size),
            object.etag,
            object.modified.as_micros(),
            segments,
            object.document.to_string()
        ];
        self.run(STORE, sql, parameters).map(drop)
    }

    /// Removes an object; says whether it was there.
    pub(crate) fn drop_object(&mut self, bucket: &str, key: &str) -> Result<bool, Error> {
        let Some(old) = object(self.index, bucket, key)? else {
            return Ok(false);
        };
        self.let_go(&old.segments)?;
        let sql = "DELETE FROM objects WHERE bucket = ?1 AND key = ?2";
        self.run(REMOVE, sql, params![bucket, key.as_bytes()])?;
        Ok(true)
    }

    /// Checks what a caller expects of an object.
    pub(crate) fn expect(&self, bucket: &str, key: &str, condition: &Condition) -> Result<(), Error> {
        if *condition == Condition::None {
            return Ok(());
        }
        let found = object(self.index, bucket, key)?;
        let good = match (condition, &found) {
            (Condition::None, _) | (Condition::Absent, None) | (Condition::Present, Some(_)) => true,
            (Condition::Etag(etag), Some(found)) => found.etag == *etag,
            (Condition::Present | Condition::Etag(_), None) => return Err(Error::NoObject(key.to_owned())),
            (Condition::Absent, Some(_)) => false,
        };
        if good {
            Ok(())
        } else {
            Err(Error::Condition(key.to_owned()))
        }
    }

    /// A body that was just written gets its first name.
    pub(crate) fn first_name(&self, body: &str, size: u64) -> Result<(), Error> {
        let sql = "INSERT INTO bodies (name, size, names) VALUES (?1, ?2, 1)";
        self.run(STORE, sql, params![body, signed(size)]).map(drop)
    }

    /// Names bodies once more; they must be there.
    pub(crate) fn name_again(&self, segments: &[Segment], of: &str) -> Result<(), Error> {
        for segment in segments {
            let sql = "UPDATE bodies SET names = names + 1 WHERE name = ?1";
            if self.run(STORE, sql, [&segment.body])? == 0 {
                return Err(Error::NoObject(of.to_owned()));
            }
        }
        Ok(())
    }

    /// Names bodies once less; those without a name are dead.
    pub(crate) fn let_go(&mut self, segments: &[Segment]) -> Result<(), Error> {
        for segment in segments {
            let sql = "UPDATE bodies SET names = names - 1 WHERE name = ?1 RETURNING names";
            let left: Option<i64> = self
                .index
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_row([&segment.body], |row| row.get(0)).optional())
                .doing(REMOVE)?;
            if left == Some(0) {
                self.run(REMOVE, "DELETE FROM bodies WHERE name = ?1", [&segment.body])?;
                self.run(REMOVE, "INSERT OR IGNORE INTO dead (name) VALUES (?1)", [&segment.body])?;
                self.dead.push(segment.body.clone());
            }
        }
        Ok(())
    }
}
