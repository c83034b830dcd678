//! `deny.toml` (in the form of the well-known checker, of which we need four rules) against the crates that are used.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::Metadata;
use serde::Deserialize;

use super::license;

/// What third-party crates must meet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    multiple_versions: Answer,
    deny: Vec<Entry>,
    skip: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    unknown_registry: Answer,
    unknown_git: Answer,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Deny,
    Allow,
}

/// A crate, or one version of it as `name@version`, and why it is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// A third-party crate in use.
#[derive(Debug, Clone)]
pub struct Used {
    name: String,
    version: String,
    license: Option<String>,
    origin: Origin,
}

/// Where a crate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    CratesIo,
    Registry,
    Git,
}

/// Everything in the graph that is not ours.
pub fn third_party(metadata: &Metadata) -> Vec<Used> {
    let used = |package: &cargo_metadata::Package| {
        let source = package.source.as_ref()?;
        let origin = match (source.is_crates_io(), source.repr.starts_with("git+")) {
            (true, _) => Origin::CratesIo,
            (false, true) => Origin::Git,
            (false, false) => Origin::Registry,
        };
        let (name, version) = (package.name.to_string(), package.version.to_string());
        Some(Used {
            name,
            version,
            license: package.license.clone(),
            origin,
        })
    };
    metadata.packages.iter().filter_map(used).collect()
}

impl Policy {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or has something that no rule here reads.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("{}", file.display()))
    }

    /// What is used against a rule, and rules that have become idle.
    pub fn check(&self, used: &[Used]) -> Vec<String> {
        let mut findings = Vec::new();
        for one in used {
            let named = format!("{}@{}", one.name, one.version);
            match &one.license {
                Some(license) if license::is_met(license, &self.licenses.allow) => {}
                Some(license) => findings.push(format!("{named}: license {license:?} is not allowed")),
                None => findings.push(format!("{named}: states no license")),
            }
            let refused = match one.origin {
                Origin::CratesIo => false,
                Origin::Registry => self.sources.unknown_registry == Answer::Deny,
                Origin::Git => self.sources.unknown_git == Answer::Deny,
            };
            if refused {
                findings.push(format!("{named}: does not come from the registry"));
            }
            if let Some(entry) = self.bans.deny.iter().find(|entry| entry.name == one.name) {
                findings.push(format!("{named}: banned: {}", entry.reason));
            }
        }
        findings.extend(self.duplicates(used));
        findings
    }

    fn duplicates(&self, used: &[Used]) -> Vec<String> {
        if self.bans.multiple_versions == Answer::Allow {
            return Vec::new();
        }
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for one in used {
            versions.entry(&one.name).or_default().push(&one.version);
        }
        let mut findings = Vec::new();
        for entry in &self.bans.skip {
            let (name, version) = entry.name.split_once('@').unwrap_or((&entry.name, ""));
            let several = versions.get_mut(name).filter(|found| found.len() > 1);
            let listed = several.and_then(|found| {
                let at = found.iter().position(|one| *one == version)?;
                Some(found.remove(at))
            });
            if listed.is_none() {
                findings.push(format!(
                    "deny.toml: skip {} ({}) matches nothing any more",
                    entry.name, entry.reason
                ));
            }
        }
        for (name, found) in versions.iter().filter(|(_, found)| found.len() > 1) {
            findings.push(format!(
                "{name}: versions {} at once; skip all but one with a reason",
                found.join(", ")
            ));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        [licenses]
        allow = ["MIT"]
        [bans]
        multiple-versions = "deny"
        deny = [{ crate = "openssl", reason = "one TLS library" }]
        skip = [{ crate = "syn@2.0.0", reason = "old derive" }]
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
    "#;

    fn used(name: &str, version: &str) -> Used {
        let license = Some("MIT".to_owned());
        Used {
            name: name.to_owned(),
            version: version.to_owned(),
            license,
            origin: Origin::CratesIo,
        }
    }

    fn check(more: &[Used]) -> Vec<String> {
        let policy: Policy = toml::from_str(POLICY).unwrap();
        policy.check(&[&[used("syn", "2.0.0"), used("syn", "3.0.0")], more].concat())
    }

    #[test]
    fn each_rule_can_fail() {
        assert_eq!(check(&[used("a", "1.0.0")]), Vec::<String>::new());
        let cases = [
            Used {
                license: Some("GPL-3.0".to_owned()),
                ..used("a", "1.0.0")
            },
            Used {
                license: None,
                ..used("a", "1.0.0")
            },
            Used {
                origin: Origin::Git,
                ..used("a", "1.0.0")
            },
            Used {
                origin: Origin::Registry,
                ..used("a", "1.0.0")
            },
            used("openssl", "1.0.0"),
            used("syn", "1.0.0"),
        ];
        for case in cases {
            let findings = check(std::slice::from_ref(&case));
            assert_eq!(findings.len(), 1, "{case:?}: {findings:?}");
        }
    }

    #[test]
    fn a_skip_that_matches_nothing_is_found() {
        let policy: Policy = toml::from_str(POLICY).unwrap();
        assert_eq!(policy.check(&[used("syn", "3.0.0")]).len(), 1);
    }

    #[test]
    fn a_rule_that_nobody_reads_is_an_error() {
        assert!(toml::from_str::<Policy>(&format!("{POLICY}\nother = 1")).is_err());
    }
}
