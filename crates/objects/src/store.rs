//! The store: what may be asked of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, params};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};

use crate::bodies::Bodies;
use crate::error::{Doing, Error, of_file};
use crate::list::{ListQuery, Page, page};
use crate::model::{Bucket, Content, NewObject, Notice, Object, Part, Removal, Segment, Upload};
use crate::reading::{Found, Reading};
use crate::rows::{STORE, bucket, buckets, object};
use crate::staging::{Staged, Staging};
use crate::writer::{Change, Writer};
use crate::{notices, schema, uploads};

/// Readings of the index at one time; more wait.
const READERS: usize = 4;

const BUCKET: &str = "change a bucket";

/// Bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of all objects and parts; more are refused as busy. Default 256 GiB.
    pub bytes: u64,
    /// Buckets of one owner. Default 1000.
    pub buckets: u64,
    /// Open uploads of one bucket. Default 1000.
    pub uploads: u64,
    /// Notices that wait to be passed on; changes that make more are refused as busy. Default 100 000.
    pub notices: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes: 256 << 30,
            buckets: 1000,
            uploads: 1000,
            notices: 100_000,
        }
    }
}

/// What became of a bucket that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketRemoved {
    /// It is gone.
    Done,
    /// It has objects.
    NotEmpty,
}

/// Buckets and objects. Clones are handles on the same store.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bodies: Arc<Bodies>,
    index: PathBuf,
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    turns: Semaphore,
    options: Options,
    waiting: AtomicU64,
    noticed: Notify,
}

impl ObjectStore {
    /// Opens or makes the store in a folder, and removes what an earlier process left. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, Error> {
        let bodies = Arc::new(Bodies::open(folder.join("bodies"), options.bytes)?);
        let path = folder.join("index.db");
        let mut index = schema::connect(&path)?;
        schema::prepare(&mut index)?;
        crate::bodies::sync(folder).map_err(of_file("flush", folder))?;
        bodies.sweep(&index)?;
        let waiting = notices::count(&index)?;
        let writer = Writer::start(index, Arc::clone(&bodies)).map_err(of_file("start a thread for", &path))?;
        Ok(Self {
            inner: Arc::new(Inner {
                bodies,
                index: path,
                writer,
                readers: Mutex::default(),
                turns: Semaphore::new(READERS),
                options,
                waiting: AtomicU64::new(waiting),
                noticed: Notify::new(),
            }),
        })
    }

    /// Finishes what waits and closes the index; what is asked afterwards is answered as closed.
    pub async fn close(&self) {
        self.inner.turns.close();
        self.inner.writer.close().await;
        self.inner.readers.lock().clear();
    }

    /// Bytes of all bodies.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.inner.bodies.stored()
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _turn = self.inner.turns.acquire().await.map_err(|_| Error::Closed)?;
        let inner = Arc::clone(&self.inner);
        let reading = tokio::task::spawn_blocking(move || {
            let idle = inner.readers.lock().pop();
            let index = match idle {
                Some(index) => index,
                None => schema::connect(&inner.index)?,
            };
            let result = work(&index);
            inner.readers.lock().push(index);
            result
        });
        reading.await.map_err(|_| Error::Closed)?
    }

    async fn write<T: Send + 'static>(
        &self,
        staged: Option<Staged>,
        work: impl FnOnce(&mut Change<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.writer.write(staged, work).await
    }

    // === Buckets ===

    /// Makes a bucket.
    ///
    /// # Errors
    /// [`Error::Taken`], [`Error::Bound`].
    pub async fn create_bucket(&self, new: Bucket) -> Result<(), Error> {
        let limit = self.inner.options.buckets;
        self.write(None, move |change| {
            if let Some(found) = bucket(change.index, &new.name)? {
                return Err(Error::Taken {
                    name: found.name,
                    owner: found.owner,
                });
            }
            let sql = "SELECT count(*) FROM buckets WHERE owner = ?1";
            let count: i64 = change
                .index
                .query_row(sql, [&new.owner], |row| row.get(0))
                .doing(BUCKET)?;
            if crate::rows::unsigned(count) >= limit {
                return Err(Error::Bound {
                    what: "buckets of an account",
                    limit,
                });
            }
            let sql = "INSERT INTO buckets (name, owner, region, created, document) VALUES (?1, ?2, ?3, ?4, ?5)";
            let parameters = params![
                new.name,
                new.owner,
                new.region,
                new.created.as_micros(),
                new.document.to_string()
            ];
            change.run(BUCKET, sql, parameters).map(drop)
        })
        .await
    }

    /// A bucket.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn bucket(&self, name: &str) -> Result<Option<Bucket>, Error> {
        let name = name.to_owned();
        self.read(move |index| bucket(index, &name)).await
    }

    /// The buckets of an owner whose names come after this one, in order.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn buckets(&self, owner: &str, after: &str, limit: u32) -> Result<Vec<Bucket>, Error> {
        let (owner, after) = (owner.to_owned(), after.to_owned());
        self.read(move |index| buckets(index, &owner, &after, limit)).await
    }

    /// Changes what the provider keeps about a bucket; the new document.
    ///
    /// # Errors
    /// [`Error::NoBucket`].
    pub async fn alter_bucket(
        &self,
        name: &str,
        alter: impl FnOnce(&mut Value) + Send + 'static,
    ) -> Result<Value, Error> {
        let name = name.to_owned();
        self.write(None, move |change| {
            let mut document = change.bucket(&name)?.document;
            alter(&mut document);
            let sql = "UPDATE buckets SET document = ?2 WHERE name = ?1";
            change.run(BUCKET, sql, params![name, document.to_string()])?;
            Ok(document)
        })
        .await
    }

    /// Removes a bucket that has no objects, with its open uploads.
    ///
    /// # Errors
    /// [`Error::NoBucket`].
    pub async fn remove_bucket(&self, name: &str) -> Result<BucketRemoved, Error> {
        let name = name.to_owned();
        self.write(None, move |change| {
            change.bucket(&name)?;
            let used: bool = change
                .index
                .query_row(
                    "SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)",
                    [&name],
                    |row| row.get(0),
                )
                .doing(BUCKET)?;
            if used {
                return Ok(BucketRemoved::NotEmpty);
            }
            for upload in uploads::all(change.index, &name, ("", ""), u32::MAX)? {
                change.end_upload(&upload.id)?;
            }
            change.run(BUCKET, "DELETE FROM buckets WHERE name = ?1", [&name])?;
            Ok(BucketRemoved::Done)
        })
        .await
    }

    // === Objects ===

    /// Begins a body.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::File`].
    pub async fn stage(&self) -> Result<Staging, Error> {
        Staging::begin(Arc::clone(&self.inner.bodies)).await
    }

    /// Stores an object; durable when it returns.
    ///
    /// # Errors
    /// [`Error::NoBucket`], [`Error::Condition`], [`Error::NoObject`] when what it shares is gone, [`Error::Busy`].
    pub async fn put(&self, new: NewObject) -> Result<Object, Error> {
        self.room_for(new.notices.len())?;
        let told = new.notices.len() as u64;
        let NewObject {
            bucket,
            key,
            content,
            etag,
            modified,
            document,
            condition,
            notices,
        } = new;
        let size = content.size();
        let content = Held::of(content);
        let (fresh, staged) = content.apart();
        let stored = self.write(staged, move |change| {
            change.bucket(&bucket)?;
            change.expect(&bucket, &key, &condition)?;
            let object = Object {
                segments: fresh.named(change, &key)?,
                key,
                size,
                etag,
                modified,
                document,
            };
            change.put_object(&bucket, &object)?;
            change.notice(&notices)?;
            Ok(object)
        });
        let stored = stored.await?;
        self.told(told);
        Ok(stored)
    }

    /// Changes what the provider keeps about an object, and nothing else; its new state.
    ///
    /// # Errors
    /// [`Error::NoBucket`], [`Error::NoObject`].
    pub async fn alter(
        &self,
        bucket: &str,
        key: &str,
        alter: impl FnOnce(&mut Value) + Send + 'static,
    ) -> Result<Object, Error> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.write(None, move |change| {
            change.bucket(&bucket)?;
            let found = object(change.index, &bucket, &key)?;
            let mut found = found.ok_or_else(|| Error::NoObject(key.clone()))?;
            alter(&mut found.document);
            let sql = "UPDATE objects SET document = ?3 WHERE bucket = ?1 AND key = ?2";
            change.run(STORE, sql, params![bucket, key.as_bytes(), found.document.to_string()])?;
            Ok(found)
        })
        .await
    }

    /// An object, whose bytes stay for as long as the answer is held.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Option<Found>, Error> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let bodies = Arc::clone(&self.inner.bodies);
        self.read(move |index| {
            // Pinned, and then found still to be there: from now on nobody removes the files.
            let mut known: Option<Object> = None;
            loop {
                let Some(object) = object(index, &bucket, &key)? else {
                    return Ok(None);
                };
                let pin = bodies.pins.pin(&object.segments);
                if known.as_ref().is_some_and(|known| known.segments == object.segments) {
                    return Ok(Some(Found { object, bodies, pin }));
                }
                let again = crate::rows::object(index, &bucket, &key)?;
                if again.as_ref().is_some_and(|again| again.segments == object.segments) {
                    return Ok(Some(Found { object, bodies, pin }));
                }
                known = again;
            }
        })
        .await
    }

    /// Reads stretches of bodies that somebody names now; they stay until this is over.
    #[must_use]
    pub fn read_segments(&self, segments: &[Segment]) -> Reading {
        let bodies = Arc::clone(&self.inner.bodies);
        let pin = bodies.pins.pin(segments);
        Reading::of(bodies, segments.to_vec(), pin)
    }

    /// Removes an object; says whether it was there.
    ///
    /// # Errors
    /// [`Error::NoBucket`], [`Error::Condition`], [`Error::NoObject`] if a condition wants one, [`Error::Busy`].
    pub async fn remove(&self, removal: Removal) -> Result<bool, Error> {
        self.room_for(removal.notices.len())?;
        let told = removal.notices.len() as u64;
        let removed = self.write(None, move |change| {
            change.bucket(&removal.bucket)?;
            change.expect(&removal.bucket, &removal.key, &removal.condition)?;
            let removed = change.drop_object(&removal.bucket, &removal.key)?;
            if removed {
                change.notice(&removal.notices)?;
            }
            Ok(removed)
        });
        let removed = removed.await?;
        if removed {
            self.told(told);
        }
        Ok(removed)
    }

    /// One page of a bucket's objects.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list(&self, bucket: &str, query: ListQuery) -> Result<Page, Error> {
        let bucket = bucket.to_owned();
        self.read(move |index| page(index, &bucket, &query)).await
    }

    // === Uploads ===

    /// Begins an upload.
    ///
    /// # Errors
    /// [`Error::NoBucket`], [`Error::Bound`].
    pub async fn begin_upload(&self, upload: Upload) -> Result<(), Error> {
        let limit = self.inner.options.uploads;
        self.write(None, move |change| change.begin_upload(&upload, limit))
            .await
    }

    /// An upload.
    ///
    /// # Errors
    /// [`Error::NoUpload`].
    pub async fn upload(&self, id: &str) -> Result<Upload, Error> {
        let id = id.to_owned();
        let found = self.read(move |index| Ok((uploads::find(index, &id)?, id)));
        let (found, id) = found.await?;
        found.ok_or(Error::NoUpload(id))
    }

    /// The open uploads of a bucket after a key and, under that key, after an id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn uploads(&self, bucket: &str, after: (&str, &str), limit: u32) -> Result<Vec<Upload>, Error> {
        let (bucket, key, id) = (bucket.to_owned(), after.0.to_owned(), after.1.to_owned());
        self.read(move |index| uploads::all(index, &bucket, (&key, &id), limit))
            .await
    }

    /// Stores a part; one with the same number is replaced. Its segments are set here.
    ///
    /// # Errors
    /// [`Error::NoUpload`], [`Error::NoObject`] when what it shares is gone.
    pub async fn put_part(&self, upload: &str, part: Part, content: Content) -> Result<(), Error> {
        let upload = upload.to_owned();
        let (fresh, staged) = Held::of(content).apart();
        self.write(staged, move |change| {
            change.upload(&upload)?;
            let part = Part {
                segments: fresh.named(change, &upload)?,
                ..part
            };
            change.put_part(&upload, &part)
        })
        .await
    }

    /// Parts of an upload after a number, in order.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn parts(&self, upload: &str, after: u32, limit: u32) -> Result<Vec<Part>, Error> {
        let upload = upload.to_owned();
        self.read(move |index| uploads::parts(index, &upload, after, limit))
            .await
    }

    /// Ends an upload: the object, whose content are the segments of these parts, takes its place.
    ///
    /// # Errors
    /// [`Error::NoUpload`], [`Error::NoObject`] when a part was replaced meanwhile; as [`ObjectStore::put`].
    pub async fn complete(&self, upload: &str, new: NewObject) -> Result<Object, Error> {
        self.room_for(new.notices.len())?;
        let told = new.notices.len() as u64;
        let upload = upload.to_owned();
        let size = new.content.size();
        let (fresh, staged) = Held::of(new.content).apart();
        let stored = self.write(staged, move |change| {
            change.upload(&upload)?;
            change.expect(&new.bucket, &new.key, &new.condition)?;
            let object = Object {
                segments: fresh.named(change, &upload)?,
                key: new.key,
                size,
                etag: new.etag,
                modified: new.modified,
                document: new.document,
            };
            change.end_upload(&upload)?;
            change.put_object(&new.bucket, &object)?;
            change.notice(&new.notices)?;
            Ok(object)
        });
        let stored = stored.await?;
        self.told(told);
        Ok(stored)
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// [`Error::NoUpload`].
    pub async fn abort(&self, upload: &str) -> Result<(), Error> {
        let upload = upload.to_owned();
        self.write(None, move |change| {
            change.upload(&upload)?;
            change.end_upload(&upload)
        })
        .await
    }

    // === Notices ===

    /// The oldest notices.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn notices(&self, limit: u32) -> Result<Vec<Notice>, Error> {
        self.read(move |index| notices::oldest(index, limit)).await
    }

    /// Returns when notices may have come since the last time.
    pub async fn noticed(&self) {
        self.inner.noticed.notified().await;
    }

    /// Forgets notices that were passed on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn passed_on(&self, ids: Vec<i64>) -> Result<(), Error> {
        let gone = self.write(None, move |change| change.passed_on(&ids)).await?;
        self.inner.waiting.fetch_sub(gone, Ordering::Relaxed);
        Ok(())
    }

    fn room_for(&self, notices: usize) -> Result<(), Error> {
        let (waiting, limit) = (self.inner.waiting.load(Ordering::Relaxed), self.inner.options.notices);
        if notices > 0 && waiting.saturating_add(notices as u64) > limit {
            return Err(Error::Busy {
                what: "the queue of notices",
                limit,
            });
        }
        Ok(())
    }

    fn told(&self, notices: u64) {
        if notices > 0 {
            self.inner.waiting.fetch_add(notices, Ordering::Relaxed);
            self.inner.noticed.notify_one();
        }
    }
}

/// Content on its way into the index.
struct Held {
    fresh: Option<(String, u64)>,
    segments: Vec<Segment>,
    staged: Option<Staged>,
}

impl Held {
    fn of(content: Content) -> Self {
        match content {
            Content::Fresh(staged) => Self {
                fresh: (staged.size() > 0).then(|| (staged.name().to_owned(), staged.size())),
                segments: staged.segments(),
                staged: Some(staged),
            },
            Content::Shared(segments) => Self {
                fresh: None,
                segments,
                staged: None,
            },
        }
    }

    fn apart(mut self) -> (Self, Option<Staged>) {
        let staged = self.staged.take();
        (self, staged)
    }

    /// The segments, their bodies named.
    fn named(self, change: &Change<'_>, of: &str) -> Result<Vec<Segment>, Error> {
        match self.fresh {
            Some((name, size)) => change.first_name(&name, size)?,
            None => change.name_again(&self.segments, of)?,
        }
        Ok(self.segments)
    }
}
