//! Signature Version 4, pure: what a request presents, the canonical request, the signature.
//! Source: "Create a signed AWS API request" of the IAM user guide; recomputed from requests of botocore 1.44.5.

use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use http::{HeaderMap, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use sonagi_model::Timestamp;

use super::clock_text;
use crate::errors::{Code, LambdaError};

/// The one algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Everything but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Longest life of a presigned request: seven days.
const EXPIRES_MAX_SECS: i64 = 7 * 24 * 3600;

/// Signed headers of one request: more make no sense and cost time.
const SIGNED_HEADERS_MAX: usize = 100;

/// Where the signature stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `Authorization`.
    Header,
    /// The query string, good for so many seconds.
    Query(i64),
}

/// What a request presents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presented {
    pub(crate) access_key: String,
    pub(crate) date: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) signed_headers: Vec<String>,
    pub(crate) signature: [u8; 32],
    pub(crate) time_text: String,
    pub(crate) time: Timestamp,
    pub(crate) form: Form,
    pub(crate) token: Option<String>,
}

/// How the path goes into the canonical request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathEncoding {
    /// As received.
    Once,
    /// As received, and each segment encoded again: every service but S3.
    Twice,
}

fn incomplete(text: impl Into<String>) -> LambdaError {
    LambdaError::new(Code::IncompleteSignature, text)
}

impl Presented {
    /// Reads what the request presents; `None` if it is not signed at all.
    ///
    /// # Errors
    /// `IncompleteSignatureException`.
    pub(crate) fn read(parts: &Parts) -> Result<Option<Self>, LambdaError> {
        let mut authorizations = parts.headers.get_all(header::AUTHORIZATION).iter();
        if let Some(value) = authorizations.next() {
            if authorizations.next().is_some() {
                return Err(incomplete("Authorization header appears more than once."));
            }
            let value = value
                .to_str()
                .map_err(|_| incomplete("Authorization header is not plain text."))?;
            return Self::from_header(value, &parts.headers).map(Some);
        }
        let query = query_pairs(parts.uri.query().unwrap_or_default());
        if query
            .iter()
            .any(|(key, _)| key == "X-Amz-Algorithm" || key == "X-Amz-Signature")
        {
            return Self::from_query(&query).map(Some);
        }
        Ok(None)
    }

    fn from_header(value: &str, headers: &HeaderMap) -> Result<Self, LambdaError> {
        let fields = value
            .strip_prefix(ALGORITHM)
            .ok_or_else(|| incomplete(format!("Unsupported AWS 'algorithm': only {ALGORITHM} is accepted.")))?;
        let field = |name: &str| {
            let found = fields
                .split(',')
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| incomplete(format!("Authorization header requires '{name}' parameter.")))
        };
        let (credential, signed, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let time = text("x-amz-date").or_else(|| text("date"));
        let time = time.ok_or_else(|| {
            incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        })?;
        Self::assemble(
            credential,
            signed,
            signature,
            time,
            Form::Header,
            text("x-amz-security-token"),
        )
    }

    fn from_query(query: &[(String, String)]) -> Result<Self, LambdaError> {
        let get = |name: &str| {
            let mut found = query
                .iter()
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.as_str());
            let value = found
                .next()
                .ok_or_else(|| incomplete(format!("AWS query-string parameters must include '{name}'.")))?;
            if found.next().is_some() {
                return Err(incomplete(format!(
                    "AWS query-string parameter '{name}' appears more than once."
                )));
            }
            Ok(value)
        };
        if get("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete(format!(
                "Unsupported AWS 'algorithm': only {ALGORITHM} is accepted."
            )));
        }
        let expires = get("X-Amz-Expires")?
            .parse::<i64>()
            .ok()
            .filter(|secs| (0..=EXPIRES_MAX_SECS).contains(secs));
        let expires = expires
            .ok_or_else(|| incomplete(format!("X-Amz-Expires must be from 0 to {EXPIRES_MAX_SECS} seconds.")))?;
        let token = get("X-Amz-Security-Token").ok().map(str::to_owned);
        let (credential, signed) = (get("X-Amz-Credential")?, get("X-Amz-SignedHeaders")?);
        let time = get("X-Amz-Date")?.to_owned();
        Self::assemble(
            credential,
            signed,
            get("X-Amz-Signature")?,
            time,
            Form::Query(expires),
            token,
        )
    }

    fn assemble(
        credential: &str,
        signed: &str,
        signature: &str,
        time_text: String,
        form: Form,
        token: Option<String>,
    ) -> Result<Self, LambdaError> {
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = scope.as_slice() else {
            return Err(incomplete(
                "Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request.",
            ));
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes)
            .map_err(|_| incomplete("Signature must be 64 hexadecimal digits."))?;
        let signed_headers: Vec<String> = signed.split(';').map(str::to_ascii_lowercase).collect();
        if signed_headers.len() > SIGNED_HEADERS_MAX {
            return Err(incomplete(format!("More than {SIGNED_HEADERS_MAX} signed headers.")));
        }
        if !signed_headers.iter().any(|name| name == "host") {
            return Err(incomplete("'Host' must be a 'SignedHeader' in the AWS Authorization."));
        }
        let time = clock_text::parse(&time_text).ok_or_else(|| {
            incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{}'.",
                shown(&time_text)
            ))
        })?;
        Ok(Self {
            access_key: (*access_key).to_owned(),
            date: (*date).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
            signed_headers,
            signature: bytes,
            time_text,
            time,
            form,
            token,
        })
    }

    /// The signature that this request should have under a secret.
    pub(crate) fn expected(&self, parts: &Parts, secret: &str, payload: &str, path: PathEncoding) -> [u8; 32] {
        let canonical = self.canonical_request(parts, payload, path);
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{digest}", self.time_text);
        let key = [&self.date, &self.region, &self.service, "aws4_request"]
            .iter()
            .fold(hmac_key(secret), |key, part| hmac(&key, part.as_bytes()).to_vec());
        hmac(&key, to_sign.as_bytes())
    }

    fn canonical_request(&self, parts: &Parts, payload: &str, path: PathEncoding) -> String {
        let mut text = format!("{}\n", parts.method);
        match path {
            PathEncoding::Once => text.push_str(parts.uri.path()),
            PathEncoding::Twice => push_segments(&mut text, parts.uri.path()),
        }
        text.push('\n');
        push_query(&mut text, parts.uri.query().unwrap_or_default());
        text.push('\n');
        for name in &self.signed_headers {
            text.push_str(name);
            text.push(':');
            push_header(&mut text, parts, name);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.signed_headers.join(";"));
        text.push('\n');
        text.push_str(payload);
        text
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn push_segments(text: &mut String, path: &str) {
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            text.push('/');
        }
        text.extend(utf8_percent_encode(segment, ESCAPED));
    }
}

fn push_query(text: &mut String, query: &str) {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (recode(key), recode(value)))
        .filter(|(key, _)| key != "X-Amz-Signature")
        .collect();
    pairs.sort();
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.push('&');
        }
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
}

/// Decoded and encoded again, so that all spellings of one value are the same text. Bytes that are no UTF-8 stay bytes.
fn recode(text: &str) -> String {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    percent_encoding::percent_encode(&bytes, ESCAPED).to_string()
}

fn push_header(text: &mut String, parts: &Parts, name: &str) {
    let mut values = parts.headers.get_all(name).iter().peekable();
    if values.peek().is_none() && name == "host" {
        // HTTP/2 carries the host in `:authority`.
        text.push_str(parts.uri.authority().map_or("", |authority| authority.as_str()));
    }
    let mut first = true;
    for value in values {
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        let mut words = value.split(' ').filter(|word| !word.is_empty());
        text.extend(words.next());
        for word in words {
            text.push(' ');
            text.push_str(word);
        }
    }
}

fn hmac_key(secret: &str) -> Vec<u8> {
    [b"AWS4", secret.as_bytes()].concat()
}

/// HMAC-SHA256.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Key and value pairs of a query string, decoded; a value that is no UTF-8 has its bytes replaced.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "127.0.0.1:4747");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn authorization(signed: &str, signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/lambda/aws4_request, SignedHeaders={signed}, \
             Signature={signature}"
        )
    }

    /// Signatures computed by botocore 1.44.5 for these requests.
    #[test]
    fn signatures_are_those_of_the_real_client() {
        let time = ("x-amz-date", "20261123T094455Z");
        let arn = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations";
        let cases = [
            (
                "GET",
                "/2015-03-31/functions?MaxItems=10&Marker=a%20b",
                vec![],
                "host;x-amz-date",
                hex::encode(Sha256::digest(b"")),
                "cb6b33ee2013bdf6ac90d2005bfef806badc375fc882f3b020b27c3847dad48f",
            ),
            (
                "POST",
                arn,
                vec![("x-amz-client-context", "  a   b ")],
                "host;x-amz-client-context;x-amz-date",
                hex::encode(Sha256::digest(b"{\"k\":1}")),
                "c01dbfff5c0cf4449521f7859005030933183836fb287342295449241cb2d906",
            ),
            (
                "GET",
                "/2015-03-31/functions",
                vec![("x-amz-security-token", "TOKEN/==")],
                "host;x-amz-date;x-amz-security-token",
                hex::encode(Sha256::digest(b"")),
                "fd398ad632e3fb4b897c9d6fc1395e3e4646ff5958a25f45dfa8b12b0a7ce9f4",
            ),
            (
                "POST",
                "/2015-03-31/functions/f/invocations",
                vec![("x-amz-content-sha256", "UNSIGNED-PAYLOAD")],
                "host;x-amz-content-sha256;x-amz-date",
                "UNSIGNED-PAYLOAD".to_owned(),
                "5a8ff62764b33810662d7df1ebbb2bceaafb06948f74a88e7bdd6962e526c230",
            ),
        ];
        for (method, uri, mut headers, signed, payload, signature) in cases {
            let authorization = authorization(signed, signature);
            headers.extend([time, ("authorization", authorization.as_str())]);
            let parts = parts(method, uri, &headers);
            let presented = Presented::read(&parts).unwrap().unwrap();
            let expected = presented.expected(&parts, SECRET, &payload, PathEncoding::Twice);
            assert_eq!(hex::encode(expected), signature, "{uri}");
            assert_eq!(presented.signature, expected);
        }
    }

    #[test]
    fn presigned_requests_are_those_of_the_real_client() {
        let uri = "/2015-03-31/functions/f?Qualifier=%24LATEST&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261123%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=20261123T094455Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature=09f3b324c204e46c2e692eeb518837e2bdec78525dc939565d8137d33757759c";
        let parts = parts("GET", uri, &[]);
        let presented = Presented::read(&parts).unwrap().unwrap();
        assert_eq!(presented.form, Form::Query(600));
        let payload = hex::encode(Sha256::digest(b""));
        assert_eq!(
            presented.expected(&parts, SECRET, &payload, PathEncoding::Twice),
            presented.signature
        );
    }

    #[test]
    fn malformed_signatures_are_told_apart_from_absent_ones() {
        assert_eq!(Presented::read(&parts("GET", "/", &[])).unwrap(), None);
        let good = authorization("host;x-amz-date", &"0".repeat(64));
        let time = ("x-amz-date", "20261123T094455Z");
        assert!(
            Presented::read(&parts("GET", "/", &[("authorization", &good), time]))
                .unwrap()
                .is_some()
        );
        let bad = [
            "Bearer x".to_owned(),
            good.replace("aws4_request", "aws4"),
            good.replace("SignedHeaders=host;x-amz-date", "SignedHeaders=x-amz-date"),
            good.replace("Signature=", "Signatur="),
            good.replace(&"0".repeat(64), "xyz"),
        ];
        for text in bad {
            let error = Presented::read(&parts("GET", "/", &[("authorization", &text), time])).unwrap_err();
            assert_eq!(error.code, Code::IncompleteSignature, "{text}");
        }
        let undated = Presented::read(&parts("GET", "/", &[("authorization", &good)])).unwrap_err();
        assert_eq!(undated.code, Code::IncompleteSignature);
        let long = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=604801";
        assert_eq!(
            Presented::read(&parts("GET", long, &[])).unwrap_err().code,
            Code::IncompleteSignature
        );
    }

    #[test]
    fn the_query_has_one_spelling() {
        let mut text = String::new();
        push_query(&mut text, "b=2&a=%7e&a=%2F&c&X-Amz-Signature=1&d=%e2%82%ac");
        assert_eq!(text, "a=%2F&a=~&b=2&c=&d=%E2%82%AC");
    }
}
