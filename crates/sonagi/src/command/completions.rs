//! `sonagi completions`: completion scripts for shells.

use clap::Args;
use clap_complete::Shell;

use crate::failure::Result;
use crate::output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi completions bash > /etc/bash_completion.d/sonagi
  sonagi completions fish > ~/.config/fish/completions/sonagi.fish
  source <(sonagi completions zsh)")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Does it.
    pub fn run(self) -> Result {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::cli::grammar(), "sonagi", &mut script);
        output::data(&script)
    }
}
