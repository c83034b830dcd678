//! What a launch plan must be so that the spawner can take it. Pure checks.

use sonagi_ports::{CellKind, LaunchPlan, Mount, SandboxError};

use crate::channel::{DESCRIPTORS_MAX, MESSAGE_MAX};
use crate::wire::{START_HEADER_LEN, START_MESSAGE_MAX, STRINGS_MAX};

/// Most mounts of one plan.
const MOUNTS_MAX: usize = 256;
/// Bytes of an order beside its strings: names of fields, numbers.
const ORDER_OVERHEAD: usize = 4096;
/// Descriptors that come with a start beside the listeners.
const OTHER_DESCRIPTORS: usize = 2;
/// Most arguments and variables of a stem, and most bytes of them together.
const STEM_MAX: (usize, usize) = (256, 16 * 1024);

/// Checks a plan.
///
/// # Errors
/// [`SandboxError::Program`] for what the function's owner may have caused, [`SandboxError::Host`] for the rest.
pub(crate) fn check(plan: &LaunchPlan) -> Result<(), SandboxError> {
    let name = plan.program.first().cloned().unwrap_or_default();
    let refuse = |reason: &str| {
        Err(SandboxError::Program {
            program: name.clone(),
            reason: reason.to_owned(),
        })
    };
    if !name.starts_with('/') {
        return refuse("not an absolute path");
    }
    let folder = [plan.working_directory.as_str()];
    let arguments = plan.program.iter().map(String::as_str);
    let variables = plan
        .environment
        .iter()
        .flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    let (mut bytes, mut escaped) = (START_HEADER_LEN, ORDER_OVERHEAD);
    for text in folder.into_iter().chain(arguments).chain(variables) {
        if text.contains('\0') {
            return refuse("an argument or variable contains a NUL character");
        }
        // With its terminator, or the sign between name and value.
        bytes += text.len() + 1;
        escaped += json_length(text);
    }
    if plan
        .environment
        .iter()
        .any(|(name, _)| name.is_empty() || name.contains('='))
    {
        return refuse("a variable has no name, or one with '='");
    }
    let strings = plan.program.len() + plan.environment.len();
    if bytes > START_MESSAGE_MAX || escaped > MESSAGE_MAX || strings > STRINGS_MAX {
        return refuse("Argument list too long");
    }
    check_kind(&plan.cell)?;
    check_mounts(std::slice::from_ref(&plan.code))?;
    let served = plan.listeners.len() + plan.sockets.len();
    if served > DESCRIPTORS_MAX - OTHER_DESCRIPTORS {
        return Err(wrong(format!("{served} listeners")));
    }
    Ok(())
}

/// Checks a kind of cells: that of a plan, or one that is expected.
///
/// # Errors
/// [`SandboxError::Host`]: it is chosen by the platform.
pub(crate) fn check_kind(kind: &CellKind) -> Result<(), SandboxError> {
    check_mounts(&kind.mounts)?;
    let Some(stem) = &kind.stem else { return Ok(()) };
    let variables = stem.environment.iter().flat_map(|(name, value)| [name, value]);
    let texts: Vec<&String> = stem.program.iter().chain(variables).collect();
    let bytes: usize = texts.iter().map(|text| json_length(text)).sum();
    let absolute = stem.program.first().is_some_and(|program| program.starts_with('/'));
    if !absolute || texts.len() > STEM_MAX.0 || bytes > STEM_MAX.1 || texts.iter().any(|text| text.contains('\0')) {
        return Err(wrong(format!("the stem {:?}", stem.program)));
    }
    Ok(())
}

fn check_mounts(mounts: &[Mount]) -> Result<(), SandboxError> {
    let mut escaped = ORDER_OVERHEAD;
    for mount in mounts {
        let plain = |part: &str| part != ".." && !part.contains('\0');
        if !mount.target.starts_with('/') || mount.target.len() < 2 || !mount.target.split('/').all(plain) {
            return Err(wrong(format!("the target {:?}", mount.target)));
        }
        let Some(source) = mount.source.to_str().filter(|_| mount.source.is_absolute()) else {
            return Err(wrong(format!("the source {:?}", mount.source)));
        };
        escaped += json_length(source) + json_length(&mount.target) + 64;
    }
    if mounts.len() > MOUNTS_MAX || escaped > MESSAGE_MAX {
        return Err(wrong(format!("{} mounts", mounts.len())));
    }
    Ok(())
}

fn wrong(reason: String) -> SandboxError {
    SandboxError::Host {
        action: "use the launch plan",
        reason,
    }
}

/// Most bytes that a text takes in JSON, quotes and comma included.
fn json_length(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    text.bytes().map(byte).sum::<usize>() + 3
}

#[cfg(test)]
mod tests {
    use sonagi_model::{InstanceId, InstanceLimits, Mebibytes};
    use sonagi_ports::Stem;

    use super::*;

    fn plan() -> LaunchPlan {
        LaunchPlan {
            instance: InstanceId::generate(),
            cell: CellKind {
                mounts: Vec::new(),
                stem: None,
                outside: sonagi_model::Outside::Open,
            },
            code: Mount {
                source: "/code".into(),
                target: "/var/task".to_owned(),
                executable: true,
            },
            program: vec!["/bin/x".to_owned()],
            environment: vec![("A".to_owned(), "b".to_owned())],
            working_directory: "/".to_owned(),
            listeners: vec![1],
            sockets: Vec::new(),
            channel: true,
            meets_in_scratch: false,
            limits: InstanceLimits::for_sizes(Mebibytes(128), Mebibytes(512)),
        }
    }

    fn refused(change: impl FnOnce(&mut LaunchPlan)) -> String {
        let mut plan = plan();
        change(&mut plan);
        check(&plan).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_executed_is_the_owners_to_mend() {
        check(&plan()).unwrap();
        assert_eq!(
            refused(|plan| plan.program.clear()),
            "cannot execute : not an absolute path"
        );
        assert_eq!(
            refused(|plan| plan.program[0] = "x".to_owned()),
            "cannot execute x: not an absolute path"
        );
        for text in [
            refused(|plan| plan.environment[0].1 = "\0".to_owned()),
            refused(|plan| plan.environment[0].0 = "A=".to_owned()),
            refused(|plan| plan.environment[0].1 = "x".repeat(START_MESSAGE_MAX)),
            refused(|plan| plan.environment[0].1 = "\n".repeat(MESSAGE_MAX / 6)),
            refused(|plan| plan.program.extend(vec![String::new(); STRINGS_MAX])),
        ] {
            assert!(text.starts_with("cannot execute /bin/x: "), "{text}");
        }
    }

    #[test]
    fn what_the_platform_chose_is_the_platforms_fault() {
        for text in [
            refused(|plan| plan.code.target = "var/task".to_owned()),
            refused(|plan| plan.code.target = "/var/../etc".to_owned()),
            refused(|plan| plan.code.target = "/".to_owned()),
            refused(|plan| plan.code.source = "code".into()),
            refused(|plan| plan.cell.mounts = vec![plan.code.clone(); MOUNTS_MAX + 1]),
            refused(|plan| {
                plan.cell.stem = Some(Stem {
                    program: vec!["x".to_owned()],
                    environment: Vec::new(),
                    forks: false,
                });
            }),
            refused(|plan| plan.listeners = vec![1; 15]),
        ] {
            assert!(text.starts_with("use the launch plan: "), "{text}");
        }
    }
}
