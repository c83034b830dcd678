//! Lambda's published prices, as data: the documents in `tariffs/`.
//!
//! Source: AWS Lambda pricing, region us-east-1, on-demand functions. The prices per request and per GB-second and the
//! free tier are those of that page; the volume tiers and the price of scratch space are taken from it as widely quoted
//! and are unverified. Not in here, because the platform does not offer it: SnapStart, streamed bytes above 6 MB; nor is the
//! standing price of provisioned concurrency, which is not metered.

use sonagi_meter::Tariff;

const X86_64: &str = include_str!("../tariffs/x86_64.json");
const ARM64: &str = include_str!("../tariffs/arm64.json");

/// The tariff of functions that run on this host: prices differ by instruction set.
///
/// # Panics
/// Never: the documents are part of this crate and read by its tests.
#[must_use]
pub fn tariff() -> Tariff {
    parse(if cfg!(target_arch = "aarch64") { ARM64 } else { X86_64 })
}

fn parse(document: &str) -> Tariff {
    let tariff: Tariff = serde_json::from_str(document).expect("an embedded tariff is a tariff");
    tariff.checked().expect("an embedded tariff is consistent")
}

#[cfg(test)]
mod tests {
    use sonagi_meter::{Usage, bill, price};
    use sonagi_model::Mebibytes;

    use super::*;

    fn usage(attempts: u64, billed_ms: u64, memory: u32, scratch: u32) -> Usage {
        Usage {
            attempts,
            billed_ms,
            memory: Mebibytes(memory),
            scratch: Mebibytes(scratch),
        }
    }

    fn check(document: &str, usage: Usage, requests: &str, duration: &str, scratch: &str) {
        let row = price(&[usage], &parse(document))[0];
        let shown = [row.requests, row.duration, row.scratch].map(|amount| amount.to_string());
        assert_eq!(shown, [requests, duration, scratch]);
    }

    #[test]
    fn list_prices_are_the_published_ones() {
        check(X86_64, usage(1_000_000, 0, 128, 512), "0.2", "0", "0");
        check(X86_64, usage(0, 1_000, 1024, 512), "0", "0.0000166667", "0");
        check(ARM64, usage(0, 1_000, 1024, 512), "0", "0.0000133334", "0");
        check(X86_64, usage(0, 1_000, 128, 512), "0", "0.000002083338", "0");
        check(
            X86_64,
            usage(0, 1_000, 128, 1536),
            "0",
            "0.000002083338",
            "0.0000000309",
        );
    }

    #[test]
    fn the_free_tier_and_the_volume_tiers_are_taken_off() {
        let month = |gib_seconds: u64| usage(1_000_000, gib_seconds * 1000, 1024, 512);
        let total = |gib_seconds| bill(&[month(gib_seconds)], &parse(X86_64)).total.to_string();
        assert_eq!(total(400_000), "0");
        assert_eq!(total(400_001), "0.0000166667");
        // 6 G less the free 400 000 at the first price, 1 G at the second.
        assert_eq!(total(7_000_000_000), "114993.53332");
        assert_eq!(tariff().currency, "USD");
    }
}
