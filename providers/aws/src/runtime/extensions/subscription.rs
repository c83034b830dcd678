//! What an extension asks for when it subscribes to telemetry or logs, read and checked.
//!
//! Source: "Lambda Telemetry API reference" and "Lambda Logs API" of the Lambda developer guide; AWS's open runtime
//! interface emulator (commit 4fa2157) for the bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Telemetry,
    Logs,
}

impl Api {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/2022-07-01/telemetry" => Some(Self::Telemetry),
            "/2020-08-15/logs" => Some(Self::Logs),
            _ => None,
        }
    }

    pub(super) const fn closed(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry.SubscriptionClosed",
            Self::Logs => "Logs.SubscriptionClosed",
        }
    }

    pub(super) const fn unsupported(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry.NotSupported",
            Self::Logs => "Logs.NotSupported",
        }
    }

    const fn schemas(self) -> &'static [&'static str] {
        match self {
            Self::Telemetry => &["2022-07-01", "2022-12-13"],
            Self::Logs => &["2020-08-15", "2021-03-18"],
        }
    }
}

/// What is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Types {
    pub(super) platform: bool,
    pub(super) function: bool,
    pub(super) extension: bool,
}

impl Types {
    pub(super) fn names(self) -> Vec<&'static str> {
        let all = [
            (self.platform, "platform"),
            (self.function, "function"),
            (self.extension, "extension"),
        ];
        all.into_iter()
            .filter_map(|(wanted, name)| wanted.then_some(name))
            .collect()
    }
}

/// A subscription that can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) api: Api,
    pub(super) types: Types,
    /// A batch goes out when there are so many items, so many bytes, or after so long.
    pub(super) items: usize,
    pub(super) bytes: usize,
    pub(super) after: Duration,
    /// Where the extension listens, at the instance's own loopback address.
    pub(super) port: u16,
    /// The path that is posted to.
    pub(super) path: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    #[serde(default)]
    schema_version: Option<String>,
    types: Vec<String>,
    #[serde(default)]
    buffering: Buffering,
    destination: Destination,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Buffering {
    max_items: Option<u64>,
    max_bytes: Option<u64>,
    timeout_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Destination {
    protocol: String,
    #[serde(rename = "URI")]
    uri: Option<String>,
}

/// Reads a request.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(api: Api, body: &[u8]) -> Result<Wanted, String> {
    let input: Input = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if let Some(schema) = &input.schema_version
        && !api.schemas().contains(&schema.as_str())
    {
        return Err(format!(
            "schemaVersion {schema} is not one of {}",
            api.schemas().join(", ")
        ));
    }
    let mut types = Types::default();
    for name in &input.types {
        match name.as_str() {
            "platform" => types.platform = true,
            "function" => types.function = true,
            "extension" => types.extension = true,
            other => return Err(format!("type {other} is not one of platform, function, extension")),
        }
    }
    if input.types.is_empty() {
        return Err("types is empty".to_owned());
    }
    if !input.destination.protocol.eq_ignore_ascii_case("http") {
        return Err(format!(
            "destination protocol {} is not HTTP",
            input.destination.protocol
        ));
    }
    let (port, path) = destination(input.destination.uri.as_deref().unwrap_or_default())?;
    let buffering = input.buffering;
    Ok(Wanted {
        api,
        types,
        items: bounded("maxItems", buffering.max_items, 10_000, 1000..=10_000)?,
        bytes: bounded("maxBytes", buffering.max_bytes, 262_144, 262_144..=1_048_576)?,
        after: Duration::from_millis(bounded("timeoutMs", buffering.timeout_ms, 1000, 25..=30_000)? as u64),
        port,
        path,
    })
}

fn bounded(name: &str, given: Option<u64>, default: u64, range: RangeInclusive<u64>) -> Result<usize, String> {
    let value = given.unwrap_or(default);
    if !range.contains(&value) {
        return Err(format!(
            "{name} {value} is not between {} and {}",
            range.start(),
            range.end()
        ));
    }
    usize::try_from(value).map_err(|error| error.to_string())
}

/// The port and path of `http://sandbox.localdomain:PORT/PATH`.
fn destination(uri: &str) -> Result<(u16, String), String> {
    let wrong = || format!("destination URI {uri:?} is not http://sandbox.localdomain:PORT[/PATH]");
    let parsed: http::Uri = uri.parse().map_err(|_| wrong())?;
    let here = matches!(
        parsed.host(),
        Some("sandbox.localdomain" | "sandbox" | "localhost" | "127.0.0.1")
    );
    if parsed.scheme_str() != Some("http") || !here {
        return Err(wrong());
    }
    let path = parsed.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Ok((parsed.port_u16().unwrap_or(80), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: &str, expected: Result<(u16, &str, usize), &str>) {
        let text = format!(
            r#"{{"types":["platform"],"destination":{{"protocol":"HTTP","URI":"http://sandbox.localdomain:9003/a"}}{change}}}"#
        );
        let got = read(Api::Telemetry, text.as_bytes());
        let got = got
            .as_ref()
            .map(|wanted| (wanted.port, wanted.path.as_str(), wanted.items));
        match expected {
            Ok(expected) => assert_eq!(got, Ok(expected), "{change}"),
            Err(part) => assert!(got.is_err_and(|text| text.contains(part)), "{change}: {got:?}"),
        }
    }

    #[test]
    fn bounds_hold() {
        check("", Ok((9003, "/a", 10_000)));
        check(r#","schemaVersion":"2022-12-13""#, Ok((9003, "/a", 10_000)));
        check(r#","schemaVersion":"2020-08-15""#, Err("schemaVersion"));
        check(
            r#","buffering":{"maxItems":1000,"timeoutMs":25}"#,
            Ok((9003, "/a", 1000)),
        );
        check(
            r#","buffering":{"maxItems":999}"#,
            Err("maxItems 999 is not between 1000 and 10000"),
        );
        check(r#","buffering":{"timeoutMs":24}"#, Err("timeoutMs"));
    }

    #[test]
    fn destinations_are_inside() {
        assert_eq!(
            destination("http://sandbox.localdomain:8080"),
            Ok((8080, "/".to_owned()))
        );
        for bad in [
            "http://example.com:80/",
            "https://sandbox.localdomain:1/",
            "",
            "sandbox.localdomain:1",
        ] {
            assert!(destination(bad).is_err(), "{bad}");
        }
    }
}
