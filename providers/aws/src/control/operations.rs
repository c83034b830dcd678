//! Method and path of every operation, one row each.
//! Source: the service model of botocore 1.44.5; paths with a slash at the end come from older clients.

use http::Method;
use percent_encoding::percent_decode_str;

/// A way to run a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunOperation {
    Invoke,
    InvokeWithResponseStream,
    InvokeAsync,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// To run a function.
    Run(RunOperation),
    /// Anything else.
    Control(ControlOperation),
}

/// An operation of the control API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlOperation {
    CreateFunction,
    GetFunction,
    GetFunctionConfiguration,
    ListFunctions,
    UpdateFunctionCode,
    UpdateFunctionConfiguration,
    DeleteFunction,
    PublishVersion,
    ListVersionsByFunction,
    CreateAlias,
    GetAlias,
    UpdateAlias,
    DeleteAlias,
    ListAliases,
    PutFunctionConcurrency,
    GetFunctionConcurrency,
    DeleteFunctionConcurrency,
    PutProvisionedConcurrencyConfig,
    GetProvisionedConcurrencyConfig,
    DeleteProvisionedConcurrencyConfig,
    PutFunctionEventInvokeConfig,
    UpdateFunctionEventInvokeConfig,
    GetFunctionEventInvokeConfig,
    DeleteFunctionEventInvokeConfig,
    ListFunctionEventInvokeConfigs,
    CreateEventSourceMapping,
    GetEventSourceMapping,
    ListEventSourceMappings,
    UpdateEventSourceMapping,
    DeleteEventSourceMapping,
    CreateFunctionUrlConfig,
    GetFunctionUrlConfig,
    UpdateFunctionUrlConfig,
    DeleteFunctionUrlConfig,
    ListFunctionUrlConfigs,
    PublishLayerVersion,
    GetLayerVersion,
    ListLayers,
    ListLayerVersions,
    DeleteLayerVersion,
    AddLayerVersionPermission,
    GetLayerVersionPolicy,
    RemoveLayerVersionPermission,
    AddPermission,
    RemovePermission,
    GetPolicy,
    TagResource,
    UntagResource,
    ListTags,
    GetAccountSettings,
    GetFunctionCodeSigningConfig,
    GetFunctionRecursionConfig,
    PutFunctionRecursionConfig,
    GetRuntimeManagementConfig,
    PutRuntimeManagementConfig,
    /// Known to the service model, not to this platform.
    NotOffered,
}

impl ControlOperation {
    /// Whether its request carries an archive.
    pub(crate) const fn carries_code(self) -> bool {
        matches!(
            self,
            Self::CreateFunction | Self::UpdateFunctionCode | Self::PublishLayerVersion
        )
    }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

/// `*` stands for one segment, which is handed to the operation. The first row is the one of the hot path.
#[rustfmt::skip]
const ROWS: &[(Method, &str, Operation)] = {
    use ControlOperation::*;
    use Operation::{Control, Run};
    &[
        (POST, "2015-03-31/functions/*/invocations", Run(RunOperation::Invoke)),
        (POST, "2021-11-15/functions/*/response-streaming-invocations", Run(RunOperation::InvokeWithResponseStream)),
        (POST, "2014-11-13/functions/*/invoke-async", Run(RunOperation::InvokeAsync)),
        (POST, "2015-03-31/functions", Control(CreateFunction)),
        (GET, "2015-03-31/functions", Control(ListFunctions)),
        (GET, "2015-03-31/functions/*", Control(GetFunction)),
        (DELETE, "2015-03-31/functions/*", Control(DeleteFunction)),
        (GET, "2015-03-31/functions/*/configuration", Control(GetFunctionConfiguration)),
        (PUT, "2015-03-31/functions/*/configuration", Control(UpdateFunctionConfiguration)),
        (PUT, "2015-03-31/functions/*/code", Control(UpdateFunctionCode)),
        (POST, "2015-03-31/functions/*/versions", Control(PublishVersion)),
        (GET, "2015-03-31/functions/*/versions", Control(ListVersionsByFunction)),
        (POST, "2015-03-31/functions/*/aliases", Control(CreateAlias)),
        (GET, "2015-03-31/functions/*/aliases", Control(ListAliases)),
        (GET, "2015-03-31/functions/*/aliases/*", Control(GetAlias)),
        (PUT, "2015-03-31/functions/*/aliases/*", Control(UpdateAlias)),
        (DELETE, "2015-03-31/functions/*/aliases/*", Control(DeleteAlias)),
        (PUT, "2017-10-31/functions/*/concurrency", Control(PutFunctionConcurrency)),
        (GET, "2019-09-30/functions/*/concurrency", Control(GetFunctionConcurrency)),
        (DELETE, "2017-10-31/functions/*/concurrency", Control(DeleteFunctionConcurrency)),
        (PUT, "2019-09-30/functions/*/provisioned-concurrency", Control(PutProvisionedConcurrencyConfig)),
        (GET, "2019-09-30/functions/*/provisioned-concurrency", Control(GetProvisionedConcurrencyConfig)),
        (DELETE, "2019-09-30/functions/*/provisioned-concurrency", Control(DeleteProvisionedConcurrencyConfig)),
        (PUT, "2019-09-25/functions/*/event-invoke-config", Control(PutFunctionEventInvokeConfig)),
        (POST, "2019-09-25/functions/*/event-invoke-config", Control(UpdateFunctionEventInvokeConfig)),
        (GET, "2019-09-25/functions/*/event-invoke-config", Control(GetFunctionEventInvokeConfig)),
        (DELETE, "2019-09-25/functions/*/event-invoke-config", Control(DeleteFunctionEventInvokeConfig)),
        (GET, "2019-09-25/functions/*/event-invoke-config/list", Control(ListFunctionEventInvokeConfigs)),
        (POST, "2015-03-31/event-source-mappings", Control(CreateEventSourceMapping)),
        (GET, "2015-03-31/event-source-mappings", Control(ListEventSourceMappings)),
        (GET, "2015-03-31/event-source-mappings/*", Control(GetEventSourceMapping)),
        (PUT, "2015-03-31/event-source-mappings/*", Control(UpdateEventSourceMapping)),
        (DELETE, "2015-03-31/event-source-mappings/*", Control(DeleteEventSourceMapping)),
        (POST, "2021-10-31/functions/*/url", Control(CreateFunctionUrlConfig)),
        (GET, "2021-10-31/functions/*/url", Control(GetFunctionUrlConfig)),
        (PUT, "2021-10-31/functions/*/url", Control(UpdateFunctionUrlConfig)),
        (DELETE, "2021-10-31/functions/*/url", Control(DeleteFunctionUrlConfig)),
        (GET, "2021-10-31/functions/*/urls", Control(ListFunctionUrlConfigs)),
        (POST, "2018-10-31/layers/*/versions", Control(PublishLayerVersion)),
        (GET, "2018-10-31/layers/*/versions", Control(ListLayerVersions)),
        (GET, "2018-10-31/layers/*/versions/*", Control(GetLayerVersion)),
        (DELETE, "2018-10-31/layers/*/versions/*", Control(DeleteLayerVersion)),
        (GET, "2018-10-31/layers", Control(ListLayers)),
        (POST, "2018-10-31/layers/*/versions/*/policy", Control(AddLayerVersionPermission)),
        (GET, "2018-10-31/layers/*/versions/*/policy", Control(GetLayerVersionPolicy)),
        (DELETE, "2018-10-31/layers/*/versions/*/policy/*", Control(RemoveLayerVersionPermission)),
        (POST, "2015-03-31/functions/*/policy", Control(AddPermission)),
        (GET, "2015-03-31/functions/*/policy", Control(GetPolicy)),
        (DELETE, "2015-03-31/functions/*/policy/*", Control(RemovePermission)),
        (POST, "2017-03-31/tags/*", Control(TagResource)),
        (DELETE, "2017-03-31/tags/*", Control(UntagResource)),
        (GET, "2017-03-31/tags/*", Control(ListTags)),
        (GET, "2016-08-19/account-settings", Control(GetAccountSettings)),
        (GET, "2020-06-30/functions/*/code-signing-config", Control(GetFunctionCodeSigningConfig)),
        (GET, "2024-08-31/functions/*/recursion-config", Control(GetFunctionRecursionConfig)),
        (PUT, "2024-08-31/functions/*/recursion-config", Control(PutFunctionRecursionConfig)),
        (GET, "2021-07-20/functions/*/runtime-management-config", Control(GetRuntimeManagementConfig)),
        (PUT, "2021-07-20/functions/*/runtime-management-config", Control(PutRuntimeManagementConfig)),
    ]
};

/// Beginnings of paths whose operations are known but not offered: code signing, capacity providers, durable
/// executions, resource policies by ARN, scaling configuration.
const NOT_OFFERED: &[&str] = &[
    "2020-04-22/code-signing-configs",
    "2020-06-30/functions",
    "2025-11-30/capacity-providers",
    "2025-11-30/functions",
    "2025-12-01/durable-executions",
    "2025-12-01/durable-execution-callbacks",
    "2025-12-01/functions",
    "2026-07-09/resource-policy",
];

/// A request's operation, with the decoded segments that stand for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routed {
    pub(crate) operation: Operation,
    pub(crate) names: Vec<String>,
}

/// Whether a path begins with a date, as those of the Lambda API do.
pub(crate) fn is_dated(path: &str) -> bool {
    let bytes = path.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    bytes.len() >= 12
        && bytes.starts_with(b"/20")
        && digits(3..5)
        && bytes[5] == b'-'
        && digits(6..8)
        && bytes[8] == b'-'
        && digits(9..11)
        && bytes[11] == b'/'
}

/// The operation of a request; `None` if there is none.
pub(crate) fn route(method: &Method, path: &str) -> Option<Routed> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    for (row_method, pattern, operation) in ROWS {
        if row_method == method
            && let Some(names) = matched(pattern, path)
        {
            let names = names.into_iter().map(decode).collect::<Option<Vec<_>>>()?;
            return Some(Routed {
                operation: *operation,
                names,
            });
        }
    }
    let known = |start: &&str| {
        path.strip_prefix(*start)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    NOT_OFFERED.iter().any(known).then(|| Routed {
        operation: Operation::Control(ControlOperation::NotOffered),
        names: Vec::new(),
    })
}

fn matched<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut wanted, mut found) = (pattern.split('/'), path.split('/'));
    let mut names = Vec::new();
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(names),
            (Some("*"), Some(name)) if !name.is_empty() => names.push(name),
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return None,
        }
    }
}

/// Decoded once. Bytes that are no text cannot name anything.
fn decode(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.contains('\0')).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_operations() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
        let cases: &[(Method, &str, Operation, &[&str])] = &[
            (
                POST,
                "/2015-03-31/functions/f/invocations",
                Operation::Run(RunOperation::Invoke),
                &["f"],
            ),
            (
                POST,
                "/2015-03-31/functions/",
                Operation::Control(ControlOperation::CreateFunction),
                &[],
            ),
            (
                GET,
                "/2015-03-31/functions",
                Operation::Control(ControlOperation::ListFunctions),
                &[],
            ),
            (
                GET,
                "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af",
                Operation::Control(ControlOperation::GetFunction),
                &[arn],
            ),
            (
                DELETE,
                "/2015-03-31/functions/f/aliases/a",
                Operation::Control(ControlOperation::DeleteAlias),
                &["f", "a"],
            ),
            (
                GET,
                "/2020-06-30/functions/f/code-signing-config",
                Operation::Control(ControlOperation::GetFunctionCodeSigningConfig),
                &["f"],
            ),
            (
                PUT,
                "/2020-06-30/functions/f/code-signing-config",
                Operation::Control(ControlOperation::NotOffered),
                &[],
            ),
            (
                GET,
                "/2025-12-01/durable-executions/x/history",
                Operation::Control(ControlOperation::NotOffered),
                &[],
            ),
        ];
        for (method, path, operation, names) in cases {
            let routed = route(method, path).unwrap();
            assert_eq!(
                (routed.operation, routed.names),
                (*operation, names.iter().map(|name| (*name).to_owned()).collect()),
                "{path}"
            );
        }
        for (method, path) in [
            (GET, "/2015-03-31/functionz"),
            (PUT, "/2015-03-31/functions"),
            (GET, "/2015-03-31/functions//configuration"),
            (GET, "/2015-03-31/functions/%ff"),
            (GET, "/2015-03-31/functions/a%00"),
            (GET, "2015-03-31/functions"),
            (GET, "/2025-12-01/functionsx"),
        ] {
            assert_eq!(route(&method, path), None, "{path}");
        }
    }

    #[test]
    fn dated_paths_are_recognized() {
        for (path, dated) in [
            ("/2015-03-31/functions", true),
            ("/2015-03-31", false),
            ("/1999-03-31/functions", false),
            ("/20ab-03-31/functions", false),
            ("/2015/03/31/functions", false),
            ("", false),
        ] {
            assert_eq!(is_dated(path), dated, "{path}");
        }
    }
}
