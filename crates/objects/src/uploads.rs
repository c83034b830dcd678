//! Rows of uploads and their parts.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sonagi_model::Timestamp;

use crate::error::{Doing, Error};
use crate::model::{Part, Upload};
use crate::rows::{READ, json, key, signed, unsigned};
use crate::writer::Change;

const UPLOAD: &str = "store a part of an upload";

pub(crate) fn find(index: &Connection, id: &str) -> Result<Option<Upload>, Error> {
    let sql = "SELECT bucket, key, initiated, document FROM uploads WHERE id = ?1";
    let read = |row: &Row<'_>| {
        Ok(Upload {
            id: id.to_owned(),
            bucket: row.get(0)?,
            key: key(row, 1)?,
            initiated: Timestamp::from_micros(row.get(2)?),
            document: json(row, 3)?,
        })
    };
    index
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([id], read).optional())
        .doing(READ)
}

/// The uploads of a bucket after a key and, under that key, after an id.
pub(crate) fn all(
    index: &Connection,
    bucket: &str,
    (after_key, after_id): (&str, &str),
    limit: u32,
) -> Result<Vec<Upload>, Error> {
    let sql = "SELECT id, key, initiated, document FROM uploads
               WHERE bucket = ?1 AND (key > ?2 OR (key = ?2 AND id > ?3)) ORDER BY key, id LIMIT ?4";
    let read = |row: &Row<'_>| {
        Ok(Upload {
            id: row.get(0)?,
            bucket: bucket.to_owned(),
            key: key(row, 1)?,
            initiated: Timestamp::from_micros(row.get(2)?),
            document: json(row, 3)?,
        })
    };
    let parameters = params![bucket, after_key.as_bytes(), after_id, limit];
    index
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map(parameters, read)?.collect())
        .doing(READ)
}

/// Parts after a number, in order.
pub(crate) fn parts(index: &Connection, upload: &str, after: u32, limit: u32) -> Result<Vec<Part>, Error> {
    let sql = "SELECT number, size, etag, modified, segments, document FROM parts
               WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
    let read = |row: &Row<'_>| {
        Ok(Part {
            number: row.get(0)?,
            size: unsigned(row.get(1)?),
            etag: row.get(2)?,
            modified: Timestamp::from_micros(row.get(3)?),
            segments: json(row, 4)?,
            document: json(row, 5)?,
        })
    };
    index
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map(params![upload, after, limit], read)?.collect())
        .doing(READ)
}

impl Change<'_> {
    pub(crate) fn upload(&self, id: &str) -> Result<Upload, Error> {
        find(self.index, id)?.ok_or_else(|| Error::NoUpload(id.to_owned()))
    }

    pub(crate) fn begin_upload(&self, upload: &Upload, limit: u64) -> Result<(), Error> {
        self.bucket(&upload.bucket)?;
        let sql = "SELECT count(*) FROM uploads WHERE bucket = ?1";
        let open: i64 = self
            .index
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([&upload.bucket], |row| row.get(0)))
            .doing(UPLOAD)?;
        if unsigned(open) >= limit {
            return Err(Error::Bound {
                what: "open uploads of a bucket",
                limit,
            });
        }
        let sql = "INSERT INTO uploads (id, bucket, key, initiated, document) VALUES (?1, ?2, ?3, ?4, ?5)";
        let parameters = params![
            upload.id,
            upload.bucket,
            upload.key.as_bytes(),
            upload.initiated.as_micros(),
            upload.document.to_string()
        ];
        self.run(UPLOAD, sql, parameters).map(drop)
    }

    pub(crate) fn put_part(&mut self, upload: &str, part: &Part) -> Result<(), Error> {
        self.drop_part(upload, part.number)?;
        let segments = serde_json::to_string(&part.segments).doing(UPLOAD)?;
        let sql = "INSERT INTO parts (upload, number, size, etag, modified, segments, document)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let parameters = params![
            upload,
            part.number,
            signed(part.size),
            part.etag,
            part.modified.as_micros(),
            segments,
            part.document.to_string()
        ];
        self.run(UPLOAD, sql, parameters).map(drop)
    }

    fn drop_part(&mut self, upload: &str, number: u32) -> Result<(), Error> {
        let old = parts(self.index, upload, number.saturating_sub(1), 1)?;
        let Some(old) = old.into_iter().find(|part| part.number == number) else {
            return Ok(());
        };
        self.let_go(&old.segments)?;
        let sql = "DELETE FROM parts WHERE upload = ?1 AND number = ?2";
        self.run(UPLOAD, sql, params![upload, number]).map(drop)
    }

    /// Forgets an upload; its parts let go of their bodies.
    pub(crate) fn end_upload(&mut self, id: &str) -> Result<(), Error> {
        for part in parts(self.index, id, 0, u32::MAX)? {
            self.let_go(&part.segments)?;
        }
        self.run(UPLOAD, "DELETE FROM parts WHERE upload = ?1", [id])?;
        self.run(UPLOAD, "DELETE FROM uploads WHERE id = ?1", [id]).map(drop)
    }
}
