//! Which crate may depend on which: the picture in `ARCHITECTURE.md` as a table.

use cargo_metadata::{DependencyKind, Metadata};

/// Every crate of ours with the crates of ours that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sonagi-model", &[]),
    ("sonagi-crash", &[]),
    ("sonagi-ports", &["sonagi-model"]),
    ("sonagi-meter", &["sonagi-model"]),
    ("sonagi-wire", &["sonagi-model"]),
    ("sonagi-api", &["sonagi-model"]),
    ("sonagi-events", &["sonagi-model", "sonagi-ports"]),
    (
        "sonagi-triggers",
        &["sonagi-model", "sonagi-ports", "sonagi-control", "sonagi-crash"],
    ),
    ("sonagi-queues", &["sonagi-model", "sonagi-ports"]),
    ("sonagi-pool", &["sonagi-model", "sonagi-ports"]),
    ("sonagi-control", &["sonagi-model", "sonagi-ports"]),
    ("sonagi-store", &["sonagi-model", "sonagi-ports", "sonagi-crash"]),
    ("sonagi-sandbox-linux", &["sonagi-model", "sonagi-ports"]),
    ("sonagi-egress", &["sonagi-model", "sonagi-ports"]),
    ("sonagi-objects", &["sonagi-model", "sonagi-ports", "sonagi-crash"]),
    (
        "sonagi-dispatch",
        &[
            "sonagi-model",
            "sonagi-ports",
            "sonagi-pool",
            "sonagi-meter",
            "sonagi-events",
            "sonagi-crash",
        ],
    ),
    (
        "sonagi-aws-s3",
        &[
            "sonagi-model",
            "sonagi-ports",
            "sonagi-objects",
            "sonagi-crash",
            "sonagi-wire",
        ],
    ),
    (
        "sonagi-aws",
        &[
            "sonagi-objects",
            "sonagi-aws-s3",
            "sonagi-model",
            "sonagi-ports",
            "sonagi-control",
            "sonagi-dispatch",
            "sonagi-triggers",
            "sonagi-queues",
            "sonagi-meter",
            "sonagi-wire",
        ],
    ),
    (
        "sonagi-openwhisk",
        &[
            "sonagi-model",
            "sonagi-ports",
            "sonagi-control",
            "sonagi-dispatch",
            "sonagi-triggers",
            "sonagi-meter",
            "sonagi-wire",
        ],
    ),
    (
        "sonagi-fn",
        &[
            "sonagi-model",
            "sonagi-ports",
            "sonagi-control",
            "sonagi-dispatch",
            "sonagi-meter",
            "sonagi-wire",
        ],
    ),
    (
        "sonagi-server",
        &[
            "sonagi-model",
            "sonagi-ports",
            "sonagi-pool",
            "sonagi-dispatch",
            "sonagi-queues",
            "sonagi-control",
            "sonagi-meter",
            "sonagi-sandbox-linux",
            "sonagi-egress",
            "sonagi-crash",
            "sonagi-store",
            "sonagi-wire",
            "sonagi-api",
            "sonagi-triggers",
            "sonagi-aws",
            "sonagi-objects",
            "sonagi-openwhisk",
            "sonagi-fn",
        ],
    ),
    ("sonagi", &["sonagi-model", "sonagi-api", "sonagi-server"]),
    ("sonagi-measure", &[]),
    ("sonagi-testkit", &[]),
    ("sonagi-e2e", &["sonagi-testkit"]),
    ("sonagi-conformance", &["sonagi-testkit"]),
    ("sonagi-attacks", &["sonagi-testkit"]),
    ("sonagi-chaos", &["sonagi-testkit", "sonagi-crash"]),
    ("sonagi-bench", &["sonagi-measure", "sonagi-testkit"]),
    ("xtask", &[]),
];

/// What tests of any crate may use besides: its own crate again with another feature, and the kit.
const FOR_TESTS: &[&str] = &["sonagi-testkit"];

/// A crate of ours and what it depends on among ours; true for what only its tests use.
#[derive(Debug)]
pub struct Member {
    name: String,
    uses: Vec<(String, bool)>,
}

/// Our crates.
pub fn members(metadata: &Metadata) -> Vec<Member> {
    let uses = |package: &&cargo_metadata::Package| {
        let ours = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some());
        ours.map(|dependency| (dependency.name.clone(), dependency.kind == DependencyKind::Development))
            .collect()
    };
    let packages = metadata.workspace_packages();
    packages
        .iter()
        .map(|package| Member {
            name: package.name.to_string(),
            uses: uses(package),
        })
        .collect()
}

/// Arrows that are not drawn, crates that are not in the table, and lines of the table without a crate.
pub fn check(members: &[Member]) -> Vec<String> {
    let mut findings = Vec::new();
    for member in members {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == member.name) else {
            findings.push(format!("{}: not in the table of crate arrows", member.name));
            continue;
        };
        for (used, in_tests) in &member.uses {
            let drawn = allowed.contains(&used.as_str());
            let for_tests = *in_tests && (*used == member.name || FOR_TESTS.contains(&used.as_str()));
            if !drawn && !for_tests {
                findings.push(format!("{} must not depend on {used}", member.name));
            }
        }
    }
    for (name, _) in ALLOWED {
        if !members.iter().any(|member| member.name == *name) {
            findings.push(format!(
                "{name}: in the table of crate arrows, but there is no such crate"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Member> {
        ALLOWED
            .iter()
            .map(|(name, _)| Member {
                name: (*name).to_owned(),
                uses: Vec::new(),
            })
            .collect()
    }

    fn with(name: &str, uses: &str, in_tests: bool) -> Vec<String> {
        let mut members = all();
        members
            .iter_mut()
            .find(|member| member.name == name)
            .unwrap()
            .uses
            .push((uses.to_owned(), in_tests));
        check(&members)
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_found() {
        assert_eq!(check(&all()), Vec::<String>::new());
        assert!(with("sonagi-pool", "sonagi-ports", false).is_empty());
        assert_eq!(
            with("sonagi-pool", "sonagi-store", false),
            ["sonagi-pool must not depend on sonagi-store"]
        );
        assert_eq!(
            with("sonagi-pool", "sonagi-store", true),
            ["sonagi-pool must not depend on sonagi-store"]
        );
        assert_eq!(with("sonagi-model", "sonagi-ports", false).len(), 1);
    }

    #[test]
    fn tests_may_use_their_own_crate_and_the_kit() {
        assert!(with("sonagi-ports", "sonagi-ports", true).is_empty());
        assert!(with("sonagi-aws", "sonagi-testkit", true).is_empty());
        assert_eq!(with("sonagi-aws", "sonagi-testkit", false).len(), 1);
    }

    #[test]
    fn crates_and_table_agree() {
        let mut members = all();
        members.pop();
        members.push(Member {
            name: "sonagi-new".to_owned(),
            uses: Vec::new(),
        });
        let findings = check(&members);
        assert_eq!(findings.len(), 2, "{findings:?}");
    }
}
