//! What is allowed. Each number is a setting; the defaults are upstream's, except the rates, which are those of a
//! platform that is in use.
//! Source: apache/openwhisk (commit 1fae641), `application.conf` of common and controller.

use std::time::Duration;

/// Limits of this provider.
#[derive(Debug, Clone)]
pub struct WhiskLimits {
    /// Invocations a minute of one namespace. Upstream: 60.
    pub invocations_per_minute: u32,
    /// Activations of one namespace at once. Upstream: 30.
    pub concurrent: u32,
    /// Trigger firings a minute of one namespace. Upstream: 60.
    pub fires_per_minute: u32,
    /// Shortest, default and longest time of an activation, milliseconds.
    pub timeout_ms: Range,
    /// Memory of an action, MB.
    pub memory_mb: Range,
    /// Log of an activation, MB.
    pub logs_mb: Range,
    /// Activations in one instance at once. Upstream's maximum: 1.
    pub concurrency: Range,
    /// Bytes of a payload, of parameters, of annotations, of a result.
    pub payload: usize,
    /// Bytes of code.
    pub code: usize,
    /// Actions of a sequence.
    pub sequence: usize,
    /// Longest wait of a blocking invocation.
    pub blocking: Duration,
    /// Entries of a list: default and most.
    pub page: (u64, u64),
}

/// Least, default and most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Least.
    pub min: u64,
    /// Where nothing is said.
    pub standard: u64,
    /// Most.
    pub max: u64,
}

impl Range {
    const fn new(min: u64, standard: u64, max: u64) -> Self {
        Self { min, standard, max }
    }
}

impl Default for WhiskLimits {
    fn default() -> Self {
        Self {
            invocations_per_minute: 10_000,
            concurrent: 1000,
            fires_per_minute: 10_000,
            timeout_ms: Range::new(100, 60_000, 300_000),
            memory_mb: Range::new(128, 256, 512),
            logs_mb: Range::new(0, 10, 10),
            concurrency: Range::new(1, 1, 500),
            payload: 1024 * 1024,
            code: 48 * 1024 * 1024,
            sequence: 50,
            blocking: Duration::from_secs(60),
            page: (30, 200),
        }
    }
}

impl WhiskLimits {
    /// Changes one limit by its name in settings.
    ///
    /// # Errors
    /// What is wrong with the name or the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number: u64 = value
            .parse()
            .map_err(|_| format!("{name}: {value:?} is not a whole number"))?;
        let small = || u32::try_from(number).map_err(|_| format!("{name}: {number} is more than {}", u32::MAX));
        match name {
            "invocations-per-minute" => self.invocations_per_minute = small()?,
            "concurrent" => self.concurrent = small()?,
            "fires-per-minute" => self.fires_per_minute = small()?,
            "timeout-max-ms" => self.timeout_ms.max = number.max(self.timeout_ms.min),
            "memory-max-mb" => self.memory_mb.max = number.max(self.memory_mb.min),
            "concurrency-max" => self.concurrency.max = number.max(1),
            "sequence-length" => self.sequence = small()? as usize,
            _ => {
                return Err(format!(
                    "{name:?} is no setting of openwhisk; there are: invocations-per-minute, concurrent, \
                     fires-per-minute, timeout-max-ms, memory-max-mb, concurrency-max, sequence-length"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_and_numbers() {
        let mut limits = WhiskLimits::default();
        limits.set("concurrent", "3").unwrap();
        assert_eq!(limits.concurrent, 3);
        assert!(limits.set("concurrent", "x").is_err());
        assert!(limits.set("other", "1").unwrap_err().contains("there are"));
    }
}
