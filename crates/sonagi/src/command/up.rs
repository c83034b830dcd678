//! `sonagi up`: the platform itself. Settings come from flags, the environment, a file and defaults, in this order; where
//! each came from is kept, for `sonagi config`.

mod settings;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, ValueEnum};
use sonagi_server::Options;

use self::settings::{File, Settings, described, options, origin};
use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result, chain};

/// The file in the state directory that is read when no other is named.
const FILE: &str = "config.toml";

/// Start the platform; it runs until it is told to stop
///
/// SIGTERM or Ctrl-C stops it gracefully: calls under way finish. A second one stops it at once. Each setting may also be
/// a line of the configuration file (`keep-alive = "10m"`); flags win over the environment, the environment over the file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi up
  sonagi up --data ./state --listen 127.0.0.1:8080
  sonagi up --keep-alive 5m --node-memory 4GiB --cpu cap
  sonagi up --egress none --proc strict
  sonagi up --retry-delays 1s,5s --log-format json
  sonagi config                         what is set, and where it comes from")]
pub struct Up {
    /// Configuration file, TOML [default: config.toml in the state directory, if there is one]
    #[arg(long, env = "SONAGI_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,

    /// Form of the platform's own log, on standard error
    #[arg(
        long,
        env = "SONAGI_LOG_FORMAT",
        value_enum,
        value_name = "FORMAT",
        hide_env_values = true
    )]
    log_format: Option<LogFormat>,

    /// What goes into that log, as in `RUST_LOG` [default: info]
    #[arg(long, env = "SONAGI_LOG", value_name = "FILTER", hide_env_values = true)]
    log: Option<String>,

    #[command(flatten)]
    settings: Settings,
}

/// What goes into the log. The crate that speaks S3 reports mistakes of clients as errors: they are answered, and what
/// fails here is reported by us.
const LOG: &str = "info,s3s=off";

/// Form of the platform's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

impl Up {
    /// Runs the platform to its end.
    pub fn run(self, global: &Global, matches: Option<&ArgMatches>) -> Result {
        let data = global.data()?;
        let file = self.file(&data)?;
        start_log(
            self.log_format.unwrap_or(LogFormat::Text),
            self.log.as_deref().unwrap_or(LOG),
        )?;
        let defaults = Options::new(data);
        let options = options(&defaults, &self.settings, &file);
        let settings = described(&options, |name| origin(name, matches, &file));
        sonagi_server::run(&options, settings).map_err(|error| {
            if matches!(error, sonagi_server::Error::Options(_)) {
                Failure::usage(chain(&error))
            } else {
                with_hint(&chain(&error))
            }
        })
    }

    fn file(&self, data: &Path) -> Result<File> {
        let path = self.config.clone().unwrap_or_else(|| data.join(FILE));
        match fs::read_to_string(&path) {
            Ok(text) => File::parse(&text).map_err(|why| Failure::usage(format!("{}: {why}", path.display()))),
            Err(error) if self.config.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
            Err(error) => Err(Failure::caused(
                Exit::Usage,
                format!("{} cannot be read", path.display()),
                &error,
            )),
        }
    }
}

/// The platform's errors carry their hint at the end of their text, for its log; here it gets its own line.
pub(super) fn with_hint(text: &str) -> Failure {
    match text.split_once("; hint: ") {
        Some((message, hint)) => {
            // What caused the error comes after the hint.
            let (hint, cause) = hint
                .split_once(": ")
                .map_or((hint, None), |(hint, cause)| (hint, Some(cause)));
            let message = cause.map_or_else(|| message.to_owned(), |cause| format!("{message}: {cause}"));
            Failure::new(Exit::Failure, message).hint(hint)
        }
        None => Failure::new(Exit::Failure, text),
    }
}

/// Begins the platform's own log.
pub(super) fn start_log(format: LogFormat, filter: &str) -> Result {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Failure::caused(Exit::Usage, format!("--log {filter:?} is no filter"), &error))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with_target(false).with_ansi(terminal && !no_color).init();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_get_their_own_line() {
        let failure = with_hint("cannot listen on 127.0.0.1:1; hint: choose one with --listen: address in use");
        assert_eq!(failure.message, "cannot listen on 127.0.0.1:1: address in use");
        assert_eq!(failure.hint.as_deref(), Some("choose one with --listen"));
        assert_eq!(with_hint("plain: cause").message, "plain: cause");
    }
}
