//! Uploads in parts.
//! Source: "Uploading and copying objects using multipart upload" of the S3 user guide.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part as ShownPart, UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use sonagi_objects::{Content, Error, NewObject, Object, Part, Segment, Upload};
use uuid::Uuid;

use crate::answers::{Writing, etag, moment, number, owner};
use crate::api::Api;
use crate::checks::{Given, composite, hasher, joined_etag, take};
use crate::conditions::of_write;
use crate::describe::{Description, Sums, description_of, refuse_foreign};
use crate::errors::{invalid, no_such_upload, of_store, refuse};
use crate::front::S3Caller;
use crate::notify::{Change, What};
use crate::objects::check_key;

/// Parts of an upload.
const PARTS: u32 = 10_000;
/// Bytes of every part but the last.
const PART_MIN: u64 = 5 << 20;
/// Lines of one page.
const PAGE: i32 = 1000;

/// What is kept about an upload.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Begun {
    description: Description,
    /// `CRC32`, … if its parts have sums.
    algorithm: Option<String>,
    /// Whether its sum is one of all its bytes, and not of its parts' sums.
    whole: bool,
}

impl Begun {
    fn read(upload: &Upload) -> S3Result<Self> {
        serde_json::from_value(upload.document.clone()).map_err(|error| {
            tracing::error!(%error, "what is kept about an upload cannot be read");
            refuse(
                S3ErrorCode::InternalError,
                "What is kept about the upload cannot be read.",
            )
        })
    }
}

/// The number of a part.
pub(crate) fn check_number(number: i32) -> S3Result<u32> {
    let number = u32::try_from(number).ok().filter(|number| (1..=PARTS).contains(number));
    number.ok_or_else(|| {
        invalid(format!(
            "Part number must be an integer between 1 and {PARTS}, inclusive"
        ))
    })
}

fn sums_of(part: &Part) -> Sums {
    serde_json::from_value(part.document.clone()).unwrap_or_default()
}

/// The sum of one algorithm.
fn sum_of<'a>(sums: &'a Sums, algorithm: &str) -> Option<&'a str> {
    let found = match algorithm {
        "CRC32" => &sums.crc32,
        "CRC32C" => &sums.crc32c,
        "CRC64NVME" => &sums.crc64nvme,
        "SHA1" => &sums.sha1,
        "SHA256" => &sums.sha256,
        _ => return None,
    };
    found.as_deref()
}

fn set_sum(sums: &mut Sums, algorithm: &str, sum: String) {
    let place = match algorithm {
        "CRC32" => &mut sums.crc32,
        "CRC32C" => &mut sums.crc32c,
        "CRC64NVME" => &mut sums.crc64nvme,
        "SHA1" => &mut sums.sha1,
        "SHA256" => &mut sums.sha256,
        _ => return,
    };
    *place = Some(sum);
}

/// The parts that a client names, checked against those that are there.
fn chosen(named: &[CompletedPart], there: &[Part]) -> S3Result<Vec<Part>> {
    let invalid_part = || {
        refuse(
            S3ErrorCode::InvalidPart,
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag.",
        )
    };
    let mut chosen: Vec<Part> = Vec::with_capacity(named.len());
    for wanted in named {
        let number = check_number(wanted.part_number.unwrap_or(0))?;
        if chosen.last().is_some_and(|last| last.number >= number) {
            return Err(refuse(
                S3ErrorCode::InvalidPartOrder,
                "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
            ));
        }
        let found = there
            .iter()
            .find(|part| part.number == number)
            .ok_or_else(invalid_part)?;
        if wanted.e_tag.as_ref().is_none_or(|tag| tag.value() != found.etag) {
            return Err(invalid_part());
        }
        chosen.push(found.clone());
    }
    let Some((_, all_but_last)) = chosen.split_last() else {
        return Err(refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    };
    if all_but_last.iter().any(|part| part.size < PART_MIN) {
        return Err(refuse(
            S3ErrorCode::EntityTooSmall,
            format!(
                "Your proposed upload is smaller than the minimum allowed size: {PART_MIN} bytes for every part but the last."
            ),
        ));
    }
    Ok(chosen)
}

impl Api {
    /// The upload of a request.
    pub(crate) async fn upload_of(&self, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
        let found = self.store.upload(id).await.map_err(of_store)?;
        if found.bucket != bucket || found.key != key {
            return Err(no_such_upload());
        }
        Ok(found)
    }

    pub(crate) async fn begin_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_key(&input.key)?;
        refuse_foreign!(input);
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let algorithm = input.checksum_algorithm.as_ref().map(|name| name.as_str().to_owned());
        let asked = input.checksum_type.as_ref().map(ChecksumType::as_str);
        let whole = match asked {
            Some(asked) => asked == ChecksumType::FULL_OBJECT,
            None => algorithm.as_deref() == Some(ChecksumAlgorithm::CRC64NVME),
        };
        let begun = Begun {
            description: description_of!(input),
            algorithm,
            whole,
        };
        begun.description.check()?;
        let upload = Upload {
            id: Uuid::new_v4().simple().to_string(),
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            initiated: self.clock.now(),
            document: serde_json::to_value(&begun).unwrap_or_default(),
        };
        let id = upload.id.clone();
        self.store.begin_upload(upload).await.map_err(|error| {
            if let Error::Bound { what, limit } = error {
                let text = format!("There may be {limit} {what}: abort or complete some.");
                return refuse(S3ErrorCode::SlowDown, text);
            }
            of_store(error)
        })?;
        let kind = if begun.whole {
            ChecksumType::FULL_OBJECT
        } else {
            ChecksumType::COMPOSITE
        };
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_type: begun.algorithm.as_ref().map(|_| ChecksumType::from_static(kind)),
            checksum_algorithm: input.checksum_algorithm,
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(crate) async fn store_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let caller = S3Caller::of(&req)?;
        let S3Request {
            mut input,
            headers,
            trailing_headers,
            ..
        } = req;
        let number = check_number(input.part_number)?;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        self.upload_of(&input.bucket, &input.key, &input.upload_id).await?;
        let taken = take(
            &self.store,
            Given {
                body: input.body.take(),
                length: input.content_length,
                md5: input.content_md5.as_deref(),
                headers: &headers,
                trailers: trailing_headers,
            },
        )
        .await?;
        let part = Part {
            number,
            size: taken.staged.size(),
            etag: taken.etag.clone(),
            modified: self.clock.now(),
            segments: Vec::new(),
            document: serde_json::to_value(&taken.sums).unwrap_or_default(),
        };
        let content = Content::Fresh(taken.staged);
        self.store
            .put_part(&input.upload_id, part, content)
            .await
            .map_err(of_store)?;
        let sums = taken.sums.shown();
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(etag(&taken.etag)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..UploadPartOutput::default()
        }))
    }

    pub(crate) async fn complete(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let upload = self.upload_of(&input.bucket, &input.key, &input.upload_id).await?;
        let begun = Begun::read(&upload)?;
        let there = self.store.parts(&upload.id, 0, PARTS).await.map_err(of_store)?;
        let named = input.multipart_upload.and_then(|found| found.parts).unwrap_or_default();
        let parts = chosen(&named, &there)?;
        let tag = joined_etag(parts.iter().map(|part| part.etag.as_str()));
        let segments: Vec<Segment> = parts.iter().flat_map(|part| part.segments.clone()).collect();
        let mut description = begun.description.clone();
        description.parts = parts.iter().map(|part| part.size).collect();
        description.sums = self.sum(&begun, &parts, &segments).await?;
        let content = Content::Shared(segments);
        let size = content.size();
        if input.mpu_object_size.is_some_and(|said| said != number(size)) {
            return Err(refuse(
                S3ErrorCode::InvalidRequest,
                "The provided 'x-amz-mp-object-size' header does not match what was computed.",
            ));
        }
        let notices = self.notices(&Change {
            bucket: &bucket,
            caller: &caller,
            what: What::Complete,
            key: &input.key,
            content: Some((size, &tag)),
        })?;
        let new = NewObject {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            content,
            etag: tag,
            modified: self.clock.now(),
            document: description.write(),
            condition: of_write(input.if_match.as_ref(), input.if_none_match.as_ref())?,
            notices,
        };
        let stored = self.store.complete(&upload.id, new).await.map_err(of_store)?;
        Ok(S3Response::new(completed(&input.bucket, &stored, &description.sums)))
    }

    /// The checksum of a whole upload.
    async fn sum(&self, begun: &Begun, parts: &[Part], segments: &[Segment]) -> S3Result<Sums> {
        let mut sums = Sums::default();
        let Some(algorithm) = begun.algorithm.as_deref() else {
            return Ok(sums);
        };
        if begun.whole {
            let mut hasher = hasher(std::iter::once(algorithm));
            let mut reading = self.store.read_segments(segments);
            while let Some(bytes) = reading.next().await.map_err(of_store)? {
                hasher.update(&bytes);
            }
            return Ok(Sums::of(hasher.finalize()));
        }
        let each: Vec<Sums> = parts.iter().map(sums_of).collect();
        let each: Option<Vec<&str>> = each.iter().map(|sums| sum_of(sums, algorithm)).collect();
        // Parts that were copied have none; neither has the whole then.
        if let Some(each) = each {
            set_sum(&mut sums, algorithm, composite(algorithm, &each)?);
            sums.composite = true;
        }
        Ok(sums)
    }

    pub(crate) async fn abort(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let upload = self.upload_of(&input.bucket, &input.key, &input.upload_id).await?;
        self.store.abort(&upload.id).await.map_err(of_store)?;
        Ok(S3Response::with_status(
            AbortMultipartUploadOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    pub(crate) async fn all_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let limit = input.max_uploads.unwrap_or(PAGE).clamp(1, PAGE);
        let key = input.key_marker.clone().unwrap_or_default();
        // Without an id, everything under the marker's own key has been shown.
        let id = input
            .upload_id_marker
            .clone()
            .unwrap_or_else(|| "\u{10ffff}".to_owned());
        let after = (key.as_str(), if key.is_empty() { "" } else { &id });
        let prefix = input.prefix.clone().unwrap_or_default();
        // All uploads of a bucket are few enough to look through.
        let found = self
            .store
            .uploads(&input.bucket, after, u32::MAX)
            .await
            .map_err(of_store)?;
        let mut found: Vec<Upload> = found
            .into_iter()
            .filter(|upload| upload.key.starts_with(&prefix))
            .collect();
        let more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let writing = Writing::of(input.encoding_type.as_ref());
        let next = found.last().filter(|_| more);
        let shown = |upload: &Upload| MultipartUpload {
            initiated: Some(moment(upload.initiated)),
            key: Some(writing.write(&upload.key)),
            owner: Some(owner(&bucket.owner)),
            storage_class: Some(s3s::dto::StorageClass::from_static(s3s::dto::StorageClass::STANDARD)),
            upload_id: Some(upload.id.clone()),
            ..MultipartUpload::default()
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            next_key_marker: next.map(|upload| writing.write(&upload.key)),
            next_upload_id_marker: next.map(|upload| upload.id.clone()),
            uploads: Some(found.iter().map(shown).collect()),
            bucket: Some(input.bucket),
            is_truncated: Some(more),
            key_marker: input.key_marker,
            max_uploads: Some(limit),
            prefix: input.prefix,
            upload_id_marker: input.upload_id_marker,
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }

    pub(crate) async fn all_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let upload = self.upload_of(&input.bucket, &input.key, &input.upload_id).await?;
        let limit = u32::try_from(input.max_parts.unwrap_or(PAGE).clamp(1, PAGE)).unwrap_or(1);
        let after = u32::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(0);
        let mut parts = self.store.parts(&upload.id, after, limit + 1).await.map_err(of_store)?;
        let more = parts.len() > limit as usize;
        parts.truncate(limit as usize);
        let plain = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let shown = |part: &Part| {
            let sums = sums_of(part).shown();
            ShownPart {
                e_tag: Some(etag(&part.etag)),
                last_modified: Some(moment(part.modified)),
                part_number: Some(plain(part.number)),
                size: Some(number(part.size)),
                checksum_crc32: sums.checksum_crc32,
                checksum_crc32c: sums.checksum_crc32c,
                checksum_crc64nvme: sums.checksum_crc64nvme,
                checksum_sha1: sums.checksum_sha1,
                checksum_sha256: sums.checksum_sha256,
            }
        };
        Ok(S3Response::new(ListPartsOutput {
            next_part_number_marker: parts.last().filter(|_| more).map(|part| plain(part.number)),
            parts: Some(parts.iter().map(shown).collect()),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(more),
            max_parts: Some(plain(limit)),
            part_number_marker: Some(plain(after)),
            owner: Some(owner(&bucket.owner)),
            storage_class: Some(s3s::dto::StorageClass::from_static(s3s::dto::StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        }))
    }
}

fn completed(bucket: &str, stored: &Object, sums: &Sums) -> CompleteMultipartUploadOutput {
    let sums = sums.shown();
    CompleteMultipartUploadOutput {
        bucket: Some(bucket.to_owned()),
        key: Some(stored.key.clone()),
        location: Some(format!("/{bucket}/{}", stored.key)),
        e_tag: Some(etag(&stored.etag)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        ..CompleteMultipartUploadOutput::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, size: u64) -> Part {
        Part {
            number,
            size,
            etag: format!("tag{number}"),
            modified: sonagi_model::Timestamp::from_micros(0),
            segments: Vec::new(),
            document: serde_json::json!({}),
        }
    }

    #[test]
    fn parts_are_chosen_in_order_by_tag_and_large_enough() {
        let there = [part(1, PART_MIN), part(3, PART_MIN), part(5, 1)];
        let named = |number: i32, tag: &str| CompletedPart {
            part_number: Some(number),
            e_tag: Some(etag(tag)),
            ..CompletedPart::default()
        };
        let code = |named: &[CompletedPart]| chosen(named, &there).map_err(|error| error.code().as_str().to_owned());
        assert_eq!(code(&[named(1, "tag1"), named(5, "tag5")]).unwrap().len(), 2);
        assert_eq!(
            code(&[named(5, "tag5"), named(1, "tag1")]).unwrap_err(),
            "InvalidPartOrder"
        );
        assert_eq!(code(&[named(2, "tag2")]).unwrap_err(), "InvalidPart");
        assert_eq!(code(&[named(1, "other")]).unwrap_err(), "InvalidPart");
        assert_eq!(code(&[]).unwrap_err(), "MalformedXML");
        let there = [part(1, 1), part(2, 1)];
        let small = chosen(&[named(1, "tag1"), named(2, "tag2")], &there).unwrap_err();
        assert_eq!(small.code().as_str(), "EntityTooSmall");
        for number in [0, -1, 10_001] {
            assert!(check_number(number).is_err());
        }
    }
}
