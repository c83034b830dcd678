//! Listings of objects, in the three forms that clients ask for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, Object as Shown, ObjectStorageClass, ObjectVersion,
    ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};
use sonagi_objects::{Entry, ListQuery, Page, Summary};

use crate::answers::{Writing, etag, moment, number, owner};
use crate::api::Api;
use crate::errors::{invalid, of_store};
use crate::front::S3Caller;

/// Lines of one page. Source: "ListObjectsV2".
const PAGE: i32 = 1000;

/// What the three forms have in common.
struct Asked {
    query: ListQuery,
    writing: Writing,
    limit: i32,
}

impl Asked {
    fn of(
        prefix: Option<&str>,
        delimiter: Option<&str>,
        after: &str,
        limit: Option<i32>,
        encoding: Option<&EncodingType>,
    ) -> S3Result<Self> {
        let limit = limit.unwrap_or(PAGE);
        if limit < 0 {
            return Err(invalid("Argument maxKeys must be an integer between 0 and 2147483647"));
        }
        let limit = limit.min(PAGE);
        let query = ListQuery {
            prefix: prefix.unwrap_or_default().to_owned(),
            delimiter: delimiter.unwrap_or_default().to_owned(),
            after: after.to_owned(),
            limit: usize::try_from(limit).unwrap_or(0),
        };
        Ok(Self {
            query,
            writing: Writing::of(encoding),
            limit,
        })
    }

    fn written(&self, text: Option<String>) -> Option<String> {
        text.map(|text| self.writing.write(&text))
    }
}

/// A page with its objects and common beginnings apart, and where the next one begins.
struct Parts {
    objects: Vec<Summary>,
    common: Vec<CommonPrefix>,
    next: Option<String>,
    count: i32,
    more: bool,
}

fn apart(page: Page, asked: &Asked) -> Parts {
    let last = page.entries.last().map(|entry| entry.name().to_owned());
    let mut parts = Parts {
        objects: Vec::new(),
        common: Vec::new(),
        next: last.filter(|_| page.more),
        count: i32::try_from(page.entries.len()).unwrap_or(i32::MAX),
        // A page of no lines has no place to go on from.
        more: page.more && asked.limit > 0,
    };
    for entry in page.entries {
        match entry {
            Entry::Object(summary) => parts.objects.push(summary),
            Entry::Common(beginning) => parts.common.push(CommonPrefix {
                prefix: Some(asked.writing.write(&beginning)),
            }),
        }
    }
    parts
}

fn line(summary: &Summary, asked: &Asked, account: Option<&str>) -> Shown {
    Shown {
        e_tag: Some(etag(&summary.etag)),
        key: Some(asked.writing.write(&summary.key)),
        last_modified: Some(moment(summary.modified)),
        owner: account.map(owner),
        size: Some(number(summary.size)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Shown::default()
    }
}

impl Api {
    async fn page(&self, bucket: &str, asked: &Asked) -> S3Result<Parts> {
        let page = self.store.list(bucket, asked.query.clone()).await.map_err(of_store)?;
        Ok(apart(page, asked))
    }

    pub(crate) async fn list_one(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let asked = Asked::of(
            input.prefix.as_deref(),
            input.delimiter.as_deref(),
            input.marker.as_deref().unwrap_or_default(),
            input.max_keys,
            input.encoding_type.as_ref(),
        )?;
        let parts = self.page(&input.bucket, &asked).await?;
        let contents = parts
            .objects
            .iter()
            .map(|found| line(found, &asked, Some(&bucket.owner)));
        let contents = contents.collect();
        Ok(S3Response::new(ListObjectsOutput {
            contents: Some(contents),
            common_prefixes: Some(parts.common),
            is_truncated: Some(parts.more),
            // The service names it only with a delimiter; clients take the last key otherwise.
            next_marker: asked.written(parts.next.filter(|_| parts.more)),
            max_keys: Some(asked.limit),
            name: Some(input.bucket),
            prefix: asked.written(Some(input.prefix.unwrap_or_default())),
            marker: asked.written(Some(input.marker.unwrap_or_default())),
            delimiter: asked.written(input.delimiter),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    pub(crate) async fn list_two(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let after = match &input.continuation_token {
            Some(token) => {
                let decoded = STANDARD
                    .decode(token)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok());
                decoded.ok_or_else(|| invalid("The continuation token provided is incorrect"))?
            }
            None => input.start_after.clone().unwrap_or_default(),
        };
        let asked = Asked::of(
            input.prefix.as_deref(),
            input.delimiter.as_deref(),
            &after,
            input.max_keys,
            input.encoding_type.as_ref(),
        )?;
        let parts = self.page(&input.bucket, &asked).await?;
        let account = (input.fetch_owner == Some(true)).then_some(bucket.owner.as_str());
        let contents = parts.objects.iter().map(|found| line(found, &asked, account)).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            contents: Some(contents),
            common_prefixes: Some(parts.common),
            is_truncated: Some(parts.more),
            next_continuation_token: parts.next.filter(|_| parts.more).map(|next| STANDARD.encode(next)),
            key_count: Some(parts.count),
            max_keys: Some(asked.limit),
            name: Some(input.bucket),
            prefix: asked.written(Some(input.prefix.unwrap_or_default())),
            continuation_token: input.continuation_token,
            start_after: asked.written(input.start_after),
            delimiter: asked.written(input.delimiter),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    /// Every object is its own latest version, which is called `null`.
    pub(crate) async fn list_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let asked = Asked::of(
            input.prefix.as_deref(),
            input.delimiter.as_deref(),
            input.key_marker.as_deref().unwrap_or_default(),
            input.max_keys,
            input.encoding_type.as_ref(),
        )?;
        let parts = self.page(&input.bucket, &asked).await?;
        let version = |summary: &Summary| ObjectVersion {
            e_tag: Some(etag(&summary.etag)),
            is_latest: Some(true),
            key: Some(asked.writing.write(&summary.key)),
            last_modified: Some(moment(summary.modified)),
            owner: Some(owner(&bucket.owner)),
            size: Some(number(summary.size)),
            storage_class: Some(ObjectVersionStorageClass::from_static(
                ObjectVersionStorageClass::STANDARD,
            )),
            version_id: Some("null".to_owned()),
            ..ObjectVersion::default()
        };
        let versions = parts.objects.iter().map(version).collect();
        let next = parts.next.filter(|_| parts.more);
        Ok(S3Response::new(ListObjectVersionsOutput {
            versions: Some(versions),
            common_prefixes: Some(parts.common),
            is_truncated: Some(parts.more),
            next_version_id_marker: next.as_ref().map(|_| "null".to_owned()),
            next_key_marker: asked.written(next),
            max_keys: Some(asked.limit),
            name: Some(input.bucket),
            prefix: asked.written(Some(input.prefix.unwrap_or_default())),
            key_marker: asked.written(Some(input.key_marker.unwrap_or_default())),
            version_id_marker: input.version_id_marker,
            delimiter: asked.written(input.delimiter),
            encoding_type: input.encoding_type,
            delete_markers: None,
            request_charged: None,
        }))
    }
}
