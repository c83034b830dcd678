//! Keys of [`sonagi_ports::Attributes`] that the control side sets on a call and a session turns into headers of the
//! Runtime API's answer to `next`. A key that is absent, or has an empty value, sends no header.

/// The ARN as the caller wrote it: without a qualifier, or with an alias or version.
/// Sent as `Lambda-Runtime-Invoked-Function-Arn`; if absent, the function's unqualified ARN.
pub const INVOKED_ARN: &str = "invoked-arn";

/// `Root=1-…;Parent=…;Sampled=…`. Sent as `Lambda-Runtime-Trace-Id`; if absent, a new one that is not sampled.
pub const TRACE_ID: &str = "trace-id";

/// JSON text of `X-Amz-Client-Context`, base64 removed. Sent as `Lambda-Runtime-Client-Context`.
pub const CLIENT_CONTEXT: &str = "client-context";

/// JSON text `{"cognitoIdentityId":…,"cognitoIdentityPoolId":…}`. Sent as `Lambda-Runtime-Cognito-Identity`.
pub const COGNITO_IDENTITY: &str = "cognito-identity";

/// Value of `X-Amz-Tenant-Id`. Sent as `Lambda-Runtime-Aws-Tenant-Id`.
pub const TENANT_ID: &str = "tenant-id";
