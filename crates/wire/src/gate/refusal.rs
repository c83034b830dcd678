//! Why a request is refused before anybody reads it, and what its sender hears.

use http::{HeaderValue, Response, StatusCode, header};

use crate::{Body, full};

/// A request is refused because of its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a line of the request ends with LF alone; lines end with CR LF")]
    BareLineFeed,
    #[error("the first line of the request is not METHOD TARGET HTTP/1.1")]
    RequestLine,
    #[error("the target of the request has more than {0} bytes")]
    TargetTooLong(usize),
    #[error("the head of the request has more than {0} bytes")]
    HeadTooLarge(usize),
    #[error("the request has more than {0} header lines")]
    TooManyHeaders(usize),
    #[error("a header line of the request is not NAME: VALUE, with a token as its name and no space before the colon")]
    HeaderName,
    #[error("a header value of the request has a control character")]
    HeaderValue,
    #[error("a header of the request goes on in a further line")]
    FoldedHeader,
    #[error("the request has more than one Content-Length")]
    RepeatedLength,
    #[error("the Content-Length of the request is no number")]
    Length,
    #[error("the Transfer-Encoding of the request is not exactly `chunked`, once, in HTTP/1.1")]
    Encoding,
    #[error("the request has both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    #[error("the chunks of the request's body are malformed")]
    Chunk,
    #[error("CONNECT is not served here")]
    Connect,
    #[error("the head of the request did not come within {0} s")]
    TooSlow(u64),
}

impl Refusal {
    /// Its status. Source: RFC 9110, 15.5; RFC 6585, 5.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BareLineFeed
            | Self::RequestLine
            | Self::HeaderName
            | Self::HeaderValue
            | Self::FoldedHeader
            | Self::RepeatedLength
            | Self::Length
            | Self::Encoding
            | Self::LengthAndEncoding
            | Self::Chunk => StatusCode::BAD_REQUEST,
            Self::TargetTooLong(_) => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge(_) | Self::TooManyHeaders(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Connect => StatusCode::NOT_IMPLEMENTED,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// What the sender hears; the connection ends with it.
    pub(crate) fn answer(self) -> Response<Body> {
        let mut response = Response::new(full(format!("{self}\n")));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}
