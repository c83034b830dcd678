//! Objects over the sudden end of the platform: whatever was acknowledged is there, byte for byte, and the function that
//! is told of it has been told.

use std::collections::BTreeSet;

use sonagi_e2e::deploy;
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Client, Environment, Platform, Project, Setup, until};

/// Stores what it is told in the bucket `seen`.
const RELAY: &str = include_str!("../../../conformance/cases/object_events/relay.py");

const PREPARE: &str = "
import boto3
s3, functions = boto3.client('s3'), boto3.client('lambda')
s3.create_bucket(Bucket='kept')
s3.create_bucket(Bucket='seen')
arn = functions.get_function(FunctionName='told')['Configuration']['FunctionArn']
functions.add_permission(FunctionName='told', StatementId='s', Action='lambda:InvokeFunction',
    Principal='s3.amazonaws.com', SourceArn='arn:aws:s3:::kept')
s3.put_bucket_notification_configuration(Bucket='kept', NotificationConfiguration={'LambdaFunctionConfigurations': [
    {'LambdaFunctionArn': arn, 'Events': ['s3:ObjectCreated:*', 's3:ObjectRemoved:*']}]})
";

/// Stores and removes objects until the platform is gone; says what was acknowledged. Every fourth object is removed.
const WRITE: &str = "
import boto3, botocore.config, concurrent.futures, os, sys
def say(text):
    os.write(1, (text + '\\n').encode())
s3 = boto3.client('s3', config=botocore.config.Config(retries={'total_max_attempts': 1}, max_pool_connections=4))
def write(number):
    key = f'{sys.argv[1]}-{number}'
    try:
        s3.put_object(Bucket='kept', Key=key, Body=key.encode() * 1000)
        say('stored ' + key)
        if number % 4 == 0:
            s3.delete_object(Bucket='kept', Key=key)
            say('removed ' + key)
    except Exception:
        return
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(write, range(int(sys.argv[2]))))
";

const CHECK: &str = "
import boto3
s3 = boto3.client('s3')
for page in s3.get_paginator('list_objects_v2').paginate(Bucket='kept'):
    for found in page.get('Contents', []):
        key = found['Key']
        body = s3.get_object(Bucket='kept', Key=key)['Body'].read()
        assert body == key.encode() * 1000, key
        print(key)
";

const SEEN: &str = "
import boto3
for page in boto3.client('s3').get_paginator('list_objects_v2').paginate(Bucket='seen'):
    for found in page.get('Contents', []):
        print('/' + found['Key'])
";

/// What was acknowledged.
#[derive(Debug, Default)]
struct Acknowledged {
    stored: BTreeSet<String>,
    removed: BTreeSet<String>,
}

async fn write(round: &str, count: usize, environment: &Environment, into: &mut Acknowledged) {
    let ended = Client::Boto3
        .run(["-c", WRITE, round, &count.to_string()], environment)
        .await;
    for line in ended.expect("the writer").lines() {
        match line.split_once(' ') {
            Some(("stored", key)) => into.stored.insert(key.to_owned()),
            Some(("removed", key)) => into.removed.insert(key.to_owned()),
            Some(_) | None => panic!("{line:?}"),
        };
    }
}

/// Everything acknowledged is there, or gone, and has been told.
async fn check(platform: &Platform, known: &Acknowledged) {
    let environment = platform.aws().await;
    let found = Client::Boto3.text(CHECK, &environment).await.expect("the objects");
    let found: BTreeSet<&str> = found.lines().collect();
    for key in known.stored.difference(&known.removed) {
        // The removal may have been done though nobody was told.
        let undecided = key
            .rsplit('-')
            .next()
            .and_then(|number| number.parse::<u32>().ok())
            .is_some_and(|n| n % 4 == 0);
        assert!(undecided || found.contains(key.as_str()), "{key} was stored");
    }
    for key in &known.removed {
        assert!(!found.contains(key.as_str()), "{key} was removed");
    }
    until("every event", 3 * PATIENCE, async || {
        let seen = Client::Boto3.text(SEEN, &environment).await.expect("what was told");
        let told = |key: &String, what: &str| seen.contains(&format!("/{key}/{what}\n"));
        let stored = known.stored.iter().all(|key| told(key, "ObjectCreated:Put"));
        let removed = known.removed.iter().all(|key| told(key, "ObjectRemoved:Delete"));
        (stored && removed).then_some(())
    })
    .await;
}

/// A bucket whose changes the function is told.
async fn prepare(platform: &Platform) {
    let prepared = Client::Boto3.text(PREPARE, &platform.aws().await).await;
    assert_eq!(prepared.expect("the bucket"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_objects_and_their_events_survive_sudden_ends() {
    let mut platform = Setup::new().start().await;
    let relay = Project::python("told", RELAY);
    deploy(&platform, &relay, &["--env", "INTO=seen", "--timeout", "20s"]).await;
    prepare(&platform).await;
    let mut known = Acknowledged::default();
    write("calm", 8, &platform.aws().await, &mut known).await;
    assert_eq!((known.stored.len(), known.removed.len()), (8, 2));
    platform.kill().await;
    for point in ["object/written:9", "object/committed:7", "object/told:3"] {
        platform.set_environment(vec![("SONAGI_CRASH".to_owned(), point.to_owned())]);
        assert!(platform.try_start().await, "it did not come up:\n{}", platform.log());
        let round = point.replace(['/', ':'], "-");
        write(&round, 40, &platform.aws().await, &mut known).await;
        until("its end", PATIENCE, async || platform.has_ended().then_some(())).await;
        assert!(platform.log().contains("ends at object/"), "{}", platform.log());
        platform.forget_ended();
    }
    platform.set_environment(Vec::new());
    platform.start().await;
    check(&platform, &known).await;
    assert!(known.stored.len() > 16, "{known:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_objects() {
    let platform = Platform::up().await;
    deploy(
        &platform,
        &Project::python("told", RELAY),
        &["--env", "INTO=seen", "--timeout", "20s"],
    )
    .await;
    prepare(&platform).await;
    let mut known = Acknowledged::default();
    write("kept", 8, &platform.aws().await, &mut known).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (backup, data) = (folder.path().join("backup"), folder.path().join("data"));
    platform.cli().json(&["backup", backup.to_str().expect("text")]).await;
    let key = platform.data().join("master.key");
    let restore = [
        "restore",
        backup.to_str().expect("text"),
        "--data",
        data.to_str().expect("text"),
        "--key-file",
        key.to_str().expect("text"),
    ];
    platform.cli().json(&restore).await;
    let copy = Setup::new().data(&data).start().await;
    check(&copy, &known).await;
}
