//! What a manifest asks for, as the requests that make it, in an order in which each finds what it needs.
//! Source: apache/openwhisk-wskdeploy 1.2.0, `parsers/manifest_parser.go`, `deployers/servicedeployer.go`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::node::Node;
use super::variables::filled;
use super::{ProjectError, inputs, packages};

/// The package that is none.
const DEFAULT: &str = "default";

/// Where an action's code is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Code {
    /// In this file or folder of the project, with more files beside it (source, target).
    File {
        path: String,
        include: Vec<(String, String)>,
    },
    /// In the manifest.
    Inline(String),
    /// In an image, with this file or not.
    None,
}

/// An entity to be put.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Put {
    /// The place in the manifest.
    pub(super) at: String,
    /// `actions`, `packages`, `triggers` or `rules`.
    pub(super) collection: &'static str,
    /// `package/name`, or `name`.
    pub(super) name: String,
    pub(super) body: Map<String, Value>,
    /// Of an action that is no sequence.
    pub(super) code: Option<Code>,
}

/// A trigger's feed to be told of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Feed {
    pub(super) at: String,
    pub(super) trigger: String,
    /// The feed's full name.
    pub(super) feed: String,
    pub(super) arguments: Map<String, Value>,
}

/// An operation of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) at: String,
    pub(super) title: String,
    pub(super) base: String,
    pub(super) path: String,
    pub(super) method: String,
    /// `package/name`, or `name`.
    pub(super) action: String,
    pub(super) response: String,
}

/// See the module.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) puts: Vec<Put>,
    pub(super) feeds: Vec<Feed>,
    pub(super) routes: Vec<Route>,
    /// What has no effect.
    pub(super) notes: Vec<String>,
}

/// What may stand in a package.
const PACKAGE: [&str; 18] = [
    "name",
    "version",
    "license",
    "namespace",
    "credential",
    "apiHost",
    "description",
    "repositories",
    "public",
    "inputs",
    "annotations",
    "dependencies",
    "actions",
    "sequences",
    "triggers",
    "feeds",
    "rules",
    "apis",
];
/// What may stand in an action.
const ACTION: [&str; 22] = [
    "name",
    "version",
    "namespace",
    "credential",
    "description",
    "function",
    "location",
    "code",
    "runtime",
    "main",
    "inputs",
    "outputs",
    "limits",
    "annotations",
    "web",
    "web-export",
    "conductor",
    "docker",
    "native",
    "include",
    "exclude",
    "exposedUrl",
];

/// Plans a manifest, with a deployment file over it if there is one.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn plan(
    manifest: (&str, &Value),
    deployment: Option<(&str, &Value)>,
    variables: &BTreeMap<String, String>,
) -> Result<Plan, ProjectError> {
    let mut whole = filled(&Node::root(manifest.0, manifest.1), variables)?;
    if let Some((file, given)) = deployment {
        let given = filled(&Node::root(file, given), variables)?;
        whole = packages::overlaid(whole, &Node::root(file, &given))?;
    }
    let root = Node::root(manifest.0, &whole);
    let mut parts = Parts::default();
    for (name, node) in packages::of(&root)? {
        parts.package(&name, &node)?;
    }
    let mut puts = parts.packages;
    puts.append(&mut parts.actions);
    puts.append(&mut in_order(parts.sequences)?);
    puts.append(&mut parts.triggers);
    puts.append(&mut parts.rules);
    Ok(Plan {
        puts,
        feeds: parts.feeds,
        routes: parts.routes,
        notes: parts.notes,
    })
}

#[derive(Debug, Default)]
struct Parts {
    packages: Vec<Put>,
    actions: Vec<Put>,
    sequences: Vec<Put>,
    triggers: Vec<Put>,
    rules: Vec<Put>,
    feeds: Vec<Feed>,
    routes: Vec<Route>,
    notes: Vec<String>,
}

fn place(node: &Node<'_>) -> String {
    node.wrong("", "").at
}

/// An action's name with its package, as paths of requests have it.
fn within(package: &str, name: &str) -> String {
    if package == DEFAULT {
        name.to_owned()
    } else {
        format!("{package}/{name}")
    }
}

/// The full name of an action that a manifest names: of this package, of another one, or full already.
fn full(package: &str, name: &str) -> String {
    match name.strip_prefix('/') {
        Some(_) => name.to_owned(),
        None if name.contains('/') => format!("/_/{}", name.strip_prefix("default/").unwrap_or(name)),
        None => format!("/_/{}", within(package, name)),
    }
}

impl Parts {
    fn package(&mut self, name: &str, node: &Node<'_>) -> Result<(), ProjectError> {
        node.only(&PACKAGE)?;
        if let Some(feeds) = node.get("feeds") {
            let hint = "write the feed's action below `actions:` with the annotation `feed: true`";
            return Err(feeds.wrong("feeds are not read here", hint));
        }
        if name == DEFAULT {
            if let Some(inputs) = node.any(&["inputs", "annotations"]) {
                let hint = "write them for each action, or give the package another name";
                return Err(inputs.wrong("the default package has none of its own", hint));
            }
        } else {
            let mut body = Map::from_iter([
                ("parameters".to_owned(), json!(inputs::parameters(node.get("inputs"))?)),
                (
                    "annotations".to_owned(),
                    json!(inputs::annotations(node.get("annotations"))?),
                ),
            ]);
            if let Some(public) = node.get("public") {
                body.insert("publish".to_owned(), json!(public.truth()?));
            }
            self.packages.push(put(node, "packages", name.to_owned(), body));
        }
        for (label, dependency) in node.members_of("dependencies")? {
            self.dependency(label, &dependency)?;
        }
        for (action, node) in node.members_of("actions")? {
            self.action(name, action, &node)?;
        }
        for (sequence, node) in node.members_of("sequences")? {
            self.sequence(name, sequence, &node)?;
        }
        for (trigger, node) in node.members_of("triggers")? {
            self.trigger(name, trigger, &node)?;
        }
        for (rule, node) in node.members_of("rules")? {
            self.rule(name, rule, &node)?;
        }
        for (title, node) in node.members_of("apis")? {
            self.api(name, title, &node)?;
        }
        Ok(())
    }

    /// A package that is bound under a name of its own.
    fn dependency(&mut self, label: &str, node: &Node<'_>) -> Result<(), ProjectError> {
        node.only(&["location", "version", "inputs", "annotations"])?;
        let location = node
            .get("location")
            .ok_or_else(|| node.wrong("the location is missing", "/NAMESPACE/PACKAGE"))?;
        let text = location.text()?;
        let parts: Vec<&str> = text
            .strip_prefix('/')
            .map(|rest| rest.split('/').collect())
            .unwrap_or_default();
        let [namespace, package] = parts[..] else {
            let hint = "deploy that project by itself, and name its package here as /NAMESPACE/PACKAGE";
            return Err(location.wrong(format!("{text:?} is no package of this platform"), hint));
        };
        let body = Map::from_iter([
            ("binding".to_owned(), json!({ "namespace": namespace, "name": package })),
            ("parameters".to_owned(), json!(inputs::parameters(node.get("inputs"))?)),
            (
                "annotations".to_owned(),
                json!(inputs::annotations(node.get("annotations"))?),
            ),
        ]);
        self.packages.push(put(node, "packages", label.to_owned(), body));
        Ok(())
    }

    fn action(&mut self, package: &str, name: &str, node: &Node<'_>) -> Result<(), ProjectError> {
        node.only(&ACTION)?;
        let (exec, code) = exec(node)?;
        let mut annotations = inputs::annotations(node.get("annotations"))?;
        annotations.extend(inputs::web(node.any(&["web", "web-export"]))?);
        if let Some(conductor) = node.get("conductor")
            && conductor.truth()?
        {
            annotations.push(json!({ "key": "conductor", "value": true }));
        }
        let limits = inputs::limits(node.get("limits"), &mut self.notes)?;
        let body = Map::from_iter([
            ("exec".to_owned(), Value::Object(exec)),
            ("parameters".to_owned(), json!(inputs::parameters(node.get("inputs"))?)),
            ("annotations".to_owned(), json!(annotations)),
            ("limits".to_owned(), Value::Object(limits)),
        ]);
        let mut action = put(node, "actions", within(package, name), body);
        action.code = Some(code);
        self.actions.push(action);
        Ok(())
    }

    fn sequence(&mut self, package: &str, name: &str, node: &Node<'_>) -> Result<(), ProjectError> {
        node.only(&["actions", "web", "web-export", "annotations", "description"])?;
        let actions = node
            .get("actions")
            .ok_or_else(|| node.wrong("it has no actions", "actions: first, second"))?;
        let components: Vec<String> = actions.texts()?.iter().map(|action| full(package, action)).collect();
        let mut annotations = inputs::annotations(node.get("annotations"))?;
        annotations.extend(inputs::web(node.any(&["web", "web-export"]))?);
        let body = Map::from_iter([
            (
                "exec".to_owned(),
                json!({ "kind": "sequence", "components": components }),
            ),
            ("annotations".to_owned(), json!(annotations)),
        ]);
        self.sequences.push(put(node, "actions", within(package, name), body));
        Ok(())
    }

    fn trigger(&mut self, package: &str, name: &str, node: &Node<'_>) -> Result<(), ProjectError> {
        node.only(&[
            "feed",
            "source",
            "inputs",
            "annotations",
            "credential",
            "namespace",
            "description",
        ])?;
        let mut annotations = inputs::annotations(node.get("annotations"))?;
        let mut parameters = Vec::new();
        match node.any(&["feed", "source"]) {
            Some(feed) => {
                let feed = full(package, feed.text()?);
                annotations.push(json!({ "key": "feed", "value": feed }));
                self.feeds.push(Feed {
                    at: place(node),
                    trigger: name.to_owned(),
                    feed,
                    arguments: inputs::arguments(node.get("inputs"))?,
                });
            }
            None => parameters = inputs::parameters(node.get("inputs"))?,
        }
        let body = Map::from_iter([
            ("parameters".to_owned(), json!(parameters)),
            ("annotations".to_owned(), json!(annotations)),
        ]);
        self.triggers.push(put(node, "triggers", name.to_owned(), body));
        Ok(())
    }

    fn rule(&mut self, package: &str, name: &str, node: &Node<'_>) -> Result<(), ProjectError> {
        node.only(&["trigger", "action", "rule", "description", "annotations"])?;
        let part = |key: &str| {
            let found = node
                .get(key)
                .ok_or_else(|| node.wrong(format!("it has no {key}"), "trigger: T, action: A"))?;
            found.text()
        };
        let trigger = part("trigger")?;
        let trigger = if trigger.starts_with('/') {
            trigger.to_owned()
        } else {
            format!("/_/{trigger}")
        };
        let body = Map::from_iter([
            ("trigger".to_owned(), json!(trigger)),
            ("action".to_owned(), json!(full(package, part("action")?))),
            (
                "annotations".to_owned(),
                json!(inputs::annotations(node.get("annotations"))?),
            ),
        ]);
        self.rules.push(put(node, "rules", name.to_owned(), body));
        Ok(())
    }

    /// `TITLE: BASE: PATH: ACTION: METHOD`, or at the end `{method, response}`.
    fn api(&mut self, package: &str, title: &str, node: &Node<'_>) -> Result<(), ProjectError> {
        for (base, paths) in node.members()? {
            for (path, actions) in paths.members()? {
                for (action, told) in actions.members()? {
                    let (method, response) = match told.value {
                        Value::Object(_) => {
                            told.only(&["method", "response"])?;
                            let method = told
                                .get("method")
                                .ok_or_else(|| told.wrong("it has no method", "method: GET"))?;
                            let response = told.get("response").map(|node| node.text()).transpose()?;
                            (method.text()?, response.unwrap_or("http"))
                        }
                        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                            (told.text()?, "http")
                        }
                    };
                    let slash = |text: &str| format!("/{}", text.trim_matches('/'));
                    let action = action
                        .strip_prefix('/')
                        .map_or_else(|| within(package, action), str::to_owned);
                    self.routes.push(Route {
                        at: place(&told),
                        title: title.to_owned(),
                        base: slash(base),
                        path: slash(path),
                        method: method.to_lowercase(),
                        action,
                        response: response.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn put(node: &Node<'_>, collection: &'static str, name: String, body: Map<String, Value>) -> Put {
    Put {
        at: place(node),
        collection,
        name,
        body,
        code: None,
    }
}

/// Kinds by the ends of files' names.
const ENDS: [(&str, &str); 12] = [
    ("js", "nodejs"),
    ("mjs", "nodejs"),
    ("cjs", "nodejs"),
    ("py", "python"),
    ("java", "java"),
    ("jar", "java"),
    ("php", "php"),
    ("rb", "ruby"),
    ("go", "go"),
    ("swift", "swift"),
    ("rs", "rust"),
    ("cs", "dotnet"),
];

/// What an action is made of, its code aside.
fn exec(node: &Node<'_>) -> Result<(Map<String, Value>, Code), ProjectError> {
    let mut exec = Map::new();
    if let Some(main) = node.get("main") {
        exec.insert("main".to_owned(), json!(main.text()?));
    }
    let runtime = node.get("runtime").map(|runtime| runtime.text()).transpose()?;
    let code = match (node.any(&["function", "location"]), node.get("code")) {
        (Some(function), None) => Code::File {
            path: inside(&function)?,
            include: include(node)?,
        },
        (None, Some(code)) => {
            let text = code
                .value
                .as_str()
                .ok_or_else(|| code.wrong("a text is expected here", "code: |"))?;
            if runtime.is_none() {
                return Err(node.wrong("code in the manifest needs a runtime", "runtime: nodejs:default"));
            }
            Code::Inline(text.to_owned())
        }
        (None, None) if node.get("docker").is_some() => Code::None,
        (None, None) => return Err(node.wrong("it has neither function nor code", "function: src/hello.js")),
        (Some(function), Some(_)) => return Err(function.wrong("it has both function and code", "leave one out")),
    };
    if let Some(image) = node.get("docker") {
        exec.insert("kind".to_owned(), json!("blackbox"));
        exec.insert("image".to_owned(), json!(image.text()?));
        return Ok((exec, code));
    }
    if let Some(native) = node.get("native")
        && native.truth()?
    {
        exec.insert("kind".to_owned(), json!("actionloop:default"));
        return Ok((exec, code));
    }
    let by_name = |path: &str| {
        let end = path.rsplit_once('.')?.1.to_lowercase();
        ENDS.iter().find(|(known, _)| *known == end).map(|(_, family)| *family)
    };
    let kind = match (runtime, &code) {
        (Some(kind), _) => Some(if kind.contains(':') {
            kind.to_owned()
        } else {
            format!("{kind}:default")
        }),
        (None, Code::File { path, .. }) => by_name(path).map(|family| format!("{family}:default")),
        (None, Code::Inline(_) | Code::None) => None,
    };
    // Of a folder or archive, what is in it may tell.
    exec.extend(kind.map(|kind| ("kind".to_owned(), json!(kind))));
    Ok((exec, code))
}

/// A path of the project.
fn inside(node: &Node<'_>) -> Result<String, ProjectError> {
    let text = node.text()?;
    if text.contains("://") || text.starts_with("github.com/") {
        return Err(node.wrong("code is not fetched from elsewhere", "put it into the project's folder"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if text.starts_with('/') || parts.contains(&"..") {
        return Err(node.wrong(
            format!("{text:?} is outside of the project"),
            "name it from the manifest's folder",
        ));
    }
    Ok(parts.join("/"))
}

/// More files of an archive: pairs of source and target.
fn include(node: &Node<'_>) -> Result<Vec<(String, String)>, ProjectError> {
    let Some(include) = node.get("include") else {
        return Ok(Vec::new());
    };
    let hint = "write each as [SOURCE, TARGET]";
    let items = include
        .value
        .as_array()
        .ok_or_else(|| include.wrong("a list is expected here", hint))?;
    let pair = |item: &Value| {
        let texts: Option<Vec<&str>> = item.as_array()?.iter().map(Value::as_str).collect();
        match texts?[..] {
            [source] => Some((source.to_owned(), source.to_owned())),
            [source, target] => Some((source.to_owned(), target.to_owned())),
            _ => None,
        }
    };
    let mut pairs = Vec::new();
    for item in items {
        let (source, target) = pair(item).ok_or_else(|| include.wrong(format!("{item} is no pair of paths"), hint))?;
        if source.contains('*')
            || [&source, &target]
                .iter()
                .any(|path| path.split('/').any(|part| part == ".."))
        {
            return Err(include.wrong(
                format!("{source:?} is not read here"),
                "name files and folders of the project",
            ));
        }
        let bare = |path: &str| path.trim_start_matches("./").trim_matches('/').to_owned();
        pairs.push((bare(&source), bare(&target)));
    }
    Ok(pairs)
}

/// Sequences, those that others consist of first.
fn in_order(mut sequences: Vec<Put>) -> Result<Vec<Put>, ProjectError> {
    let mut ordered = Vec::new();
    while !sequences.is_empty() {
        let open: Vec<String> = sequences
            .iter()
            .map(|sequence| format!("/_/{}", sequence.name))
            .collect();
        let ready = sequences.iter().position(|sequence| {
            let components = sequence.body["exec"]["components"].as_array();
            components.is_some_and(|all| {
                !all.iter()
                    .filter_map(Value::as_str)
                    .any(|name| open.iter().any(|one| one == name))
            })
        });
        match ready {
            Some(at) => ordered.push(sequences.remove(at)),
            None => {
                let at = sequences[0].at.clone();
                return Err(ProjectError::new(
                    at,
                    "the sequence refers to itself",
                    "leave one of its actions out",
                ));
            }
        }
    }
    Ok(ordered)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
