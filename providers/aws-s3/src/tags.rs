//! Tags of objects and buckets.
//! Source: "Categorizing your storage using tags" of the S3 user guide.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use s3s::dto::Tag;
use s3s::{S3ErrorCode, S3Result};

use crate::errors::{invalid, refuse};

/// Tags of one object.
pub(crate) const OBJECT_TAGS: usize = 10;
/// Tags of one bucket.
pub(crate) const BUCKET_TAGS: usize = 50;
/// Characters of a tag's key, and of its value.
const LONGEST: (usize, usize) = (128, 256);

fn check(tags: &BTreeMap<String, String>, limit: usize) -> S3Result<()> {
    if tags.len() > limit {
        return Err(refuse(
            S3ErrorCode::Custom("BadRequest".into()),
            format!("Object tags cannot be greater than {limit}"),
        ));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > LONGEST.0 {
            return Err(refuse(
                S3ErrorCode::InvalidTag,
                "The TagKey you have provided is invalid",
            ));
        }
        if value.chars().count() > LONGEST.1 {
            return Err(refuse(
                S3ErrorCode::InvalidTag,
                "The TagValue you have provided is invalid",
            ));
        }
    }
    Ok(())
}

/// The tags of a document.
///
/// # Errors
/// `InvalidTag`.
pub(crate) fn of_set(set: Vec<Tag>, limit: usize) -> S3Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for tag in set {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        if tags.insert(key, value).is_some() {
            return Err(refuse(
                S3ErrorCode::InvalidTag,
                "Cannot provide multiple Tags with the same key",
            ));
        }
    }
    check(&tags, limit)?;
    Ok(tags)
}

/// The tags of `x-amz-tagging`, which is a query string.
///
/// # Errors
/// `InvalidArgument`, `InvalidTag`.
pub(crate) fn of_header(header: Option<&str>) -> S3Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for pair in header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            let decoded = percent_decode_str(&text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| invalid("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."))
        };
        if tags.insert(decode(key)?, decode(value)?).is_some() {
            return Err(invalid(
                "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
            ));
        }
    }
    check(&tags, OBJECT_TAGS)?;
    Ok(tags)
}

/// Tags as a document has them.
pub(crate) fn shown(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_header_are_read_and_bounded() {
        let read = of_header(Some("a=1&b%20c=x%2By&d=e+f")).unwrap();
        let shown: Vec<_> = read.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        assert_eq!(shown, ["a:1", "b c:x+y", "d:e f"]);
        assert!(of_header(None).unwrap().is_empty());
        assert!(of_header(Some("a=1&a=2")).is_err() && of_header(Some("=1")).is_err());
        let many: Vec<String> = (0..11).map(|number| format!("k{number}=v")).collect();
        assert!(of_header(Some(&many.join("&"))).is_err());
    }
}
