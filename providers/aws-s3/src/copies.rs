//! Copies: of objects, and of stretches of objects as parts of an upload. No byte is moved.

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, Range, UploadPartCopyInput,
    UploadPartCopyOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use serde_json::json;
use sonagi_objects::{Condition, Content, Found, NewObject, Part};

use crate::answers::{etag, moment};
use crate::api::Api;
use crate::checks::{BODY_MAX, md5_of};
use crate::conditions::Expected;
use crate::describe::{Description, description_of, refuse_foreign};
use crate::errors::{invalid, not_offered, of_store, refuse};
use crate::front::S3Caller;
use crate::notify::What;
use crate::objects::{check_key, check_version};
use crate::uploads::check_number;

impl Api {
    /// The source of a copy, which must belong to the caller too.
    async fn source(
        &self,
        caller: &S3Caller,
        source: &CopySource,
        expected: Expected<'_>,
        owner: Option<&str>,
    ) -> S3Result<Found> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id,
        } = source
        else {
            return Err(not_offered("Access points and outposts are"));
        };
        check_version(version_id.as_deref())?;
        self.owned(caller, bucket, owner).await?;
        let found = self.found(bucket, key).await?;
        expected.check_source(&found.object)?;
        if found.object.size > BODY_MAX {
            return Err(invalid(format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {BODY_MAX}"
            )));
        }
        Ok(found)
    }

    pub(crate) async fn copy(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        check_key(&input.key)?;
        refuse_foreign!(input);
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let expected = Expected {
            matches: input.copy_source_if_match.as_ref(),
            none_matches: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        let owner = input.expected_source_bucket_owner.as_deref();
        let found = self.source(&caller, &input.copy_source, expected, owner).await?;
        let replaces = |directive: Option<&str>| directive == Some("REPLACE");
        let new_metadata = replaces(
            input
                .metadata_directive
                .as_ref()
                .map(s3s::dto::MetadataDirective::as_str),
        );
        let new_tags = replaces(input.tagging_directive.as_ref().map(s3s::dto::TaggingDirective::as_str));
        if is_itself(&input) && !new_metadata && input.storage_class.is_none() {
            return Err(refuse(
                S3ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let kept = Description::read(&found.object.document)?;
        let given: Description = description_of!(input);
        let mut description = if new_metadata { given.clone() } else { kept.clone() };
        description.tags = if new_tags { given.tags } else { kept.tags };
        description.storage_class = given.storage_class;
        (description.sums, description.parts) = (kept.sums, kept.parts);
        description.check()?;
        let new = NewObject {
            bucket: input.bucket,
            key: input.key,
            content: Content::Shared(found.share(0..found.object.size)),
            etag: found.object.etag.clone(),
            modified: self.clock.now(),
            document: description.write(),
            condition: Condition::None,
            notices: Vec::new(),
        };
        let stored = self.store_object(&bucket, &caller, What::Copy, new).await?;
        let sums = description.sums.shown();
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(etag(&stored.etag)),
                last_modified: Some(moment(stored.modified)),
                checksum_crc32: sums.checksum_crc32,
                checksum_crc32c: sums.checksum_crc32c,
                checksum_crc64nvme: sums.checksum_crc64nvme,
                checksum_sha1: sums.checksum_sha1,
                checksum_sha256: sums.checksum_sha256,
                checksum_type: sums.checksum_type,
            }),
            ..CopyObjectOutput::default()
        }))
    }

    pub(crate) async fn copy_part(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let number = check_number(input.part_number)?;
        self.owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        self.upload_of(&input.bucket, &input.key, &input.upload_id).await?;
        let expected = Expected {
            matches: input.copy_source_if_match.as_ref(),
            none_matches: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        let owner = input.expected_source_bucket_owner.as_deref();
        let found = self.source(&caller, &input.copy_source, expected, owner).await?;
        let size = found.object.size;
        let stretch = match input.copy_source_range.as_deref() {
            None => 0..size,
            Some(text) => {
                let range = Range::parse(text).ok().and_then(|range| range.check(size).ok());
                range.ok_or_else(|| {
                    refuse(
                        S3ErrorCode::InvalidRange,
                        format!("The x-amz-copy-source-range value {text} is not within the source of {size} bytes"),
                    )
                })?
            }
        };
        let content = Content::Shared(found.share(stretch.clone()));
        let tag = if stretch == (0..size) && !found.object.etag.contains('-') {
            found.object.etag.clone()
        } else {
            // No byte is moved, but the tag is that of these bytes.
            md5_of(found.read(stretch)).await.map_err(of_store)?
        };
        let modified = self.clock.now();
        let part = Part {
            number,
            size: content.size(),
            etag: tag.clone(),
            modified,
            segments: Vec::new(),
            document: json!({}),
        };
        self.store
            .put_part(&input.upload_id, part, content)
            .await
            .map_err(of_store)?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(etag(&tag)),
                last_modified: Some(moment(modified)),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        }))
    }
}

fn is_itself(input: &CopyObjectInput) -> bool {
    match &input.copy_source {
        CopySource::Bucket { bucket, key, .. } => **bucket == *input.bucket && **key == *input.key,
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => false,
    }
}
