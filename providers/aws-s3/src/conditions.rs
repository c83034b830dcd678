//! Conditions of requests: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`.
//! Source: RFC 9110 13.2.2; "Conditional requests" of the S3 user guide.

use s3s::dto::{ETagCondition, Timestamp as Moment};
use s3s::{S3ErrorCode, S3Result};
use sonagi_objects::{Condition, Object};

use crate::answers::moment;
use crate::errors::{precondition, refuse};

/// What a reader expects.
#[derive(Debug, Default)]
pub(crate) struct Expected<'a> {
    pub(crate) matches: Option<&'a ETagCondition>,
    pub(crate) none_matches: Option<&'a ETagCondition>,
    pub(crate) modified_since: Option<&'a Moment>,
    pub(crate) unmodified_since: Option<&'a Moment>,
}

fn is(condition: &ETagCondition, etag: &str) -> bool {
    condition.as_etag().is_none_or(|wanted| wanted.value() == etag)
}

impl Expected<'_> {
    /// Checks an object that is read.
    ///
    /// # Errors
    /// 412, or 304 for what the reader has already.
    pub(crate) fn check(&self, object: &Object) -> S3Result<()> {
        let modified = moment(object.modified);
        match self.matches {
            Some(wanted) if !is(wanted, &object.etag) => return Err(precondition("If-Match")),
            None if self
                .unmodified_since
                .is_some_and(|since| to_the_second(&modified) > *since) =>
            {
                return Err(precondition("If-Unmodified-Since"));
            }
            Some(_) | None => {}
        }
        let unchanged = match self.none_matches {
            Some(known) => is(known, &object.etag),
            None => self
                .modified_since
                .is_some_and(|since| to_the_second(&modified) <= *since),
        };
        if unchanged {
            return Err(refuse(S3ErrorCode::NotModified, "Not Modified"));
        }
        Ok(())
    }

    /// The same for the source of a copy, of which a reader has nothing: 412 in every case.
    pub(crate) fn check_source(&self, object: &Object) -> S3Result<()> {
        self.check(object).map_err(|error| {
            if *error.code() == S3ErrorCode::NotModified {
                return precondition("x-amz-copy-source-If-None-Match");
            }
            error
        })
    }
}

/// Headers have no fractions of a second.
fn to_the_second(moment: &Moment) -> Moment {
    crate::describe::as_http_date(moment)
        .and_then(|text| Moment::parse(s3s::dto::TimestampFormat::HttpDate, &text).ok())
        .unwrap_or_else(|| moment.clone())
}

/// What a writer expects.
///
/// # Errors
/// 501 for conditions that S3 does not have for writing.
pub(crate) fn of_write(matches: Option<&ETagCondition>, none: Option<&ETagCondition>) -> S3Result<Condition> {
    match (matches, none) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Condition::Present),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Etag(etag.value().to_owned())),
        (_, Some(_)) => Err(refuse(
            S3ErrorCode::NotImplemented,
            "A header you provided implies functionality that is not implemented: If-None-Match takes * here",
        )),
    }
}
