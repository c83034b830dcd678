//! Trace headers: taken over from the caller or made up.
//! Source: "Tracing header" of the X-Ray documentation.

use http::{HeaderMap, HeaderValue};
use sonagi_model::{FunctionId, InvocationId, Timestamp};
use sonagi_ports::Entropy;

use crate::events::extended;

/// Name of the header, on requests and answers.
pub(crate) const TRACE_HEADER: &str = "x-amzn-trace-id";

/// A caller's header longer than this is replaced.
const LONGEST: usize = 1024;

/// `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceHeader(String);

impl TraceHeader {
    /// The caller's, completed; a new one if there is none or it makes no sense.
    pub(crate) fn of(headers: &HeaderMap, invocation: InvocationId, now: Timestamp, entropy: &dyn Entropy) -> Self {
        let given = headers
            .get(TRACE_HEADER)
            .and_then(|value| value.to_str().ok())
            .filter(|text| is_trace(text));
        let has = |text: &str, field: &str| text.split(';').any(|part| part.trim().starts_with(field));
        let mut text = match given {
            Some(text) => text.to_owned(),
            None => {
                // The random part of the invocation's id is as good as any other: it is no secret.
                let random = invocation.as_uuid().as_simple().to_string();
                format!("Root=1-{:08x}-{}", now.as_secs() & 0xffff_ffff, &random[8..])
            }
        };
        if !has(&text, "Parent=") {
            text.push_str(&format!(
                ";Parent={:016x}",
                (entropy.unit() * (1_u64 << 53) as f64) as u64
            ));
        }
        if !has(&text, "Sampled=") {
            text.push_str(";Sampled=0");
        }
        Self(text)
    }

    /// With one more turn of a function in its lineage.
    pub(crate) fn with_turn(&self, function: FunctionId) -> Self {
        Self(extended(function, &self.0))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// For an answer.
    pub(crate) fn value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

fn is_trace(text: &str) -> bool {
    let root = text.split(';').find_map(|part| part.trim().strip_prefix("Root=1-"));
    let good = root
        .and_then(|root| root.split_once('-'))
        .is_some_and(|(time, random)| {
            let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            hex(time, 8) && hex(random, 24)
        });
    good && text.len() <= LONGEST && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::SeededEntropy;

    use super::*;

    #[test]
    fn headers_are_taken_over_completed_or_made() {
        let made = |given: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(TRACE_HEADER, given.parse().unwrap());
            }
            let now = Timestamp::from_millis(1_767_225_600_000);
            TraceHeader::of(&headers, InvocationId::generate(), now, &SeededEntropy::default()).0
        };
        let whole = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1";
        assert_eq!(made(Some(whole)), whole);
        assert!(made(Some("Root=1-5759e988-bd862e3fe1be46a994272793")).contains(";Parent="));
        for given in [None, Some("Root=nonsense"), Some("Self=1"), Some("")] {
            let text = made(given);
            assert!(
                is_trace(&text) && text.starts_with("Root=1-6955b900-") && text.ends_with(";Sampled=0"),
                "{text}"
            );
        }
    }
}
