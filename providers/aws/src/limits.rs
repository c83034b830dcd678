//! The numbers that Lambda enforces, each a default and a setting.
//! Source: "Lambda quotas" of the AWS documentation and the service model of botocore 1.44.5.

use sonagi_model::ArchiveLimits;

/// Limits of the Lambda surface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaLimits {
    /// Bytes of a synchronous invocation's payload.
    pub payload: usize,
    /// Bytes of an asynchronous invocation's payload.
    pub async_payload: usize,
    /// Bytes of a whole answer: 6 MiB and 100 bytes.
    pub response: usize,
    /// Bytes of a request that creates or updates code: base64 of the largest archive and its envelope.
    pub code_request: usize,
    /// Bytes of any other request of the control API.
    pub control_request: usize,
    /// What an archive may contain.
    pub archive: ArchiveLimits,
    /// Bytes of all archives of one account in one region.
    pub account_code: u64,
    /// Concurrent invocations of one account.
    pub account_concurrency: u32,
    /// Concurrency that reservations must leave to functions without one.
    pub unreserved_concurrency: u32,
    /// Longest timeout, seconds.
    pub timeout_secs: u32,
    /// Largest memory, MiB.
    pub memory_mib: u32,
    /// Largest scratch space, MiB.
    pub scratch_mib: u32,
    /// Bytes of all variables as JSON text.
    pub environment: usize,
    /// Bytes of a resource policy.
    pub policy: usize,
    /// Tags of one function.
    pub tags: usize,
    /// Items of one page of a listing.
    pub page: usize,
    /// Versions of `$LATEST` kept to roll back to, the live one included.
    pub history: usize,
}

impl Default for LambdaLimits {
    fn default() -> Self {
        Self {
            payload: 6_291_456,
            async_payload: 1_048_576,
            response: 6_291_556,
            code_request: 70_167_211,
            control_request: 1_048_576,
            archive: ArchiveLimits {
                packed: 52_428_800,
                unpacked: 262_144_000,
                ..ArchiveLimits::default()
            },
            account_code: 80_530_636_800,
            account_concurrency: 1000,
            unreserved_concurrency: 100,
            timeout_secs: 900,
            memory_mib: 10_240,
            scratch_mib: 10_240,
            environment: 4096,
            policy: 20_480,
            tags: 50,
            page: 50,
            history: 10,
        }
    }
}
