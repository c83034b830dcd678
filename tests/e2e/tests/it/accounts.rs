//! Two tenants on one platform know nothing of each other.

use serde_json::json;
use sonagi_e2e::{call, deploy, python};
use sonagi_testkit::{Client, Platform};

const LIST: &str =
    "import boto3; print([f['FunctionName'] for f in boto3.client('lambda').list_functions()['Functions']])";

const REACH: &str = r#"
import sys, boto3, botocore.exceptions
client = boto3.client("lambda")
for call in (client.get_function, client.invoke, client.delete_function):
    try:
        call(FunctionName=sys.argv[1])
        sys.exit("reached a function of another account")
    except botocore.exceptions.ClientError as error:
        print(error.response["Error"]["Code"])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_are_apart() {
    let platform = Platform::up().await;
    let _ = platform
        .cli()
        .run(&["account", "add", "111111111111"])
        .await
        .expect("account add");
    deploy(&platform, &python("mine", "'of the first'"), &[]).await;
    let first = platform.native("GET", "/functions/mine", "").await;
    deploy(
        &platform,
        &python("mine", "'of the second'"),
        &["--account", "111111111111"],
    )
    .await;
    deploy(
        &platform,
        &python("theirs", "'of the second'"),
        &["--account", "111111111111"],
    )
    .await;

    let second = platform.aws_of(Some("111111111111")).await;
    let list = Client::Boto3
        .text(LIST, &second)
        .await
        .expect("the second account's list");
    assert_eq!(list.trim(), "['mine', 'theirs']");
    let list = Client::Boto3
        .text(LIST, &platform.aws().await)
        .await
        .expect("the first account's list");
    assert_eq!(list.trim(), "['mine']");
    assert_eq!(call(&platform, "mine", &json!({})).await, json!("of the first"));

    let arn = first["provider_name"].as_str().expect("an ARN");
    let codes = Client::Boto3.run(["-c", REACH, arn], &second).await.expect("refusals");
    assert_eq!(codes.lines().collect::<Vec<_>>(), ["AccessDeniedException"; 3]);

    let busy = platform
        .cli()
        .run(&["account", "rm", "111111111111"])
        .await
        .expect_failure("rm of a used account");
    assert!(busy.contains("function"), "{busy}");
    for name in ["mine", "theirs"] {
        let _ = platform
            .cli()
            .run(&["rm", name, "--account", "111111111111"])
            .await
            .expect("rm");
    }
    let _ = platform
        .cli()
        .run(&["account", "rm", "111111111111"])
        .await
        .expect("account rm");
}
