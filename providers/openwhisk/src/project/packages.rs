//! The packages of a manifest, whichever of its ways it writes them in, with what a deployment file gives them besides.
//! Source: apache/openwhisk-wskdeploy 1.2.0, `parsers/yamlparser.go`, `docs/programming_guide.md` ("deployment file").

use serde_json::{Map, Value};

use super::ProjectError;
use super::node::Node;

/// Members that say nothing of what is to be made: where wskdeploy would send it, and for people.
const INFORMATION: [&str; 10] = [
    "name",
    "version",
    "license",
    "namespace",
    "credential",
    "apiHost",
    "apigwAccessToken",
    "config",
    "description",
    "repositories",
];

/// Name and description of every package.
pub(super) fn of<'a>(root: &Node<'a>) -> Result<Vec<(String, Node<'a>)>, ProjectError> {
    let containers = ["project", "packages", "package"];
    root.only(&[&containers[..], &INFORMATION[..]].concat())?;
    let mut found = Vec::new();
    let holders = [Some(root.clone()), root.any(&["project"])];
    for holder in holders.into_iter().flatten() {
        let all = holder.members_of("packages")?;
        found.extend(all.into_iter().map(|(name, node)| (name.to_owned(), node)));
        if let Some(package) = holder.get("package") {
            let name = package
                .get("name")
                .ok_or_else(|| package.wrong("the package has no name", "add `name:`"))?;
            found.push((name.text()?.to_owned(), package));
        }
    }
    if let Some(project) = root.get("project") {
        project.only(&[&["packages", "package"][..], &INFORMATION[..]].concat())?;
    }
    if found.is_empty() {
        return Err(root.wrong(
            "there are no packages",
            "write them below `packages:`, each with its `actions:`",
        ));
    }
    Ok(found)
}

/// The manifest with the inputs and annotations of a deployment file over its own.
///
/// # Errors
/// The file names something that the manifest has not.
pub(super) fn overlaid(mut manifest: Value, deployment: &Node<'_>) -> Result<Value, ProjectError> {
    for (name, given) in of(deployment)? {
        let target = package_of(&mut manifest, &name);
        let target = target.ok_or_else(|| given.wrong("the manifest has no such package", ""))?;
        lay(target, &given)?;
        for collection in ["actions", "triggers", "sequences"] {
            for (entity, given) in given.members_of(collection)? {
                let target = target.get_mut(collection).and_then(|all| all.get_mut(entity));
                lay(
                    target.ok_or_else(|| given.wrong("the manifest has none of this name", ""))?,
                    &given,
                )?;
            }
        }
    }
    Ok(manifest)
}

fn package_of<'a>(manifest: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let inside = manifest
        .get("project")
        .is_some_and(|project| project["packages"].get(name).is_some());
    let holder = if inside { manifest.get_mut("project")? } else { manifest };
    if holder["package"]["name"] == *name {
        return holder.get_mut("package");
    }
    holder.get_mut("packages")?.get_mut(name)
}

/// Lays inputs and annotations over those that are there.
fn lay(target: &mut Value, given: &Node<'_>) -> Result<(), ProjectError> {
    for member in ["inputs", "annotations"] {
        for (key, value) in given.members_of(member)? {
            if target.is_null() {
                *target = Value::Object(Map::new());
            }
            let values = &mut target[member];
            if values.is_null() {
                *values = Value::Object(Map::new());
            }
            let described = values.get(key).is_some_and(|known| known.get("type").is_some());
            if described && !value.value.is_object() {
                values[key]["value"] = value.value.clone();
            } else {
                values[key] = value.value.clone();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packages_are_found_wherever_they_are() {
        let check = |manifest: Value| {
            let root = Node::root("m", &manifest);
            of(&root).map(|all| all.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(check(json!({"packages": {"a": {}, "b": null}})).unwrap(), ["a", "b"]);
        assert_eq!(
            check(json!({"project": {"name": "x", "packages": {"a": {}}}})).unwrap(),
            ["a"]
        );
        assert_eq!(check(json!({"package": {"name": "a"}})).unwrap(), ["a"]);
        assert!(check(json!({"project": {"name": "x"}})).is_err());
        let error = check(json!({"pakages": {}})).unwrap_err();
        assert_eq!(error.to_string(), "m: pakages: this key is not known here");
    }

    #[test]
    fn a_deployment_file_gives_inputs() {
        let manifest = json!({"packages": {"p": {"actions": {"a": {"inputs": {"x": 1, "y": {"type": "integer"}}}}}}});
        let given =
            json!({"project": {"name": "n", "packages": {"p": {"actions": {"a": {"inputs": {"x": 2, "y": 3}}}}}}});
        let whole = overlaid(manifest.clone(), &Node::root("d", &given)).unwrap();
        let inputs = &whole["packages"]["p"]["actions"]["a"]["inputs"];
        assert_eq!(*inputs, json!({"x": 2, "y": {"type": "integer", "value": 3}}));
        let wrong = json!({"packages": {"p": {"actions": {"b": {}}}}});
        let error = overlaid(manifest, &Node::root("d", &wrong)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "d: packages.p.actions.b: the manifest has none of this name"
        );
    }
}
