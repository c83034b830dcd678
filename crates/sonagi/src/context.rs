//! What every command shares: where the platform's state is, how to reach it, which namespace is meant, how to print.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sonagi_api::{Client, Scope};

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// The form of what goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document (`logs`: one per line).
    Json,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// State directory of the platform [default: /var/lib/sonagi for root, else $XDG_STATE_HOME/sonagi or
    /// ~/.local/state/sonagi]
    #[arg(long, global = true, env = "SONAGI_DATA", value_name = "DIR", hide_env_values = true)]
    data: Option<PathBuf>,

    /// Address of the platform [default: the file `endpoint` in the state directory]
    #[arg(
        long,
        global = true,
        env = "SONAGI_SERVER",
        value_name = "URL",
        hide_env_values = true
    )]
    server: Option<String>,

    /// Namespace of functions [default: the account's]
    #[arg(
        long,
        global = true,
        env = "SONAGI_NAMESPACE",
        value_name = "NAMESPACE",
        hide_env_values = true
    )]
    namespace: Option<String>,

    /// Account whose namespace is meant [default: the first one]
    #[arg(
        long,
        global = true,
        env = "SONAGI_ACCOUNT",
        value_name = "ID",
        hide_env_values = true
    )]
    account: Option<String>,

    /// Form of the output
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

impl Global {
    /// The state directory.
    pub fn data(&self) -> Result<PathBuf> {
        match &self.data {
            Some(data) => Ok(data.clone()),
            None => default_data(),
        }
    }

    /// The form of the output.
    pub const fn format(&self) -> Format {
        self.output
    }

    /// The account that was named.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The namespace that is meant.
    pub fn scope(&self) -> Scope {
        Scope {
            namespace: self.namespace.clone(),
            provider: None,
            account: self.account.clone(),
        }
    }

    /// The state directory that was named.
    pub fn given_data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// A client of the platform that was named by its address, or by its state directory and runs.
    pub fn running(&self) -> Result<Option<Client>> {
        if self.server.is_some() {
            return self.client().map(Some);
        }
        let Some(data) = self.given_data() else {
            return Ok(None);
        };
        let Some(endpoint) = read(data, "endpoint")? else {
            return Ok(None);
        };
        // The file of one that has ended is still there.
        let address = endpoint.strip_prefix("http://").unwrap_or(&endpoint);
        match std::net::TcpStream::connect(address) {
            Ok(_listens) => self.client().map(Some),
            Err(_nobody) => Ok(None),
        }
    }

    /// A client of the platform at this address, whose state directory this is.
    pub fn client_of(&self, endpoint: &str, data: &Path) -> Result<Client> {
        Ok(Client::new(endpoint, read(data, "token")?.as_deref())?)
    }

    /// A client of the platform.
    pub fn client(&self) -> Result<Client> {
        let data = self.data()?;
        let endpoint = match &self.server {
            Some(server) => server.clone(),
            None => read(&data, "endpoint")?.ok_or_else(|| no_platform(&data))?,
        };
        let token = match std::env::var("SONAGI_TOKEN") {
            Ok(token) => Some(token),
            Err(_) => read(&data, "token")?,
        };
        Ok(Client::new(&endpoint, token.as_deref())?)
    }
}

fn no_platform(data: &Path) -> Failure {
    let message = format!(
        "no platform has been started with the state directory {}",
        data.display()
    );
    Failure::new(Exit::Unreachable, message)
        .hint("start one with `sonagi up`, or name its directory with --data or its address with --server")
}

/// A small text file of the state directory; `None` if there is none.
fn read(data: &Path, name: &str) -> Result<Option<String>> {
    let path = data.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(
            Failure::caused(Exit::Failure, format!("{} cannot be read", path.display()), &error)
                .hint("use the account that started the platform, or set SONAGI_SERVER and SONAGI_TOKEN"),
        ),
    }
}

fn default_data() -> Result<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let kind = if rustix::process::geteuid().is_root() {
        User::Root
    } else {
        User::Ordinary
    };
    data_for(kind, variable("XDG_STATE_HOME"), variable("HOME")).ok_or_else(|| {
        Failure::usage("neither HOME nor XDG_STATE_HOME says where the state directory is").hint("name it with --data")
    })
}

/// Whose state directory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    Root,
    Ordinary,
}

fn data_for(user: User, state_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    match user {
        User::Root => Some(PathBuf::from("/var/lib/sonagi")),
        User::Ordinary => {
            // The XDG base directory specification: a relative path is to be ignored.
            let base = state_home
                .filter(|path| path.is_absolute())
                .or_else(|| home.map(|home| home.join(".local/state")));
            base.map(|base| base.join("sonagi"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_has_a_default_for_everybody() {
        let check = |user, state: Option<&str>, home: Option<&str>, expected: Option<&str>| {
            let found = data_for(user, state.map(PathBuf::from), home.map(PathBuf::from));
            assert_eq!(found, expected.map(PathBuf::from));
        };
        check(User::Root, Some("/s"), Some("/h"), Some("/var/lib/sonagi"));
        check(User::Ordinary, Some("/s"), Some("/h"), Some("/s/sonagi"));
        check(
            User::Ordinary,
            Some("relative"),
            Some("/h"),
            Some("/h/.local/state/sonagi"),
        );
        check(User::Ordinary, None, Some("/h"), Some("/h/.local/state/sonagi"));
        check(User::Ordinary, None, None, None);
    }
}
