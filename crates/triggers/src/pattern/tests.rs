//! Patterns and what they match, as tables.

use serde_json::{Value, json};

use super::Pattern;

fn check(pattern: &Value, yes: &[Value], no: &[Value]) {
    let read = Pattern::from_value(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for event in yes {
        assert!(read.matches(event), "{pattern} should match {event}");
    }
    for event in no {
        assert!(!read.matches(event), "{pattern} should not match {event}");
    }
}

/// Patterns of one field `f`.
fn field(test: Value, yes: &[Value], no: &[Value]) {
    let of = |values: &[Value]| values.iter().map(|value| json!({ "f": value })).collect::<Vec<_>>();
    check(&json!({ "f": [test] }), &of(yes), &of(no));
}

#[test]
fn literals_match_exactly() {
    field(
        json!("a"),
        &[json!("a"), json!(["b", "a"])],
        &[json!("A"), json!(""), json!(["b"]), json!({ "a": 1 })],
    );
    field(
        json!(300),
        &[json!(300), json!(300.0), json!(3.0e2)],
        &[json!("300"), json!(301)],
    );
    field(json!(null), &[json!(null)], &[json!(""), json!(false)]);
    field(json!(""), &[json!("")], &[json!(null)]);
    field(json!(true), &[json!(true)], &[json!(false), json!("true")]);
    check(&json!({ "f": ["a"] }), &[], &[json!({}), json!([]), json!("a")]);
}

#[test]
fn tests_of_texts() {
    field(
        json!({ "prefix": "ab" }),
        &[json!("abc"), json!("ab")],
        &[json!("Abc"), json!("xab"), json!(1)],
    );
    field(json!({ "suffix": ".png" }), &[json!("a.png")], &[json!("a.PNG")]);
    field(
        json!({ "prefix": { "equals-ignore-case": "ab" } }),
        &[json!("ABc")],
        &[json!("b")],
    );
    field(
        json!({ "suffix": { "equals-ignore-case": ".png" } }),
        &[json!("a.PNG")],
        &[json!("png")],
    );
    field(
        json!({ "equals-ignore-case": "alice" }),
        &[json!("ALICE"), json!("Alice")],
        &[json!("alice!"), json!("alic")],
    );
    field(
        json!({ "wildcard": "/users/*/bin" }),
        &[json!("/users/x/bin"), json!("/users//bin"), json!("/users/a/b/bin")],
        &[json!("/users/bin"), json!("/users/x/bins")],
    );
    field(
        json!({ "wildcard": "a*b*c" }),
        &[json!("abc"), json!("aXbbYc")],
        &[json!("acb"), json!("ac")],
    );
    field(json!({ "wildcard": r"a\*b\\" }), &[json!(r"a*b\")], &[json!(r"aXb\")]);
    field(json!({ "wildcard": "*" }), &[json!(""), json!("x")], &[json!(1)]);
    field(json!({ "wildcard": "aa*aa" }), &[json!("aaaa")], &[json!("aaa")]);
}

#[test]
fn anything_but_wants_a_field_that_is_something_else() {
    field(
        json!({ "anything-but": "a" }),
        &[json!("b"), json!(1), json!(["a", "b"])],
        &[json!("a"), json!(["a"])],
    );
    field(
        json!({ "anything-but": [1, 2] }),
        &[json!(3), json!("1")],
        &[json!(1), json!(2.0)],
    );
    field(
        json!({ "anything-but": { "prefix": "in" } }),
        &[json!("out")],
        &[json!("inside")],
    );
    field(
        json!({ "anything-but": { "prefix": ["in", "on"] } }),
        &[json!("out")],
        &[json!("only")],
    );
    field(
        json!({ "anything-but": { "suffix": ".txt" } }),
        &[json!("a.md")],
        &[json!("a.txt")],
    );
    field(
        json!({ "anything-but": { "equals-ignore-case": ["A", "b"] } }),
        &[json!("c")],
        &[json!("a"), json!("B")],
    );
    field(
        json!({ "anything-but": { "wildcard": "*/lib/*" } }),
        &[json!("/bin")],
        &[json!("/a/lib/b")],
    );
    check(&json!({ "f": [{ "anything-but": "a" }] }), &[], &[json!({})]);
}

#[test]
fn tests_of_numbers_and_addresses() {
    field(
        json!({ "numeric": [">", 0, "<=", 5] }),
        &[json!(5), json!(0.5)],
        &[json!(0), json!(5.1), json!("1")],
    );
    field(json!({ "numeric": ["=", 3.0e2] }), &[json!(300)], &[json!(299)]);
    field(json!({ "numeric": ["<", -1] }), &[json!(-2)], &[json!(-1)]);
    field(
        json!({ "cidr": "10.0.0.0/24" }),
        &[json!("10.0.0.255")],
        &[json!("10.0.1.0"), json!("::1"), json!("x")],
    );
    field(
        json!({ "cidr": "10.0.0.7/32" }),
        &[json!("10.0.0.7")],
        &[json!("10.0.0.8")],
    );
    field(json!({ "cidr": "0.0.0.0/0" }), &[json!("1.2.3.4")], &[]);
    field(
        json!({ "cidr": "2001:db8::/32" }),
        &[json!("2001:db8::1")],
        &[json!("2001:db9::1"), json!("10.0.0.1")],
    );
}

#[test]
fn existence_is_that_of_leaves() {
    field(
        json!({ "exists": true }),
        &[json!(1), json!(null), json!(["x"])],
        &[json!({ "a": 1 }), json!([])],
    );
    field(
        json!({ "exists": false }),
        &[json!({}), json!([])],
        &[json!(0), json!(null)],
    );
    check(
        &json!({ "f": [{ "exists": false }] }),
        &[json!({}), json!({ "g": 1 })],
        &[json!({ "f": "" })],
    );
    let nested = json!({ "d": { "f": [{ "exists": false }] } });
    check(
        &nested,
        &[json!({}), json!({ "d": {} }), json!({ "d": 1 })],
        &[json!({ "d": { "f": 1 } })],
    );
}

#[test]
fn fields_are_all_wanted_and_alternatives_one() {
    let both = json!({ "source": ["x"], "detail": { "state": ["a", { "prefix": "b" }], "n": [{ "exists": true }] } });
    let event = |state: &str| json!({ "source": "x", "detail": { "state": state, "n": 1 }, "more": 1 });
    check(
        &both,
        &[event("a"), event("bc")],
        &[event("c"), json!({ "source": "x" })],
    );
    let or = json!({ "a": [1], "$or": [{ "b": [1] }, { "c": { "d": [2] } }] });
    check(
        &or,
        &[json!({ "a": 1, "b": 1 }), json!({ "a": 1, "c": { "d": 2 } })],
        &[json!({ "a": 1 }), json!({ "b": 1 })],
    );
    check(
        &json!({ "d": { "$or": [{ "a": [1] }, { "b": [1] }] } }),
        &[json!({ "d": { "b": 1 } })],
        &[json!({ "d": {} })],
    );
    // Not a relation: one alternative only, or mere tests.
    check(&json!({ "$or": ["x"] }), &[json!({ "$or": "x" })], &[json!({})]);
    check(
        &json!({ "$or": [{ "prefix": "x" }, { "prefix": "y" }] }),
        &[json!({ "$or": "yz" })],
        &[json!({})],
    );
}

#[test]
fn objects_in_an_array_match_whole() {
    let pattern = json!({ "items": { "a": [1], "b": [2] } });
    check(
        &pattern,
        &[
            json!({ "items": [{ "a": 0 }, { "a": 1, "b": 2 }] }),
            json!({ "items": { "a": 1, "b": 2 } }),
        ],
        &[json!({ "items": [{ "a": 1 }, { "b": 2 }] }), json!({ "items": [] })],
    );
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_service() {
    let cases = [
        ("x", "Unable to parse JSON at line: 1, column: 1"),
        ("[]", "Filter is not an object"),
        ("{}", "Empty objects are not allowed"),
        (r#"{"a":{}}"#, "Empty objects are not allowed"),
        (r#"{"a":[]}"#, "Empty arrays are not allowed"),
        (r#"{"a":"x"}"#, "\"a\" must be an object or an array"),
        (
            r#"{"a":[["x"]]}"#,
            "Match value must be String, number, true, false, or null",
        ),
        (r#"{"a":[{"x":1}]}"#, "Unrecognized match type x"),
        (
            r#"{"a":[{"prefix":"a","suffix":"b"}]}"#,
            "Only one key allowed in match expression",
        ),
        (r#"{"a":[{"prefix":1}]}"#, "prefix match pattern must be a string"),
        (
            r#"{"a":[{"exists":1}]}"#,
            "exists match pattern must be either true or false.",
        ),
        (r#"{"a":[{"numeric":3}]}"#, "Value of numeric must be an array."),
        (r#"{"a":[{"numeric":[]}]}"#, "Invalid member in numeric match: ]"),
        (
            r#"{"a":[{"numeric":["~",1]}]}"#,
            "Unrecognized numeric range operator: ~",
        ),
        (r#"{"a":[{"numeric":[">","1"]}]}"#, "Value of > must be numeric"),
        (r#"{"a":[{"numeric":[">",5,"<",1]}]}"#, "Bottom must be less than top"),
        (r#"{"a":[{"numeric":["<",5,">",1]}]}"#, "Bad numeric range operator: >"),
        (
            r#"{"a":[{"numeric":["=",5,"<",1]}]}"#,
            "Too many elements in numeric expression",
        ),
        (r#"{"a":[{"cidr":"10.0.0.1"}]}"#, "Malformed CIDR, one '/' required"),
        (
            r#"{"a":[{"cidr":"10.0.0.1/33"}]}"#,
            "IPv4 mask bits must not be more than 32",
        ),
        (
            r#"{"a":[{"wildcard":"a**b"}]}"#,
            "Consecutive wildcard characters at pos 1",
        ),
        (r#"{"a":[{"wildcard":"a\\b"}]}"#, "Invalid escape character at pos 1"),
        (
            r#"{"a":[{"anything-but":["x",1]}]}"#,
            "Inside anything-but list, either all values are number or string, mixed type is not supported",
        ),
        (
            r#"{"a":[{"anything-but":{"numeric":["=",1]}}]}"#,
            "Unsupported anything-but pattern: numeric",
        ),
        (
            r#"{"a":[{"anything-but":null}]}"#,
            "Value of anything-but must be an array or single string/number value.",
        ),
    ];
    for (text, expected) in cases {
        let error = Pattern::parse(text).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}
