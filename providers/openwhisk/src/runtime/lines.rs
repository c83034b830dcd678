//! The channel to an executable: variables for the shell that starts it, then one line of JSON for each run and for each
//! answer.
//! Source: apache/openwhisk-runtime-go (commit 1b00151), `README.md`, "action loop".

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use super::frames::Answer;

/// Variables as the starting shell reads them: assignments, one a line, an empty line after the last.
pub(super) fn variables(variables: &Map<String, Value>) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in variables {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let valid = name.chars().all(letters) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        if let (true, Some(value)) = (valid, value.as_str()) {
            text.push_str(name);
            text.push('=');
            text.push_str(&quoted(value));
            text.push('\n');
        }
    }
    text.push('\n');
    text.into_bytes()
}

/// A word for a shell that has a line feed in `nl`: the result has none.
fn quoted(value: &str) -> String {
    let value = value
        .replace('\0', "")
        .replace('\'', "'\\''")
        .replace('\n', "'\"$nl\"'");
    format!("'{value}'")
}

/// A run.
pub(super) fn write(body: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(body.len() + 1);
    line.extend(body.iter().filter(|byte| **byte != b'\n'));
    line.put_u8(b'\n');
    line.freeze()
}

/// Reads an answer, of which at most `keep` bytes are kept. An object, an array or `null` is one; everything else is
/// not what an action may answer.
///
/// # Errors
/// The end of the stream.
pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin), keep: usize) -> io::Result<Answer> {
    let (mut line, mut length) = (BytesMut::new(), 0);
    loop {
        let data = from.fill_buf().await?;
        if data.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = data.iter().position(|byte| *byte == b'\n');
        let part = &data[..end.unwrap_or(data.len())];
        line.extend_from_slice(&part[..part.len().min(keep - line.len())]);
        length += part.len();
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            break;
        }
    }
    let first = line.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[')) || line.trim_ascii() == b"null" {
        return Ok(Answer {
            status: 200,
            body: line.freeze(),
            length,
        });
    }
    let body = Bytes::from_static(b"{\"error\":\"The action did not return a dictionary or array.\"}");
    Ok(Answer {
        status: 502,
        length: body.len(),
        body,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shell_reads_back_every_value() {
        let value = "it's $HOME \"x\" `y`\nand \\ more";
        let text = variables(json!({ "A_1": value, "B": "", "no-name": "x" }).as_object().unwrap());
        let script = "nl='\n'; while IFS= read -r v && [ -n \"$v\" ]; do eval \"export $v\"; done; printf '%s|%s' \"$A_1\" \"$B\"";
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), &text).unwrap();
        let output = shell.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{value}|"));
    }

    #[tokio::test]
    async fn answers_are_lines() {
        let mut from = &b"{\"a\":1}\n[1]\nnull\nx\n{\"long\":1}\n"[..];
        let mut next = async |keep| {
            let answer = read(&mut from, keep).await.unwrap();
            (answer.status, answer.body, answer.length)
        };
        assert_eq!(next(99).await, (200, Bytes::from_static(b"{\"a\":1}"), 7));
        assert_eq!(next(99).await.0, 200);
        assert_eq!(next(99).await.0, 200);
        assert_eq!(next(99).await.0, 502);
        assert_eq!(next(2).await, (200, Bytes::from_static(b"{\""), 10));
    }
}
