//! An activation's output as its record has it.
//! Source: apache/openwhisk (commit 1fae641), `LogLine.scala`, `Messages.scala`; the form was observed.

use std::borrow::Cow;

use jiff::Timestamp;

/// In front of lines of standard error, from our bootstraps.
const MARK: char = '\u{1e}';

/// The line with which upstream's proxies end an activation's output; hidden where a program prints it itself.
const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

/// Bytes of output that are kept at all, however much an action's limit allows.
pub(super) const KEPT: usize = 12 * 1024 * 1024;

/// Lines of a record: time, stream, text.
pub(super) fn lines(output: &[u8], at_ms: i64, limit_mb: u64) -> Vec<String> {
    let time = time(at_ms);
    let limit = usize::try_from(limit_mb)
        .unwrap_or(usize::MAX)
        .saturating_mul(1024 * 1024);
    let (mut lines, mut size) = (Vec::new(), 0_usize);
    for line in output.split(|byte| *byte == b'\n') {
        let text: Cow<'_, str> = String::from_utf8_lossy(line);
        let (stream, text) = match text.strip_prefix(MARK) {
            Some(text) => ("stderr", text),
            None => ("stdout", &*text),
        };
        if text.is_empty() && line.is_empty() || text == SENTINEL {
            continue;
        }
        size = size.saturating_add(text.len());
        if size > limit {
            let limit = limit_mb.saturating_mul(1024 * 1024);
            lines.push(line_of(
                &time,
                "stderr",
                &format!("Logs were truncated because the total bytes size exceeds the limit of {limit} bytes."),
            ));
            break;
        }
        lines.push(line_of(&time, stream, text));
    }
    lines
}

/// The line after a failure of the action's own making.
pub(super) fn incomplete(at_ms: i64) -> String {
    let text = "The action did not initialize or run as expected. Log data might be missing.";
    line_of(&time(at_ms), "stderr", text)
}

fn line_of(time: &str, stream: &str, text: &str) -> String {
    format!("{time:<30} {stream}: {text}")
}

fn time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| String::new(), |time| format!("{time:.9}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_upstreams_form() {
        let output = "hello\n\u{1e}oops\nXXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n";
        assert_eq!(
            lines(output.as_bytes(), 1_763_890_435_000, 1),
            [
                "2025-11-23T09:33:55.000000000Z stdout: hello",
                "2025-11-23T09:33:55.000000000Z stderr: oops",
            ]
        );
        let long = "x".repeat(1024 * 1024 + 1);
        let cut = lines(long.as_bytes(), 0, 1);
        assert!(cut[0].ends_with("exceeds the limit of 1048576 bytes."), "{}", cut[0]);
        assert!(lines(b"", 0, 0).is_empty());
    }
}
