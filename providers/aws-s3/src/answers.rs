//! Values of answers.

use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{ETag, EncodingType, Owner, Timestamp as Moment};
use sha2::{Digest as _, Sha256};
use sonagi_model::Timestamp;

/// What listings with `encoding-type=url` leave as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b'/');

/// A moment; S3 has no fractions of a second.
pub(crate) fn moment(at: Timestamp) -> Moment {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    Moment::from(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

pub(crate) fn etag(text: &str) -> ETag {
    ETag::Strong(text.to_owned())
}

/// A size or count as the documents have it.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The canonical user id of an account: 64 hexadecimal digits that say nothing else.
pub(crate) fn user_id(account: &str) -> String {
    hex::encode(Sha256::digest(format!("s3 canonical user {account}")))
}

/// An account as owner.
pub(crate) fn owner(account: &str) -> Owner {
    Owner {
        display_name: None,
        id: Some(user_id(account)),
    }
}

/// How names of a listing are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    Plain,
    Url,
}

impl Writing {
    pub(crate) fn of(encoding: Option<&EncodingType>) -> Self {
        match encoding.map(EncodingType::as_str) {
            Some(EncodingType::URL) => Self::Url,
            Some(_) | None => Self::Plain,
        }
    }

    pub(crate) fn write(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            // Clients read both `+` and `%20` as a space, some only the latter.
            Self::Url => utf8_percent_encode(text, PLAIN).to_string(),
        }
    }
}

/// A key as events have it: as in a form, `/` kept.
pub(crate) fn as_in_form(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string().replace("%20", "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_in_forms() {
        assert_eq!(as_in_form("dir/a file=1.txt"), "dir/a+file%3D1.txt");
        assert_eq!(Writing::Url.write("a +b"), "a%20%2Bb");
        assert_eq!(Writing::Plain.write("a b"), "a b");
        assert_eq!(user_id("000000000000").len(), 64);
    }
}
