//! `sonagi new`: a small project to begin with.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::{output, project};

/// Write a small project to begin with
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi new hello --template python && sonagi deploy hello
  sonagi new api --template node
  sonagi new fast --template rust
  sonagi new tiny --template bash")]
pub struct New {
    /// Folder to make; its name becomes the function's
    name: PathBuf,

    /// What to begin with
    #[arg(short, long, value_enum, value_name = "TEMPLATE")]
    template: Template,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    Python,
    Node,
    Rust,
    Bash,
}

/// A file of a template: path, content, mode.
type TemplateFile = (&'static str, &'static str, u32);

impl Template {
    const fn files(self) -> &'static [TemplateFile] {
        match self {
            Self::Python => &[("app.py", include_str!("../../templates/python/app.py"), 0o644)],
            Self::Node => &[("index.mjs", include_str!("../../templates/node/index.mjs"), 0o644)],
            Self::Rust => &[
                ("Cargo.toml", include_str!("../../templates/rust/manifest.toml"), 0o644),
                ("src/main.rs", include_str!("../../templates/rust/main.rs"), 0o644),
            ],
            Self::Bash => &[("bootstrap", include_str!("../../templates/bash/bootstrap"), 0o755)],
        }
    }
}

impl New {
    /// Does it.
    pub fn run(self, global: &Global) -> Result {
        let shown = self.name.display().to_string();
        let name = self
            .name
            .file_name()
            .and_then(|name| project::name::from_text(name.to_str()?));
        let name =
            name.ok_or_else(|| Failure::usage(format!("{shown:?} has no letter or digit to name a function by")))?;
        make_empty(&self.name)?;
        let mut written = Vec::new();
        for (path, content, mode) in self.template.files() {
            let target = self.name.join(path);
            write(&target, &content.replace("{{name}}", &name), *mode).map_err(|error| {
                Failure::caused(Exit::Failure, format!("{} cannot be written", target.display()), &error)
            })?;
            written.push(target.display().to_string());
        }
        global
            .format()
            .print(&serde_json::json!({ "files": written }), || written.join("\n"))?;
        output::next(&format!("sonagi deploy {}", super::deploy::shell(&shown)));
        Ok(())
    }
}

/// Makes the folder; one that is there must be empty.
fn make_empty(folder: &Path) -> Result {
    let failed =
        |error: &io::Error| Failure::caused(Exit::Failure, format!("{} cannot be made", folder.display()), error);
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(false) => Err(Failure::new(
            Exit::Refused,
            format!("{} is there already and not empty", folder.display()),
        )
        .hint("choose another name: nothing is overwritten")),
        Ok(true) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).map_err(|error| failed(&error))
        }
        Err(error) => Err(failed(&error)),
    }
}

fn write(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::files::Folder;
    use crate::project::{Wish, recognize};

    #[test]
    fn every_template_is_recognized() {
        for template in Template::value_variants() {
            let root = tempfile::tempdir().unwrap();
            for (path, content, mode) in template.files() {
                write(&root.path().join(path), &content.replace("{{name}}", "hello"), *mode).unwrap();
            }
            let folder = Folder::open(root.path(), &[]).unwrap();
            recognize(&folder, &Wish::default(), None).unwrap_or_else(|error| panic!("{template:?}: {error}"));
        }
    }
}
