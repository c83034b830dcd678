//! The lineage in a trace header: how often each function has already taken part in a chain of calls.
//!
//! `Lineage=<hash>:<count>|<hash>:<count>…`, opaque to functions; the SDKs inside them pass it on from
//! `_X_AMZN_TRACE_ID`. A hash stands for a function.

use sha2::{Digest as _, Sha256};
use sonagi_model::FunctionId;

/// Turns of a chain after which it is taken for a loop. Source: "Recursive loop detection": about 16.
pub(crate) const LOOP_LIMIT: u32 = 16;

/// Functions of a chain that are remembered, the newest.
const LONGEST: usize = 8;

/// The part of the header that carries the lineage.
const FIELD: &str = "Lineage=";

fn hash(function: FunctionId) -> String {
    hex::encode(&Sha256::digest(function.as_uuid().as_bytes())[..4])
}

fn entries(trace: &str) -> Vec<(&str, u32)> {
    let field = trace.split(';').find_map(|part| part.trim().strip_prefix(FIELD));
    let entries = field.unwrap_or_default().split('|');
    entries
        .filter_map(|entry| entry.split_once(':'))
        .filter_map(|(hash, count)| Some((hash, count.parse().ok()?)))
        .collect()
}

/// How often a function has taken part in the chain that a trace header tells of.
pub(crate) fn count_of(function: FunctionId, trace: &str) -> u32 {
    let own = hash(function);
    let found = entries(trace).into_iter().find(|(hash, _)| *hash == own);
    found.map_or(0, |(_, count)| count)
}

/// The header with one more turn of a function.
pub(crate) fn extended(function: FunctionId, trace: &str) -> String {
    let own = hash(function);
    let count = count_of(function, trace).saturating_add(1);
    let mut kept: Vec<String> = entries(trace)
        .into_iter()
        .filter(|(hash, _)| *hash != own)
        .map(|(hash, count)| format!("{hash}:{count}"))
        .collect();
    kept.push(format!("{own}:{count}"));
    let lineage = kept[kept.len().saturating_sub(LONGEST)..].join("|");
    let others = trace
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty() && !part.starts_with(FIELD));
    let mut text = others.collect::<Vec<_>>().join(";");
    if !text.is_empty() {
        text.push(';');
    }
    text.push_str(FIELD);
    text.push_str(&lineage);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_for_each_function() {
        let (a, b) = (FunctionId::generate(), FunctionId::generate());
        let mut trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0".to_owned();
        for turn in 1..=20 {
            trace = extended(b, &extended(a, &trace));
            assert_eq!((count_of(a, &trace), count_of(b, &trace)), (turn, turn));
        }
        assert!(
            trace.starts_with("Root=1-5759e988-bd862e3fe1be46a994272793;Parent="),
            "{trace}"
        );
        assert_eq!(trace.matches("Lineage=").count(), 1);
        for _ in 0..20 {
            trace = extended(FunctionId::generate(), &trace);
        }
        assert!(trace.len() < 300, "{trace}");
        assert_eq!(count_of(a, "Lineage=nonsense|x:y"), 0);
    }
}
