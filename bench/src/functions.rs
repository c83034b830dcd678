//! Many functions at once, made through the provider's own client.

use anyhow::{Result, ensure};
use sonagi_testkit::{Client, Platform};

use crate::load::Target;

const SCRIPT: &str = include_str!("../reference/many.py");

/// What functions are made of.
#[derive(Debug, Clone)]
pub struct Many<'a> {
    /// Begin of their names.
    pub prefix: &'a str,
    /// Number of the first one.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Memory of an instance, MiB.
    pub memory_mib: u32,
    /// The source of `app.py`.
    pub source: &'a str,
    /// A static program as a custom runtime, instead of Python.
    pub program: Option<&'a std::path::Path>,
}

impl Many<'_> {
    /// Makes them, without URLs.
    ///
    /// # Errors
    /// The platform refuses one.
    pub async fn deploy(&self, platform: &Platform) -> Result<()> {
        self.make(platform, false).await.map(drop)
    }

    /// Makes them with public URLs and says where to call them.
    ///
    /// # Errors
    /// The platform refuses one.
    pub async fn deploy_with_urls(&self, platform: &Platform) -> Result<Vec<Target>> {
        let text = self.make(platform, true).await?;
        let targets: Vec<Target> = text
            .lines()
            .map(|url| crate::suites::target(platform, url.trim()))
            .collect::<Result<_>>()?;
        ensure!(
            targets.len() == self.count,
            "{} URLs for {} functions",
            targets.len(),
            self.count
        );
        Ok(targets)
    }

    async fn make(&self, platform: &Platform, urls: bool) -> Result<String> {
        let spec = serde_json::json!({
            "runtime": if self.program.is_some() { "provided.al2023" } else { "python3.11" },
            "file": if self.program.is_some() { "name.txt" } else { "app.py" },
            "program": self.program,
            "source": self.source,
        });
        let arguments = [
            "-c".to_owned(),
            SCRIPT.to_owned(),
            self.prefix.to_owned(),
            self.first.to_string(),
            self.count.to_string(),
            self.memory_mib.to_string(),
            u8::from(urls).to_string(),
            spec.to_string(),
        ];
        let made = Client::Boto3.run(arguments, &platform.aws().await).await;
        ensure!(
            made.success,
            "deploying {} functions failed: {}",
            self.count,
            made.stderr
        );
        Ok(made.stdout)
    }
}
