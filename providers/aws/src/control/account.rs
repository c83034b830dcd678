//! `GetAccountSettings`.

use http::{Response, StatusCode};
use serde::Serialize;
use sonagi_wire::Body;

use super::{Control, ControlCall, json};
use crate::errors::LambdaError;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SettingsShown {
    account_limit: LimitShown,
    account_usage: UsageShown,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LimitShown {
    total_code_size: u64,
    code_size_unzipped: u64,
    code_size_zipped: u64,
    concurrent_executions: u32,
    unreserved_concurrent_executions: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageShown {
    total_code_size: u64,
    function_count: usize,
}

impl Control {
    pub(super) fn account_settings(&self, call: &ControlCall) -> Result<Response<Body>, LambdaError> {
        let (limits, place) = (&self.limits, call.place());
        let reserved = self.of_account(&place.account);
        let reserved: u32 = reserved
            .iter()
            .filter_map(|entry| entry.function.reserved_concurrency)
            .sum();
        let shown = SettingsShown {
            account_limit: LimitShown {
                total_code_size: limits.account_code,
                code_size_unzipped: limits.archive.unpacked,
                code_size_zipped: limits.archive.packed,
                concurrent_executions: limits.account_concurrency,
                unreserved_concurrent_executions: limits.account_concurrency.saturating_sub(reserved),
            },
            account_usage: UsageShown {
                total_code_size: self.code_bytes(place),
                function_count: self.catalog.list(&place.namespace(), None, usize::MAX).len(),
            },
        };
        Ok(json(StatusCode::OK, &shown))
    }
}
