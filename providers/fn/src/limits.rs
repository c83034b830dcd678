//! What is allowed. Each number is a setting; upstream leaves most of them open.
//! Source: fnproject/fn 0.3.753, `api/models`, `api/agent/config.go`.

use std::time::Duration;

/// Limits of this provider.
#[derive(Debug, Clone)]
pub struct FnLimits {
    /// Bytes of a call's body. Upstream: no limit; Oracle Functions: 6 MB.
    pub request: usize,
    /// Bytes of an answer's body. Upstream: no limit (`FN_MAX_RESPONSE_SIZE`); Oracle Functions: 6 MB.
    pub response: usize,
    /// Bytes of the head of an answer.
    pub response_head: usize,
    /// Bytes of a document of the API.
    pub document: usize,
    /// Bytes of an uploaded function folder.
    pub source: usize,
    /// Uploads of one account that functions can be made of; the oldest go first. Functions keep their code.
    pub sources: usize,
    /// From the start of a container until its socket is there. Upstream: 5 s.
    pub init: Duration,
    /// Longest memory of a function, MB. Upstream: 8192.
    pub memory_mb: u32,
    /// Longest time of a call, seconds. Upstream: 300.
    pub timeout_s: u32,
    /// Longest time that an idle container is kept, seconds. Upstream: 3600.
    pub idle_timeout_s: u32,
    /// Calls of one account at once.
    pub concurrent: u32,
}

impl Default for FnLimits {
    fn default() -> Self {
        Self {
            request: 6 * 1024 * 1024,
            response: 6 * 1024 * 1024,
            response_head: 64 * 1024,
            document: 1024 * 1024,
            source: 50 * 1024 * 1024,
            sources: 100,
            init: Duration::from_secs(5),
            memory_mb: 8192,
            timeout_s: 300,
            idle_timeout_s: 3600,
            concurrent: 1000,
        }
    }
}

impl FnLimits {
    /// Changes one limit by its name in settings.
    ///
    /// # Errors
    /// What is wrong with the name or the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number: u32 = value
            .parse()
            .map_err(|_| format!("{name}: {value:?} is not a whole number up to {}", u32::MAX))?;
        match name {
            "max-request-bytes" => self.request = number as usize,
            "max-response-bytes" => self.response = number as usize,
            "max-response-head-bytes" => self.response_head = (number as usize).max(8 * 1024),
            "concurrent" => self.concurrent = number,
            "memory-max-mb" => self.memory_mb = number.max(1),
            "timeout-max-s" => self.timeout_s = number.max(1),
            "kept-sources" => self.sources = number as usize,
            _ => {
                return Err(format!(
                    "{name:?} is no setting of fn; there are: max-request-bytes, max-response-bytes, \
                     max-response-head-bytes, concurrent, memory-max-mb, timeout-max-s, kept-sources"
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
        let mut limits = FnLimits::default();
        limits.set("max-response-bytes", "5").unwrap();
        assert_eq!(limits.response, 5);
        assert!(limits.set("max-response-bytes", "-1").is_err());
        assert!(limits.set("other", "1").unwrap_err().contains("there are"));
    }
}
