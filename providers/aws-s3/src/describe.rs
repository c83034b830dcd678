//! What is kept about an object beside its bytes.

use std::collections::BTreeMap;

use s3s::dto::{Checksum, ChecksumType, GetObjectOutput, HeadObjectOutput, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::errors::refuse;

/// Bytes of all names and values of a user's metadata. Source: "Working with object metadata".
const METADATA_MAX: usize = 2 * 1024;

/// The form in which descriptions are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Description {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    /// As an HTTP date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redirect: Option<String>,
    /// Kept and shown; where bytes are does not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Sums::is_empty")]
    pub(crate) sums: Sums,
    /// Bytes of each part, if it came in parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<u64>,
}

/// Checksums beside the `ETag`, as clients wrote them (base64; of a joined upload with `-` and the number of parts).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sums {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc64nvme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// Whether they are sums of sums of parts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) composite: bool,
}

impl Sums {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn of(sum: Checksum) -> Self {
        Self {
            crc32: sum.checksum_crc32,
            crc32c: sum.checksum_crc32c,
            crc64nvme: sum.checksum_crc64nvme,
            sha1: sum.checksum_sha1,
            sha256: sum.checksum_sha256,
            composite: false,
        }
    }

    pub(crate) fn kind(&self) -> Option<ChecksumType> {
        let kind = if self.composite {
            ChecksumType::COMPOSITE
        } else {
            ChecksumType::FULL_OBJECT
        };
        (!self.is_empty()).then(|| ChecksumType::from_static(kind))
    }

    pub(crate) fn shown(&self) -> Checksum {
        Checksum {
            checksum_crc32: self.crc32.clone(),
            checksum_crc32c: self.crc32c.clone(),
            checksum_crc64nvme: self.crc64nvme.clone(),
            checksum_sha1: self.sha1.clone(),
            checksum_sha256: self.sha256.clone(),
            checksum_type: self.kind(),
        }
    }
}

impl Description {
    /// Reads what is kept.
    pub(crate) fn read(document: &Value) -> S3Result<Self> {
        serde_json::from_value(document.clone()).map_err(|error| {
            tracing::error!(%error, "what is kept about an object cannot be read");
            refuse(
                S3ErrorCode::InternalError,
                "What is kept about the object cannot be read.",
            )
        })
    }

    pub(crate) fn write(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Checks the bounds of metadata.
    pub(crate) fn check(&self) -> S3Result<()> {
        let bytes: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > METADATA_MAX {
            return Err(refuse(
                S3ErrorCode::MetadataTooLarge,
                format!(
                    "Your metadata headers exceed the maximum allowed metadata size: {bytes} bytes of {METADATA_MAX}."
                ),
            ));
        }
        Ok(())
    }

    fn tag_count(&self) -> Option<i32> {
        (!self.tags.is_empty()).then(|| i32::try_from(self.tags.len()).unwrap_or(i32::MAX))
    }

    fn shown_type(&self) -> Option<String> {
        let kept = self.content_type.clone();
        kept.or_else(|| Some("binary/octet-stream".to_owned()))
    }

    /// Everything of it that an answer to `GetObject` has.
    pub(crate) fn onto_get(&self, output: &mut GetObjectOutput) {
        output.content_type = self.shown_type();
        output.cache_control.clone_from(&self.cache_control);
        output.content_disposition.clone_from(&self.content_disposition);
        output.content_encoding.clone_from(&self.content_encoding);
        output.content_language.clone_from(&self.content_language);
        output.expires = self.expires.as_deref().and_then(http_date);
        output.website_redirect_location.clone_from(&self.redirect);
        output.storage_class = self.storage_class.clone().map(Into::into);
        output.metadata = Some(self.metadata.clone().into_iter().collect());
        output.tag_count = self.tag_count();
    }

    /// Everything of it that an answer to `HeadObject` has.
    pub(crate) fn onto_head(&self, output: &mut HeadObjectOutput) {
        output.content_type = self.shown_type();
        output.cache_control.clone_from(&self.cache_control);
        output.content_disposition.clone_from(&self.content_disposition);
        output.content_encoding.clone_from(&self.content_encoding);
        output.content_language.clone_from(&self.content_language);
        output.expires = self.expires.as_deref().and_then(http_date);
        output.website_redirect_location.clone_from(&self.redirect);
        output.storage_class = self.storage_class.clone().map(Into::into);
        output.metadata = Some(self.metadata.clone().into_iter().collect());
    }
}

/// A moment as an HTTP date.
pub(crate) fn as_http_date(moment: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    moment.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

fn http_date(text: &str) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, text).ok()
}

/// Fills the fields that `PutObject`, `CopyObject` and `CreateMultipartUpload` have in common.
macro_rules! description_of {
    ($input:expr) => {
        $crate::describe::Description {
            content_type: $input.content_type.clone(),
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $crate::describe::without_chunking($input.content_encoding.as_deref()),
            content_language: $input.content_language.clone(),
            expires: $input.expires.as_ref().and_then($crate::describe::as_http_date),
            redirect: $input.website_redirect_location.clone(),
            storage_class: $crate::describe::storage_class($input.storage_class.as_ref())?,
            metadata: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
            tags: $crate::tags::of_header($input.tagging.as_deref())?,
            ..Default::default()
        }
    };
}

/// Refuses what would promise encryption or access that is not there.
macro_rules! refuse_foreign {
    ($input:expr) => {
        if $input.sse_customer_algorithm.is_some() || $input.ssekms_key_id.is_some() {
            return Err($crate::errors::not_offered(
                "Encryption with keys of customers or of KMS is",
            ));
        }
        if $input
            .server_side_encryption
            .as_ref()
            .is_some_and(|kind| kind.as_str() != s3s::dto::ServerSideEncryption::AES256)
        {
            return Err($crate::errors::not_offered("Encryption with keys of KMS is"));
        }
        if $input
            .acl
            .as_ref()
            .is_some_and(|acl| !matches!(acl.as_str(), "private" | "bucket-owner-full-control"))
        {
            return Err($crate::errors::refuse(
                s3s::S3ErrorCode::AccessControlListNotSupported,
                "The bucket does not allow ACLs",
            ));
        }
    };
}

pub(crate) use {description_of, refuse_foreign};

/// The encoding that stays: chunks are of the request alone.
pub(crate) fn without_chunking(encoding: Option<&str>) -> Option<String> {
    let kept: Vec<&str> = encoding?
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty() && *part != "aws-chunked")
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// A storage class that is kept and shown.
pub(crate) fn storage_class(given: Option<&s3s::dto::StorageClass>) -> S3Result<Option<String>> {
    let known = [
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
    ];
    match given.map(s3s::dto::StorageClass::as_str) {
        None | Some("STANDARD") => Ok(None),
        Some(class) if known.contains(&class) => Ok(Some(class.to_owned())),
        Some(class) => Err(refuse(
            S3ErrorCode::InvalidStorageClass,
            format!("The storage class {class} is not offered: objects can always be read at once."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_is_small_when_there_is_little() {
        assert_eq!(Description::default().write().to_string(), "{}");
        let description = Description {
            content_type: Some("text/plain".to_owned()),
            tags: [("a".to_owned(), "b".to_owned())].into(),
            parts: vec![5, 6],
            ..Description::default()
        };
        assert_eq!(Description::read(&description.write()).unwrap(), description);
    }

    #[test]
    fn the_encoding_of_a_request_does_not_stay() {
        let cases = [
            ("aws-chunked", None),
            ("gzip,aws-chunked", Some("gzip")),
            ("gzip, br", Some("gzip,br")),
            ("", None),
        ];
        for (given, kept) in cases {
            assert_eq!(without_chunking(Some(given)).as_deref(), kept, "{given:?}");
        }
    }
}
