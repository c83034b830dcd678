//! Running other programs, loudly.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a program with this one's streams.
///
/// # Errors
/// The program cannot be started or does not end with success.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Runs a program and returns its standard output; its standard error is shown when it fails.
///
/// # Errors
/// The program cannot be started, does not end with success, or prints something else than UTF-8.
pub fn read(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.output().with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {shown}"))
}

/// Whether a program can be started and ends with success.
pub fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn show(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_that_shows_its_words() {
        assert_eq!(read(Command::new("echo").arg("x")).unwrap(), "x\n");
        let error = read(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3") && error.contains("broken"), "{error}");
        assert!(run(&mut Command::new("false")).is_err());
        assert!(!succeeds(&mut Command::new("/no/such/program")));
    }
}
