//! The native API's side.

use std::time::Duration;

use bytes::Bytes;
use sonagi_model::{Mebibytes, Namespace};
use sonagi_ports::{Adapter, AdapterError, AliasView, Deploy, Deployed, NativeCall, Settings, UrlAccess};

use crate::world::{World, archive, request};

fn space() -> Namespace {
    Namespace::parse("aws/000000000000/us-east-1").expect("a namespace")
}

/// Settings of a Python function.
pub fn python() -> Settings {
    Settings {
        runtime: Some("python3.11".to_owned()),
        handler: Some("app.handler".to_owned()),
        ..Settings::default()
    }
}

fn request_of(name: &str, source: &str, settings: Settings, url: Option<UrlAccess>) -> Deploy {
    Deploy {
        namespace: space(),
        name: name.to_owned(),
        archive: archive("app.py", source),
        settings,
        url,
    }
}

/// Deploys a Python function.
pub async fn deploy(world: &World, name: &str, source: &str) -> Deployed {
    world
        .aws
        .deploy(request_of(name, source, python(), None))
        .await
        .expect("a deployment")
}

async fn call(world: &World, name: &str, qualifier: Option<&str>) -> String {
    let call = NativeCall {
        namespace: space(),
        name: name.to_owned(),
        qualifier: qualifier.map(str::to_owned),
        payload: Bytes::new(),
        token: None,
    };
    let answer = world.aws.invoke(call).await.expect("an answer");
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploying_creates_updates_and_answers_at_a_url() {
    let world = World::start().await;
    let first = deploy(&world, "f", "def handler(e, c): return 'one'").await;
    assert!(first.created);
    let url = first.url.clone().expect("a URL");
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    assert!(
        host.ends_with(&format!(".lambda-url.us-east-1.localhost:{}", world.address.port())),
        "{host}"
    );
    let get = async || world.send(request("GET", &host, "/", &[], b"")).await;
    assert_eq!(get().await.body(), "one");
    let again = deploy(&world, "f", "def handler(e, c): return 'two'").await;
    assert_eq!((again.created, &again.url), (false, &first.url));
    assert_ne!(again.revision, first.revision);
    assert_eq!(get().await.body(), "two");
    let same = deploy(&world, "f", "def handler(e, c): return 'two'").await;
    assert_eq!(same.revision, again.revision, "nothing new, so warm instances stay");
    let signed = request_of(
        "f",
        "def handler(e, c): return 'two'",
        Settings::default(),
        Some(UrlAccess::Signed),
    );
    assert_eq!(world.aws.deploy(signed).await.unwrap().url, first.url);
    assert_eq!(get().await.status().as_u16(), 403);
    let none = request_of(
        "f",
        "def handler(e, c): return 'two'",
        Settings::default(),
        Some(UrlAccess::None),
    );
    assert_eq!(world.aws.deploy(none).await.unwrap().url, None);
    assert_eq!(get().await.status().as_u16(), 403);
    world.aws.remove(&space(), "f").await.unwrap();
    assert!(matches!(
        world.aws.describe(&space(), "f"),
        Err(AdapterError::Missing(_))
    ));
}

#[tokio::test]
async fn settings_are_lambdas_and_checked_by_its_rules() {
    let world = World::start().await;
    deploy(&world, "f", "def handler(e, c): return 1").await;
    let settings = Settings {
        memory: Some(Mebibytes(256)),
        timeout: Some(Duration::from_millis(1500)),
        set_environment: [
            ("A".to_owned() + "A", "1".to_owned()),
            ("BB".to_owned(), "2".to_owned()),
        ]
        .into(),
        reserved_concurrency: Some(Some(3)),
        ..Settings::default()
    };
    let view = world.aws.configure(&space(), "f", settings).await.unwrap();
    assert_eq!(
        (view.memory, view.timeout_ms, view.reserved_concurrency),
        (Mebibytes(256), 2000, Some(3))
    );
    let settings = Settings {
        unset_environment: vec!["AA".to_owned()],
        reserved_concurrency: Some(None),
        ..Settings::default()
    };
    let view = world.aws.configure(&space(), "f", settings).await.unwrap();
    assert_eq!(view.environment, [("BB".to_owned(), "2".to_owned())].into());
    assert_eq!((view.reserved_concurrency, view.memory), (None, Mebibytes(256)));
    // All of it or nothing: a setting that is refused leaves the others as they were.
    for settings in [
        Settings {
            memory: Some(Mebibytes(1)),
            reserved_concurrency: Some(Some(7)),
            ..Settings::default()
        },
        Settings {
            memory: Some(Mebibytes(512)),
            reserved_concurrency: Some(Some(100_000)),
            ..Settings::default()
        },
    ] {
        assert!(world.aws.configure(&space(), "f", settings).await.is_err());
        let view = world.aws.describe(&space(), "f").unwrap();
        assert_eq!((view.reserved_concurrency, view.memory), (None, Mebibytes(256)));
    }
    assert_eq!(view.provider_name, "arn:aws:lambda:us-east-1:000000000000:function:f");
    let wrong = Settings {
        memory: Some(Mebibytes(1)),
        ..Settings::default()
    };
    assert!(matches!(
        world.aws.configure(&space(), "f", wrong).await,
        Err(AdapterError::Invalid { .. })
    ));
    let missing = Settings {
        runtime: Some("nodejs26.x".to_owned()),
        ..python()
    };
    let refused = world.aws.deploy(request_of("g", "", missing, None)).await.unwrap_err();
    assert!(refused.to_string().contains("this host has others"), "{refused}");
    let bare = world.aws.deploy(request_of("g", "", Settings::default(), None)).await;
    assert!(matches!(bare, Err(AdapterError::Invalid { .. })));
    let foreign = Namespace::parse("fn/x").unwrap();
    assert!(matches!(
        world.aws.describe(&foreign, "f"),
        Err(AdapterError::Invalid { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_aliases_and_the_way_back() {
    let world = World::start().await;
    let first = deploy(&world, "f", "def handler(e, c): return [1, c.function_version]").await;
    let published = world.aws.publish(&space(), "f").await.unwrap();
    assert_eq!((published.label.as_str(), published.live), ("1", false));
    let second = deploy(&world, "f", "def handler(e, c): return [2, c.function_version]").await;
    let alias = AliasView {
        name: "prod".to_owned(),
        version: "1".to_owned(),
        split: None,
    };
    world.aws.put_alias(&space(), "f", alias).await.unwrap();
    assert_eq!(call(&world, "f", Some("prod")).await, "[1, \"1\"]");
    assert_eq!(call(&world, "f", None).await, "[2, \"$LATEST\"]");

    let back = world.aws.roll_back(&space(), "f", None).await.unwrap();
    assert_eq!(
        (back.revision, back.live),
        (first.revision, true),
        "the pointer moves, nothing is copied"
    );
    assert_eq!(call(&world, "f", None).await, "[1, \"$LATEST\"]");
    assert!(matches!(
        world.aws.roll_back(&space(), "f", None).await,
        Err(AdapterError::Missing(_))
    ));
    let forth = world
        .aws
        .roll_back(&space(), "f", Some(&second.revision.to_string()))
        .await
        .unwrap();
    assert_eq!(forth.revision, second.revision);
    let version = world.aws.roll_back(&space(), "f", Some("1")).await.unwrap();
    assert_eq!((version.label.as_str(), version.digest), ("$LATEST", first.digest));
    assert_eq!(call(&world, "f", None).await, "[1, \"$LATEST\"]");
    assert!(matches!(
        world.aws.roll_back(&space(), "f", Some("9")).await,
        Err(AdapterError::Missing(_))
    ));

    let view = world.aws.describe(&space(), "f").unwrap();
    assert_eq!(
        view.versions
            .iter()
            .map(|version| version.label.as_str())
            .collect::<Vec<_>>(),
        ["1", "$LATEST"]
    );
    assert_eq!(
        (view.aliases[0].name.as_str(), view.aliases[0].version.as_str()),
        ("prod", "1")
    );
    world.aws.remove_alias(&space(), "f", "prod").await.unwrap();
    assert!(matches!(
        world.aws.remove_alias(&space(), "f", "prod").await,
        Err(AdapterError::Missing(_))
    ));
    let digits = AliasView {
        name: "12".to_owned(),
        version: "1".to_owned(),
        split: None,
    };
    assert!(matches!(
        world.aws.put_alias(&space(), "f", digits).await,
        Err(AdapterError::Invalid { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_events() {
    let world = World::start().await;
    deploy(&world, "f", "def handler(e, c): return e").await;
    let event = |payload: &'static [u8], qualifier: Option<&str>| NativeCall {
        namespace: space(),
        name: "f".to_owned(),
        qualifier: qualifier.map(str::to_owned),
        payload: Bytes::from_static(payload),
        token: None,
    };
    let answer = world.aws.invoke(event(b"[1]", None)).await.unwrap();
    assert_eq!(
        (answer.body.as_ref(), answer.failed, answer.record.invocation),
        (b"[1]".as_slice(), false, answer.invocation)
    );
    assert!(answer.log_tail.starts_with(b"START RequestId: "));
    assert!(matches!(
        world.aws.invoke(event(b"{", None)).await,
        Err(AdapterError::Invalid { .. })
    ));
    assert!(matches!(
        world.aws.invoke(event(b"1", Some("9"))).await,
        Err(AdapterError::Missing(_))
    ));
    let id = world.aws.send(event(b"{\"n\":1}", None)).await.unwrap();
    assert_eq!(world.engine.accepted.lock()[0].id.as_uuid(), id.as_uuid());
    let failing = Settings {
        handler: Some("play.oom".to_owned()),
        ..Settings::default()
    };
    world.aws.configure(&space(), "f", failing).await.unwrap();
    let failed = world.aws.invoke(event(b"1", None)).await.unwrap();
    assert!(
        failed.failed && failed.body.starts_with(b"{\"errorType\":\"Runtime.OutOfMemory\""),
        "{failed:?}"
    );
    let refused = Settings {
        handler: Some("play.reserved".to_owned()),
        ..Settings::default()
    };
    world.aws.configure(&space(), "f", refused).await.unwrap();
    assert!(matches!(
        world.aws.invoke(event(b"1", None)).await,
        Err(AdapterError::Throttled(_))
    ));
}

#[tokio::test]
async fn accounts_come_and_go() {
    let world = World::start().await;
    let made = world.aws.add_account(None).await.unwrap();
    assert!(matches!(
        world.aws.add_account(Some(&made.id)).await,
        Err(AdapterError::Conflict(_))
    ));
    assert!(matches!(
        world.aws.add_account(Some("12")).await,
        Err(AdapterError::Invalid { .. })
    ));
    assert_eq!(world.aws.accounts().len(), 2);
    let deploy = Deploy {
        namespace: made.namespace.clone(),
        ..request_of("f", "", python(), None)
    };
    world.aws.deploy(deploy.clone()).await.unwrap();
    assert!(matches!(
        world.aws.remove_account(&made.id).await,
        Err(AdapterError::Conflict(_))
    ));
    world.aws.remove(&made.namespace, "f").await.unwrap();
    world.aws.remove_account(&made.id).await.unwrap();
    assert!(matches!(world.aws.deploy(deploy).await, Err(AdapterError::Missing(_))));
    assert!(matches!(
        world.aws.remove_account("000000000000").await,
        Err(AdapterError::Conflict(_))
    ));
    let environment = world.environment(None);
    let names: Vec<_> = environment.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
    ] {
        assert!(names.contains(&name), "{name}");
    }
}
