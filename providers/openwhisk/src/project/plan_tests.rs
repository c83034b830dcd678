//! Tests of what a manifest comes to.

use serde_json::json;
use sonagi_wire::yaml;

use super::*;

fn planned(text: &str) -> Result<Plan, ProjectError> {
    let variables = BTreeMap::from([("HOST".to_owned(), "example.org".to_owned())]);
    plan(("manifest.yaml", &yaml::read(text).unwrap()), None, &variables)
}

/// What people write.
const WHOLE: &str = "
project:
  name: demo
  packages:
    shop:
      license: Apache-2.0
      public: true
      inputs: {currency: EUR}
      dependencies:
        clock:
          location: /whisk.system/alarms
      actions:
        hello:
          function: src/hello.js
          runtime: nodejs:20
          web: yes
          limits: {timeout: 5000, memorySize: 128, concurrentActivations: 3}
          annotations: {require-whisk-auth: secret}
          inputs:
            host: http://${HOST}
            count: {type: integer, value: 3}
            place:
              type: string
              description: where
        inline:
          runtime: python
          code: |
            def main(args):
                return {\"at\": \"${HOST}\"}
      sequences:
        outer: {actions: 'inner, hello'}
        inner: {actions: [hello, /whisk.system/x/y, other/z]}
      triggers:
        nightly:
          feed: clock/alarm
          inputs: {cron: '0 0 * * *'}
        plain: {inputs: {a: 1}}
      rules:
        r: {trigger: nightly, action: outer}
      apis:
        book-club:
          club:
            books/{id}:
              hello: GET
              inline: {method: post, response: json}
    default:
      actions:
        bare: {function: app/}
";

#[test]
fn a_manifest_becomes_requests_in_an_order_that_works() {
    let plan = planned(WHOLE).unwrap();
    let names: Vec<_> = plan.puts.iter().map(|put| (put.collection, &*put.name)).collect();
    let expected = [
        ("packages", "shop"),
        ("packages", "clock"),
        ("actions", "bare"),
        ("actions", "shop/hello"),
        ("actions", "shop/inline"),
        ("actions", "shop/inner"),
        ("actions", "shop/outer"),
        ("triggers", "nightly"),
        ("triggers", "plain"),
        ("rules", "r"),
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let mut wanted = expected;
    wanted.sort_unstable();
    assert_eq!(sorted, wanted);
    let at = |name: &str| names.iter().position(|(_, known)| *known == name).unwrap();
    assert!(
        at("shop") < at("shop/hello") && at("shop/inline") < at("shop/inner") && at("shop/inner") < at("shop/outer")
    );
    assert!(at("shop/outer") < at("nightly") && at("nightly") < at("r"));
    let put = |name: &str| &plan.puts[at(name)];
    assert_eq!(put("shop").body["publish"], true);
    assert_eq!(
        put("clock").body["binding"],
        json!({"namespace": "whisk.system", "name": "alarms"})
    );
    let hello = put("shop/hello");
    assert_eq!(hello.at, "manifest.yaml: project.packages.shop.actions.hello");
    assert_eq!(hello.body["exec"], json!({"kind": "nodejs:20"}));
    assert_eq!(hello.body["limits"], json!({"timeout": 5000, "memory": 128}));
    let parameters = json!([
        {"key": "host", "value": "http://example.org"},
        {"key": "count", "value": 3},
        {"key": "place", "value": ""},
    ]);
    assert_eq!(hello.body["parameters"], parameters);
    assert_eq!(
        hello.body["annotations"][1],
        json!({"key": "web-export", "value": true})
    );
    let inline = Code::Inline("def main(args):\n    return {\"at\": \"${HOST}\"}\n".to_owned());
    assert_eq!(put("shop/inline").code, Some(inline));
    assert_eq!(put("shop/inline").body["exec"]["kind"], "python:default");
    let inner = json!(["/_/shop/hello", "/whisk.system/x/y", "/_/other/z"]);
    assert_eq!(put("shop/inner").body["exec"]["components"], inner);
    assert_eq!(put("r").body["action"], "/_/shop/outer");
    assert_eq!(put("plain").body["parameters"], json!([{"key": "a", "value": 1}]));
    assert_eq!(plan.feeds[0].feed, "/_/clock/alarm");
    assert_eq!(plan.feeds[0].arguments["cron"], "0 0 * * *");
    let routes: Vec<_> = plan
        .routes
        .iter()
        .map(|route| (&*route.base, &*route.path, &*route.method, &*route.action))
        .collect();
    let expected = [
        ("/club", "/books/{id}", "get", "shop/hello"),
        ("/club", "/books/{id}", "post", "shop/inline"),
    ];
    assert_eq!(routes, expected);
    assert_eq!(plan.notes.len(), 1, "{:?}", plan.notes);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let action = |text: &str| format!("packages:\n  p:\n    actions:\n      a: {text}\n");
    for (text, expected) in [
        (
            "packages:\n  p:\n    acions: {}\n".to_owned(),
            "packages.p.acions: this key is not known here",
        ),
        (action("{}"), "packages.p.actions.a: it has neither function nor code"),
        (
            action("{function: ../x.js}"),
            "a.function: \"../x.js\" is outside of the project",
        ),
        (
            action("{function: 'https://x/y.js'}"),
            "a.function: code is not fetched from elsewhere",
        ),
        (
            action("{function: x.js, code: y}"),
            "a.function: it has both function and code",
        ),
        (action("{code: y}"), "a: code in the manifest needs a runtime"),
        (
            action("{function: x.js, limits: {timeout: long}}"),
            "a.limits.timeout: a whole number is expected here",
        ),
        (
            action("{function: x.js, web: maybe}"),
            "a.web: web is true, false or raw",
        ),
        (
            action("{function: x.js, inputs: {k: $NONE}}"),
            "a.inputs.k: the variable NONE is not set",
        ),
        (action("[1]"), "packages.p.actions.a: a mapping is expected here"),
        (
            "packages:\n  p:\n    sequences:\n      s: {actions: s}\n".to_owned(),
            "p.sequences.s: the sequence refers to itself",
        ),
        (
            "packages:\n  p:\n    rules:\n      r: {trigger: t}\n".to_owned(),
            "p.rules.r: it has no action",
        ),
        (
            "packages:\n  p:\n    dependencies:\n      d: {location: github.com/a/b}\n".to_owned(),
            "is no package of this platform",
        ),
        (
            "project:\n  name: x\n".to_owned(),
            "manifest.yaml: there are no packages",
        ),
    ] {
        let error = planned(&text).unwrap_err().to_string();
        assert!(
            error.starts_with("manifest.yaml: ") && error.contains(expected),
            "{text}: {error}"
        );
    }
}
