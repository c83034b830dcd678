//! X-Ray trace headers for calls that bring none.

use sonagi_model::Timestamp;
use sonagi_ports::Entropy;

/// A new trace that is not sampled. Its parts only have to differ from each other, so they are no secrets.
/// Source: AWS X-Ray developer guide, "Tracing header": `Root=1-<8 hex: epoch seconds>-<24 hex>;Parent=<16 hex>;Sampled=0`.
pub(super) fn new(now: Timestamp, entropy: &dyn Entropy) -> String {
    let draw = || (entropy.unit() * 4_294_967_296.0) as u32;
    format!(
        "Root=1-{:08x}-{:08x}{:08x}{:08x};Parent={:08x}{:08x};Sampled=0",
        now.as_secs(),
        draw(),
        draw(),
        draw(),
        draw(),
        draw()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonagi_ports::SystemEntropy;

    #[test]
    fn a_trace_has_its_form() {
        let entropy = SystemEntropy::new();
        let text = new(Timestamp::from_millis(1_700_000_000_000), &entropy);
        assert!(text.starts_with("Root=1-6553f100-"), "{text}");
        assert_eq!(
            text.len(),
            "Root=1-6553f100-000000000000000000000000;Parent=0000000000000000;Sampled=0".len()
        );
        assert_ne!(text, new(Timestamp::from_millis(1_700_000_000_000), &entropy));
    }
}
