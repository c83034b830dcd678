//! Objects: stored, read, described, removed, tagged.

use std::ops::Range as Stretch;

use bytes::Bytes;
use futures_util::StreamExt as _;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectTaggingInput, DeleteObjectTaggingOutput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, Error as Failed, GetObjectAclInput, GetObjectAclOutput,
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectInput, GetObjectOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, HeadObjectInput, HeadObjectOutput, ObjectIdentifier, PutObjectInput,
    PutObjectOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Range, StorageClass, StreamingBlob,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use sonagi_objects::{Bucket, Content, Error, Found, NewObject, Object, Reading, Removal};

use crate::answers::{etag, moment, number, owner};
use crate::api::Api;
use crate::buckets::everything;
use crate::checks::{Given, take};
use crate::conditions::{Expected, of_write};
use crate::describe::{Description, description_of, refuse_foreign};
use crate::errors::{invalid, no_such_key, of_store, refuse};
use crate::front::S3Caller;
use crate::notify::{Change, What};
use crate::tags;

/// Bytes of a key. Source: "Naming Amazon S3 objects".
const KEY_MAX: usize = 1024;
/// Keys of one `DeleteObjects`.
const DELETED_AT_ONCE: usize = 1000;
/// Removals of one request that share flushes to disk.
const TOGETHER: usize = 64;

/// Checks a key.
pub(crate) fn check_key(key: &str) -> S3Result<()> {
    if key.len() > KEY_MAX {
        return Err(refuse(
            S3ErrorCode::KeyTooLongError,
            format!("Your key is too long: {} bytes of {KEY_MAX}.", key.len()),
        ));
    }
    Ok(())
}

/// Objects have one version, which clients call `null`.
pub(crate) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(refuse(
            S3ErrorCode::NoSuchVersion,
            "The specified version does not exist.",
        )),
    }
}

/// Which bytes an answer has, and the text of `Content-Range` if they are not all.
struct Wanted {
    stretch: Stretch<u64>,
    range: Option<String>,
    parts: Option<i32>,
}

impl Wanted {
    fn of(object: &Object, about: &Description, range: Option<Range>, part: Option<i32>) -> S3Result<Self> {
        let size = object.size;
        let shown =
            |stretch: &Stretch<u64>| format!("bytes {}-{}/{size}", stretch.start, stretch.end.saturating_sub(1));
        if let Some(part) = part {
            if range.is_some() {
                return Err(invalid(
                    "Cannot specify both Range header and partNumber query parameter",
                ));
            }
            let parts = if about.parts.is_empty() {
                vec![size]
            } else {
                about.parts.clone()
            };
            let index = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
            let length = index.and_then(|index| parts.get(index).copied());
            let (Some(index), Some(length)) = (index, length) else {
                return Err(refuse(
                    S3ErrorCode::InvalidRange,
                    "The requested partnumber is not satisfiable",
                ));
            };
            let start: u64 = parts[..index].iter().sum();
            let stretch = start..start + length;
            let count = i32::try_from(about.parts.len()).ok().filter(|count| *count > 0);
            let range = (length > 0).then(|| shown(&stretch));
            return Ok(Self {
                stretch,
                range,
                parts: count,
            });
        }
        let Some(range) = range else {
            return Ok(Self {
                stretch: 0..size,
                range: None,
                parts: None,
            });
        };
        let stretch = range
            .check(size)
            .map_err(|_| refuse(S3ErrorCode::InvalidRange, "The requested range is not satisfiable"))?;
        Ok(Self {
            range: Some(shown(&stretch)),
            stretch,
            parts: None,
        })
    }

    fn length(&self) -> i64 {
        number(self.stretch.end - self.stretch.start)
    }
}

/// The bytes as the protocol's crate takes them.
pub(crate) fn blob(reading: Reading) -> StreamingBlob {
    let next = |mut reading: Reading| async move {
        match reading.next().await {
            Ok(Some(bytes)) => Some((Ok::<Bytes, Error>(bytes), reading)),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an object cannot be read");
                Some((Err(error), reading))
            }
        }
    };
    StreamingBlob::wrap(futures_util::stream::unfold(reading, next))
}

impl Api {
    /// An object of a bucket.
    pub(crate) async fn found(&self, bucket: &str, key: &str) -> S3Result<Found> {
        let found = self.store.get(bucket, key).await.map_err(of_store)?;
        found.ok_or_else(no_such_key)
    }

    /// Stores an object, and with it what others are told.
    pub(crate) async fn store_object(
        &self,
        bucket: &Bucket,
        caller: &S3Caller,
        what: What,
        new: NewObject,
    ) -> S3Result<Object> {
        let told = Change {
            bucket,
            caller,
            what,
            key: &new.key,
            content: Some((new.content.size(), &new.etag)),
        };
        let notices = self.notices(&told)?;
        self.store.put(NewObject { notices, ..new }).await.map_err(of_store)
    }

    pub(crate) async fn store_body(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let caller = S3Caller::of(&req)?;
        let S3Request {
            input: mut given,
            headers,
            trailing_headers,
            ..
        } = req;
        check_key(&given.key)?;
        refuse_foreign!(given);
        let bucket = self
            .owned(&caller, &given.bucket, given.expected_bucket_owner.as_deref())
            .await?;
        let condition = of_write(given.if_match.as_ref(), given.if_none_match.as_ref())?;
        let mut description = description_of!(given);
        description.check()?;
        let taken = take(
            &self.store,
            Given {
                body: given.body.take(),
                length: given.content_length,
                md5: given.content_md5.as_deref(),
                headers: &headers,
                trailers: trailing_headers,
            },
        )
        .await?;
        description.sums = taken.sums;
        let new = NewObject {
            bucket: given.bucket,
            key: given.key,
            content: Content::Fresh(taken.staged),
            etag: taken.etag,
            modified: self.clock.now(),
            document: description.write(),
            condition,
            notices: Vec::new(),
        };
        let stored = self.store_object(&bucket, &caller, What::Put, new).await?;
        let sums = description.sums.shown();
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(etag(&stored.etag)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            ..PutObjectOutput::default()
        }))
    }

    pub(crate) async fn read_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let found = self.found(&input.bucket, &input.key).await?;
        let expected = Expected {
            matches: input.if_match.as_ref(),
            none_matches: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
        };
        expected.check(&found.object)?;
        let about = Description::read(&found.object.document)?;
        let wanted = Wanted::of(&found.object, &about, input.range, input.part_number)?;
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(wanted.length()),
            content_range: wanted.range.clone(),
            e_tag: Some(etag(&found.object.etag)),
            last_modified: Some(moment(found.object.modified)),
            parts_count: wanted.parts,
            ..GetObjectOutput::default()
        };
        about.onto_get(&mut output);
        // Sums are of the whole: with a stretch of it they would mislead.
        if input.checksum_mode.is_some() && wanted.range.is_none() {
            let sums = about.sums.shown();
            output.checksum_crc32 = sums.checksum_crc32;
            output.checksum_crc32c = sums.checksum_crc32c;
            output.checksum_crc64nvme = sums.checksum_crc64nvme;
            output.checksum_sha1 = sums.checksum_sha1;
            output.checksum_sha256 = sums.checksum_sha256;
            output.checksum_type = sums.checksum_type;
        }
        output.body = Some(blob(found.read(wanted.stretch)));
        Ok(S3Response::new(output))
    }

    pub(crate) async fn describe_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let object = self.found(&input.bucket, &input.key).await?.object;
        let expected = Expected {
            matches: input.if_match.as_ref(),
            none_matches: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
        };
        expected.check(&object)?;
        let about = Description::read(&object.document)?;
        let wanted = Wanted::of(&object, &about, input.range, input.part_number)?;
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(wanted.length()),
            content_range: wanted.range.clone(),
            e_tag: Some(etag(&object.etag)),
            last_modified: Some(moment(object.modified)),
            parts_count: wanted.parts,
            ..HeadObjectOutput::default()
        };
        about.onto_head(&mut output);
        if input.checksum_mode.is_some() && wanted.range.is_none() {
            let sums = about.sums.shown();
            output.checksum_crc32 = sums.checksum_crc32;
            output.checksum_crc32c = sums.checksum_crc32c;
            output.checksum_crc64nvme = sums.checksum_crc64nvme;
            output.checksum_sha1 = sums.checksum_sha1;
            output.checksum_sha256 = sums.checksum_sha256;
            output.checksum_type = sums.checksum_type;
        }
        Ok(S3Response::new(output))
    }

    pub(crate) async fn object_attributes(
        &self,
        req: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let object = self.found(&input.bucket, &input.key).await?.object;
        let about = Description::read(&object.document)?;
        // Clients send them as one list in one header.
        let named = input
            .object_attributes
            .iter()
            .flat_map(|found| found.as_str().split(','));
        let named: Vec<&str> = named.map(str::trim).collect();
        let asked = |name: &str| named.contains(&name);
        let parts = asked("ObjectParts") && !about.parts.is_empty();
        let class = about.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned());
        Ok(S3Response::new(GetObjectAttributesOutput {
            checksum: (asked("Checksum") && !about.sums.is_empty()).then(|| about.sums.shown()),
            e_tag: asked("ETag").then(|| etag(&object.etag)),
            last_modified: Some(moment(object.modified)),
            object_parts: parts.then(|| GetObjectAttributesParts {
                total_parts_count: i32::try_from(about.parts.len()).ok(),
                ..GetObjectAttributesParts::default()
            }),
            object_size: asked("ObjectSize").then(|| number(object.size)),
            storage_class: asked("StorageClass").then(|| StorageClass::from(class)),
            ..GetObjectAttributesOutput::default()
        }))
    }

    /// Removes one object; says nothing of whether it was there, as the service does.
    async fn drop_one(&self, bucket: &Bucket, caller: &S3Caller, removal: Removal) -> S3Result<()> {
        check_key(&removal.key)?;
        let told = Change {
            bucket,
            caller,
            what: What::Delete,
            key: &removal.key,
            content: None,
        };
        let notices = self.notices(&told)?;
        let removal = Removal { notices, ..removal };
        self.store.remove(removal).await.map(drop).map_err(of_store)
    }

    pub(crate) async fn drop_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let removal = Removal {
            bucket: input.bucket,
            key: input.key,
            condition: of_write(input.if_match.as_ref(), None)?,
            notices: Vec::new(),
        };
        self.drop_one(&bucket, &caller, removal).await?;
        Ok(S3Response::with_status(
            DeleteObjectOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    pub(crate) async fn drop_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        if input.delete.objects.len() > DELETED_AT_ONCE || input.delete.objects.is_empty() {
            return Err(refuse(
                S3ErrorCode::MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema",
            ));
        }
        let quiet = input.delete.quiet == Some(true);
        let dropping = input.delete.objects.into_iter().map(|wanted| {
            let (bucket, caller) = (&bucket, &caller);
            async move { self.drop_named(bucket, caller, wanted).await }
        });
        let done: Vec<Result<DeletedObject, Failed>> =
            futures_util::stream::iter(dropping).buffered(TOGETHER).collect().await;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for one in done {
            match one {
                Ok(gone) if !quiet => deleted.push(gone),
                Ok(_) => {}
                Err(failed) => errors.push(failed),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            request_charged: None,
        }))
    }

    async fn drop_named(
        &self,
        bucket: &Bucket,
        caller: &S3Caller,
        wanted: ObjectIdentifier,
    ) -> Result<DeletedObject, Failed> {
        let failed = |error: S3Error| Failed {
            code: Some(error.code().as_str().to_owned()),
            key: Some(wanted.key.clone()),
            message: error.message().map(str::to_owned),
            version_id: wanted.version_id.clone(),
        };
        check_version(wanted.version_id.as_deref()).map_err(failed)?;
        let removal = Removal {
            bucket: bucket.name.clone(),
            key: wanted.key.clone(),
            condition: match &wanted.e_tag {
                Some(etag) => sonagi_objects::Condition::Etag(etag.value().to_owned()),
                None => sonagi_objects::Condition::None,
            },
            notices: Vec::new(),
        };
        self.drop_one(bucket, caller, removal).await.map_err(failed)?;
        Ok(DeletedObject {
            key: Some(wanted.key.clone()),
            ..DeletedObject::default()
        })
    }

    // === Tags ===

    pub(crate) async fn object_tags(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let object = self.found(&input.bucket, &input.key).await?.object;
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: tags::shown(&Description::read(&object.document)?.tags),
            version_id: None,
        }))
    }

    async fn tag(&self, bucket: &str, key: &str, tags: std::collections::BTreeMap<String, String>) -> S3Result<()> {
        let alter = move |document: &mut serde_json::Value| {
            let mut description = Description::read(document).unwrap_or_default();
            description.tags = tags;
            *document = description.write();
        };
        self.store.alter(bucket, key, alter).await.map(drop).map_err(of_store)
    }

    pub(crate) async fn tag_object(
        &self,
        req: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let tags = tags::of_set(input.tagging.tag_set, tags::OBJECT_TAGS)?;
        self.tag(&input.bucket, &input.key, tags).await?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    pub(crate) async fn untag_object(
        &self,
        req: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        self.tag(&input.bucket, &input.key, std::collections::BTreeMap::new())
            .await?;
        Ok(S3Response::with_status(
            DeleteObjectTaggingOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    pub(crate) async fn object_grants(
        &self,
        req: S3Request<GetObjectAclInput>,
    ) -> S3Result<S3Response<GetObjectAclOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        self.found(&input.bucket, &input.key).await?;
        Ok(S3Response::new(GetObjectAclOutput {
            grants: Some(vec![everything(&bucket.owner)]),
            owner: Some(owner(&bucket.owner)),
            request_charged: None,
        }))
    }
}
