//! Taking a body: written down, hashed for its `ETag`, and compared with every checksum that came with it, in front of
//! it or behind it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use http::HeaderMap;
use md5::{Digest as _, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3ErrorCode, S3Result, TrailingHeaders};
use sonagi_objects::{Error, ObjectStore, Reading, Staged};

use crate::describe::Sums;
use crate::errors::{invalid, of_store, refuse};

/// Bytes of one `PutObject` or part. Source: "Amazon S3 multipart upload limits".
pub(crate) const BODY_MAX: u64 = 5 << 30;

/// The names of checksum headers.
const HEADERS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

/// A body that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) staged: Staged,
    pub(crate) etag: String,
    pub(crate) sums: Sums,
}

/// What came with a body.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) body: Option<StreamingBlob>,
    pub(crate) length: Option<i64>,
    pub(crate) md5: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// A hasher for the algorithms of these names (`crc32`, …).
pub(crate) fn hasher<'a>(names: impl Iterator<Item = &'a str>) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    for name in names {
        match name.to_ascii_lowercase().as_str() {
            "crc32" => hasher.crc32 = Some(Crc32::new()),
            "crc32c" => hasher.crc32c = Some(Crc32c::new()),
            "crc64nvme" => hasher.crc64nvme = Some(Crc64Nvme::new()),
            "sha1" => hasher.sha1 = Some(Sha1::new()),
            "sha256" => hasher.sha256 = Some(Sha256::new()),
            _ => {}
        }
    }
    hasher
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The algorithms that a request asks for or sends sums of.
fn wanted(headers: &HeaderMap) -> Vec<&str> {
    let sent = HEADERS.iter().filter(|name| headers.contains_key(**name)).copied();
    let announced = text(headers, "x-amz-trailer")
        .unwrap_or_default()
        .split(',')
        .map(str::trim);
    let asked = ["x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm"];
    let asked = asked.into_iter().filter_map(|name| text(headers, name));
    sent.chain(announced)
        .map(|name| name.strip_prefix("x-amz-checksum-").unwrap_or_default())
        .chain(asked)
        .collect()
}

/// Reads a body to its end and stores it; nothing names it yet.
///
/// # Errors
/// `BadDigest` and `XAmzContentChecksumMismatch` for bytes that are not those that were announced, `EntityTooLarge`,
/// `IncompleteBody`, and whatever the store says.
pub(crate) async fn take(store: &ObjectStore, given: Given<'_>) -> S3Result<Taken> {
    let declared = given.length.and_then(|length| u64::try_from(length).ok());
    if declared.is_some_and(|length| length > BODY_MAX) {
        return Err(too_large());
    }
    let mut staging = store.stage().await.map_err(of_store)?;
    let (mut md5, mut sums) = (Md5::new(), hasher(wanted(given.headers).into_iter()));
    if let Some(mut body) = given.body {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| broken(error.as_ref()))?;
            if staging.size().saturating_add(chunk.len() as u64) > BODY_MAX {
                return Err(too_large());
            }
            md5.update(&chunk);
            sums.update(&chunk);
            staging.write(&chunk).await.map_err(of_store)?;
        }
    }
    if declared.is_some_and(|declared| declared != staging.size()) {
        return Err(refuse(
            S3ErrorCode::IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        ));
    }
    let digest = md5.finalize();
    if let Some(md5) = given.md5
        && STANDARD
            .decode(md5)
            .map_err(|_| refuse(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified was invalid."))?
            != digest.as_slice()
    {
        return Err(refuse(
            S3ErrorCode::BadDigest,
            "The Content-MD5 you specified did not match what we received.",
        ));
    }
    let sums = sums.finalize();
    compare(given.headers, &sums)?;
    if let Some(trailers) = given.trailers.as_ref().and_then(TrailingHeaders::take) {
        compare(&trailers, &sums)?;
    }
    let staged = staging.finish().await.map_err(of_store)?;
    Ok(Taken {
        staged,
        etag: hex::encode(digest),
        sums: Sums::of(sums),
    })
}

fn too_large() -> s3s::S3Error {
    refuse(
        S3ErrorCode::EntityTooLarge,
        format!("Your proposed upload exceeds the maximum allowed size: {BODY_MAX} bytes."),
    )
}

/// A body that ended too soon, or whose chunks are not signed as they should be.
fn broken(error: &(dyn std::error::Error + Send + Sync)) -> s3s::S3Error {
    let text = error.to_string();
    if text.contains("ignature") {
        return refuse(
            S3ErrorCode::SignatureDoesNotMatch,
            "The signature of a chunk of the body does not match.",
        );
    }
    if text.contains("hecksum") {
        return refuse(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
    }
    tracing::debug!(error = text, "the body of an upload broke off");
    refuse(S3ErrorCode::IncompleteBody, "The request body terminated unexpectedly.")
}

/// Compares checksums that were sent with those that were computed.
fn compare(sent: &HeaderMap, sums: &Checksum) -> S3Result<()> {
    let computed = [
        &sums.checksum_crc32,
        &sums.checksum_crc32c,
        &sums.checksum_crc64nvme,
        &sums.checksum_sha1,
        &sums.checksum_sha256,
    ];
    for (name, computed) in HEADERS.iter().zip(computed) {
        let Some(sent) = sent.get(*name) else { continue };
        if computed
            .as_ref()
            .is_none_or(|computed| computed.as_bytes() != sent.as_bytes())
        {
            let mut error = refuse(
                S3ErrorCode::BadDigest,
                format!("The {name} you specified did not match the calculated checksum."),
            );
            error.set_status_code(http::StatusCode::BAD_REQUEST);
            return Err(error);
        }
    }
    Ok(())
}

/// The MD5 of bytes that are stored already.
pub(crate) async fn md5_of(mut reading: Reading) -> Result<String, Error> {
    let mut md5 = Md5::new();
    while let Some(bytes) = reading.next().await? {
        md5.update(&bytes);
    }
    Ok(hex::encode(md5.finalize()))
}

/// The sum of an upload whose parts have sums of their own: the sum of those, with their number.
pub(crate) fn composite(name: &str, parts: &[&str]) -> S3Result<String> {
    let mut hasher = hasher(std::iter::once(name));
    for part in parts {
        let raw = STANDARD
            .decode(part)
            .map_err(|_| invalid(format!("A checksum of a part is not base64: {part}")))?;
        hasher.update(&raw);
    }
    let sum = hasher.finalize();
    let found = [
        sum.checksum_crc32,
        sum.checksum_crc32c,
        sum.checksum_crc64nvme,
        sum.checksum_sha1,
        sum.checksum_sha256,
    ];
    let found = found.into_iter().flatten().next().unwrap_or_default();
    Ok(format!("{found}-{}", parts.len()))
}

/// The `ETag` of an upload: the MD5 of the MD5s of its parts, with their number.
pub(crate) fn joined_etag<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let (mut md5, mut count) = (Md5::new(), 0_usize);
    for part in parts {
        md5.update(hex::decode(part).unwrap_or_default());
        count += 1;
    }
    format!("{}-{count}", hex::encode(md5.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_sums_are_those_of_the_service() {
        // Two parts, "a" and "b".
        let etag = joined_etag(["0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"].into_iter());
        let mut md5 = Md5::new();
        md5.update(hex::decode("0cc175b9c0f1b6a831c399e26977266192eb5ffee6ae2fec3ad71c777531578f").unwrap());
        assert_eq!(etag, format!("{}-2", hex::encode(md5.finalize())));
        let one = composite("crc32", &["6Le+Qw=="]).unwrap();
        assert!(one.ends_with("==-1"), "{one}");
        assert!(composite("crc32", &["?"]).is_err());
    }

    #[test]
    fn algorithms_are_found_wherever_they_are_named() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            headers
        };
        let sent = headers(&[("x-amz-checksum-crc32", "AAAAAA==")]);
        assert_eq!(wanted(&sent).concat(), "crc32");
        assert!(compare(&sent, &hasher(["crc32"].into_iter()).finalize()).is_ok());
        assert!(compare(&sent, &Checksum::default()).is_err());
        let trailed = headers(&[
            ("x-amz-trailer", "x-amz-checksum-sha256"),
            ("x-amz-sdk-checksum-algorithm", "SHA256"),
        ]);
        assert!(wanted(&trailed).contains(&"sha256") && wanted(&trailed).contains(&"SHA256"));
    }
}
