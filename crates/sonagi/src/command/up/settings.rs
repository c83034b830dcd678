//! The platform's settings: as flags and variables, as lines of a file, and from both to the server's options.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, FromArgMatches as _, ValueEnum};
use sonagi_api::{Origin, Setting};
use sonagi_model::Mebibytes;
use sonagi_server::{CpuShare, Egress, Options, ProcView};

use crate::values;

/// Settings that the file may have too.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// The one address that everything is served on [default: 127.0.0.1:4747]
    #[arg(long, env = "SONAGI_LISTEN", value_name = "ADDRESS", hide_env_values = true)]
    listen: Option<SocketAddr>,

    /// Base of the host names under which functions are reached [default: localhost]
    #[arg(long, env = "SONAGI_BASE_DOMAIN", value_name = "NAME", hide_env_values = true)]
    base_domain: Option<String>,

    /// Memory for all instances together [default: 80 % of the machine's]
    #[arg(long, env = "SONAGI_NODE_MEMORY", value_name = "SIZE", value_parser = values::mebibytes, hide_env_values = true)]
    node_memory: Option<u32>,

    /// How long an idle instance is kept [default: 10m]
    #[arg(long, env = "SONAGI_KEEP_ALIVE", value_name = "TIME", value_parser = values::duration, hide_env_values = true)]
    keep_alive: Option<Duration>,

    /// How long an instance is idle before it is frozen [default: 50ms]
    #[arg(long, env = "SONAGI_FREEZE_AFTER", value_name = "TIME", value_parser = values::duration, hide_env_values = true)]
    freeze_after: Option<Duration>,

    /// How CPU is shared: by weight when cores are scarce, or capped as the providers do [default: weight]
    #[arg(long, env = "SONAGI_CPU", value_enum, value_name = "SHARE", hide_env_values = true)]
    cpu: Option<Cpu>,

    /// Calls of one account at once [default: 1000]
    #[arg(
        long,
        env = "SONAGI_ACCOUNT_CONCURRENCY",
        value_name = "CALLS",
        hide_env_values = true
    )]
    account_concurrency: Option<u32>,

    /// Waits before further attempts of an event that failed [default: 1m,2m]
    #[arg(long, env = "SONAGI_RETRY_DELAYS", value_name = "TIMES", value_delimiter = ',', value_parser = values::duration, hide_env_values = true)]
    retry_delays: Option<Vec<Duration>>,

    /// Age at which an accepted event is given up [default: 6h]
    #[arg(long, env = "SONAGI_EVENT_MAX_AGE", value_name = "TIME", value_parser = values::duration, hide_env_values = true)]
    event_max_age: Option<Duration>,

    /// How long a graceful stop waits for calls under way [default: 15m]
    #[arg(long, env = "SONAGI_DRAIN", value_name = "TIME", value_parser = values::duration, hide_env_values = true)]
    drain: Option<Duration>,

    /// Cells prepared ahead of demand [default: 8]
    #[arg(long, env = "SONAGI_CELLS", value_name = "CELLS", hide_env_values = true)]
    cells: Option<usize>,

    /// How functions reach the outside: the best this host offers; addresses of their own, translated by the host's packet
    /// filter; a network stack in user space (not in this build); a proxy of which variables tell; or not at all
    /// [default: auto]
    #[arg(long, env = "SONAGI_EGRESS", value_enum, value_name = "WAY", hide_env_values = true)]
    egress: Option<Way>,

    /// What functions see of /proc: what runtimes read with the instance's own limits, or their own processes only
    /// [default: compat]
    #[arg(long, env = "SONAGI_PROC", value_enum, value_name = "VIEW", hide_env_values = true)]
    proc: Option<View>,

    /// First uid of those set aside for the nodes of this host [default: 1000000000]
    #[arg(long, env = "SONAGI_UID_BASE", value_name = "UID", hide_env_values = true)]
    uid_base: Option<u32>,

    /// Uids of this node, one for each instance and ready cell [default: 4096]
    #[arg(long, env = "SONAGI_UID_COUNT", value_name = "UIDS", hide_env_values = true)]
    uid_count: Option<u32>,

    /// A further folder to search for language interpreters; may be repeated
    #[arg(
        long,
        env = "SONAGI_INTERPRETERS",
        value_name = "DIR",
        value_delimiter = ',',
        hide_env_values = true
    )]
    interpreters: Option<Vec<PathBuf>>,

    /// File with the key that seals variables and credentials [default: `master.key` in the state directory, made at the
    /// first start]
    #[arg(long, env = "SONAGI_KEY_FILE", value_name = "FILE", hide_env_values = true)]
    key_file: Option<PathBuf>,

    /// Folder with packages that runtimes bring [default: `bundles` in the data directory, or beside the program]
    #[arg(long, env = "SONAGI_BUNDLES", value_name = "DIR", hide_env_values = true)]
    bundles: Option<PathBuf>,

    /// A provider's own setting, for instance openwhisk.concurrent=100; may be repeated
    #[arg(
        long,
        env = "SONAGI_SET",
        value_name = "PROVIDER.NAME=VALUE",
        value_delimiter = ',',
        value_parser = provider_setting,
        hide_env_values = true
    )]
    set: Option<Vec<(String, String)>>,

    /// Accept requests without keys and tokens; only with a loopback address
    #[arg(long, env = "SONAGI_INSECURE_DEV", action = ArgAction::SetTrue, hide_env_values = true)]
    insecure_dev: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cpu {
    Weight,
    Cap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Auto,
    Nat,
    Userspace,
    Proxy,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum View {
    Compat,
    Strict,
}

/// `PROVIDER.NAME=VALUE`, taken apart.
fn provider_setting(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as PROVIDER.NAME=VALUE")?;
    if name
        .split_once('.')
        .is_none_or(|(provider, name)| provider.is_empty() || name.is_empty())
    {
        return Err(format!("{name:?} is not PROVIDER.NAME"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The configuration file, read by the same rules as flags.
#[derive(Debug, Default)]
pub struct File {
    settings: Settings,
    names: Vec<String>,
}

impl File {
    /// Reads its text.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let grammar = Settings::augment_args(
            clap::Command::new("config")
                .no_binary_name(true)
                .disable_help_flag(true),
        )
        // The environment wins over the file and was read with the flags.
        .mut_args(|argument| argument.env(None::<&str>));
        let mut words = Vec::new();
        for (name, value) in &table {
            if grammar
                .get_arguments()
                .all(|argument| argument.get_long() != Some(name))
            {
                return Err(format!("there is no setting {name:?}"));
            }
            match word(value).ok_or_else(|| format!("{name}: a number, a text or a list of texts is expected"))? {
                Word::Value(text) => words.push(format!("--{name}={text}")),
                Word::Switch(true) => words.push(format!("--{name}")),
                Word::Switch(false) => {}
            }
        }
        let matches = grammar.try_get_matches_from(words).map_err(|error| {
            error
                .render()
                .to_string()
                .trim()
                .trim_start_matches("error: ")
                .to_owned()
        })?;
        let settings = Settings::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        Ok(Self {
            settings,
            names: table.keys().cloned().collect(),
        })
    }
}

/// A value of the file as a flag takes it.
enum Word {
    Value(String),
    Switch(bool),
}

fn word(value: &toml::Value) -> Option<Word> {
    match value {
        toml::Value::String(text) => Some(Word::Value(text.clone())),
        toml::Value::Integer(number) => Some(Word::Value(number.to_string())),
        toml::Value::Boolean(switch) => Some(Word::Switch(*switch)),
        toml::Value::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(toml::Value::as_str).collect();
            Some(Word::Value(texts?.join(",")))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// The server's options: flags over file over defaults.
pub fn options(defaults: &Options, flags: &Settings, file: &File) -> Options {
    let file = &file.settings;
    let default = defaults.clone();
    macro_rules! pick {
        ($name:ident) => {
            flags.$name.clone().or_else(|| file.$name.clone())
        };
    }
    Options {
        listen: pick!(listen).unwrap_or(default.listen),
        base_domain: pick!(base_domain).unwrap_or(default.base_domain),
        node_memory: pick!(node_memory).map(Mebibytes).or(default.node_memory),
        keep_alive: pick!(keep_alive).unwrap_or(default.keep_alive),
        freeze_after: pick!(freeze_after).unwrap_or(default.freeze_after),
        cpu: pick!(cpu).map_or(default.cpu, |cpu| match cpu {
            Cpu::Weight => CpuShare::Weight,
            Cpu::Cap => CpuShare::Cap,
        }),
        account_concurrency: pick!(account_concurrency).unwrap_or(default.account_concurrency),
        retry_delays: pick!(retry_delays).unwrap_or(default.retry_delays),
        event_max_age: pick!(event_max_age).unwrap_or(default.event_max_age),
        drain: pick!(drain).unwrap_or(default.drain),
        cells: pick!(cells).unwrap_or(default.cells),
        egress: pick!(egress).map_or(default.egress, |way| match way {
            Way::Auto => Egress::Auto,
            Way::Nat => Egress::Nat,
            Way::Userspace => Egress::Userspace,
            Way::Proxy => Egress::Proxy,
            Way::None => Egress::None,
        }),
        proc: pick!(proc).map_or(default.proc, |view| match view {
            View::Compat => ProcView::Compat,
            View::Strict => ProcView::Strict,
        }),
        uid_base: pick!(uid_base).unwrap_or(default.uid_base),
        uid_count: pick!(uid_count).unwrap_or(default.uid_count),
        interpreters: pick!(interpreters).unwrap_or(default.interpreters),
        key_file: pick!(key_file).or(default.key_file),
        bundles: pick!(bundles).or(default.bundles),
        provider_settings: pick!(set).map_or(default.provider_settings, |set| set.into_iter().collect()),
        // A switch that was not given is `false`, which must not hide the file's.
        insecure_dev: flags.insecure_dev == Some(true) || file.insecure_dev == Some(true) || default.insecure_dev,
        data: default.data,
    }
}

/// Where the setting with this flag comes from. `data` is a flag of every command, the others of this one.
pub fn origin(name: &str, matches: Option<&ArgMatches>, file: &File) -> Origin {
    let id = name.replace('-', "_");
    let source = matches.and_then(|matches| matches.value_source(&id));
    match source {
        Some(ValueSource::CommandLine) => Origin::Flag,
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ if file.names.iter().any(|known| known == name) => Origin::File,
        _ => Origin::Default,
    }
}

/// Every setting with its value, in the form that its flag takes.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn described(options: &Options, origin: impl Fn(&str) -> Origin) -> Vec<Setting> {
    let time = values::duration_text;
    let list = |parts: Vec<String>| parts.join(",");
    let values = [
        ("data", options.data.display().to_string()),
        ("listen", options.listen.to_string()),
        ("base-domain", options.base_domain.clone()),
        (
            "node-memory",
            options
                .node_memory
                .map_or_else(|| "80%".to_owned(), |size| format!("{}MiB", size.0)),
        ),
        ("keep-alive", time(options.keep_alive)),
        ("freeze-after", time(options.freeze_after)),
        (
            "cpu",
            match options.cpu {
                CpuShare::Weight => "weight".to_owned(),
                CpuShare::Cap => "cap".to_owned(),
            },
        ),
        ("account-concurrency", options.account_concurrency.to_string()),
        (
            "retry-delays",
            list(options.retry_delays.iter().copied().map(time).collect()),
        ),
        ("event-max-age", time(options.event_max_age)),
        ("drain", time(options.drain)),
        ("cells", options.cells.to_string()),
        ("egress", options.egress.name().to_owned()),
        (
            "proc",
            match options.proc {
                ProcView::Compat => "compat".to_owned(),
                ProcView::Strict => "strict".to_owned(),
            },
        ),
        ("uid-base", options.uid_base.to_string()),
        ("uid-count", options.uid_count.to_string()),
        (
            "interpreters",
            list(
                options
                    .interpreters
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect(),
            ),
        ),
        (
            "key-file",
            options
                .key_file
                .as_ref()
                .map_or_else(String::new, |path| path.display().to_string()),
        ),
        (
            "bundles",
            options
                .bundles
                .as_ref()
                .map_or_else(String::new, |path| path.display().to_string()),
        ),
        (
            "set",
            list(
                options
                    .provider_settings
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
        ),
        ("insecure-dev", options.insecure_dev.to_string()),
    ];
    values
        .into_iter()
        .map(|(name, value)| Setting {
            name: name.to_owned(),
            value,
            origin: origin(name),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> (Settings, ArgMatches) {
        // `data` is a flag of every command, and comes from there.
        let grammar = clap::Command::new("up")
            .no_binary_name(true)
            .arg(clap::Arg::new("data").long("data"));
        let grammar = Settings::augment_args(grammar);
        let matches = grammar.try_get_matches_from(words).unwrap();
        (Settings::from_arg_matches(&matches).unwrap(), matches)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let text = "keep-alive = \"5m\"\ncells = 3\nretry-delays = [\"1s\", \"2s\"]\ninsecure-dev = true\nlisten = \"127.0.0.1:1\"\n";
        let file = File::parse(text).unwrap();
        let (settings, matches) = flags(&["--keep-alive", "7s", "--cpu", "cap"]);
        let options = options(&Options::new("/d".into()), &settings, &file);
        assert_eq!((options.keep_alive, options.cells), (Duration::from_secs(7), 3));
        assert_eq!(options.retry_delays, [Duration::from_secs(1), Duration::from_secs(2)]);
        assert!(options.insecure_dev && options.cpu == CpuShare::Cap);
        assert_eq!(options.listen.port(), 1);
        let described = described(&options, |name| origin(name, Some(&matches), &file));
        let find = |name: &str| {
            described
                .iter()
                .find(|setting| setting.name == name)
                .map(|setting| (setting.value.as_str(), setting.origin))
        };
        assert_eq!(find("keep-alive"), Some(("7s", Origin::Flag)));
        assert_eq!(find("retry-delays"), Some(("1s,2s", Origin::File)));
        assert_eq!(find("insecure-dev"), Some(("true", Origin::File)));
        assert_eq!(find("base-domain"), Some(("localhost", Origin::Default)));
    }

    #[test]
    fn the_file_is_checked_like_flags() {
        for (text, part) in [
            ("keepalive = \"5m\"", "no setting \"keepalive\""),
            ("keep-alive = \"soon\"", "no duration"),
            ("cells = 1.5", "a number, a text"),
            ("cpu = \"all\"", "invalid value"),
            ("[listen]", "a number, a text"),
            ("=", "TOML"),
        ] {
            let error = File::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(File::parse("insecure-dev = false").unwrap().settings.insecure_dev != Some(true));
    }

    #[test]
    fn every_described_setting_is_a_flag() {
        let grammar = Settings::augment_args(clap::Command::new("up"));
        let described = described(&Options::new("/d".into()), |_| Origin::Default);
        let named: Vec<&str> = described
            .iter()
            .map(|setting| setting.name.as_str())
            .filter(|name| *name != "data")
            .collect();
        let flags: Vec<&str> = grammar.get_arguments().filter_map(clap::Arg::get_long).collect();
        assert_eq!(named, flags);
    }
}
