//! Queues and event source mappings outlive a sudden end of the platform: nothing that was acknowledged is lost.

use sonagi_e2e::deploy;
use sonagi_testkit::{Client, Project, Setup};

/// Messages that are sent.
const MESSAGES: usize = 120;

/// Tells a queue what it got, slowly enough that a sudden end meets it at work.
const CONSUMER: &str = r#"
import datetime, hashlib, hmac, http.client, json, os, time, urllib.parse

def call(operation, document):
    """One request to SQS, signed by hand: the runtime brings no SDK."""
    target, region = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"]), os.environ["AWS_REGION"]
    body = json.dumps(document).encode()
    digest = lambda data: hashlib.sha256(data).hexdigest()
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": target.netloc, "x-amz-date": now, "x-amz-target": "AmazonSQS." + operation,
               "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"], "content-type": "application/x-amz-json-1.0"}
    names = sorted(headers)
    canonical = "POST\n/\n\n" + "".join(f"{name}:{headers[name]}\n" for name in names)
    canonical += "\n" + ";".join(names) + "\n" + digest(body)
    scope = f"{now[:8]}/{region}/sqs/aws4_request"
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n" + digest(canonical.encode())
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
                                f"SignedHeaders={';'.join(names)}, Signature={signature}")
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=10)
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return json.loads(answer.read())

def handler(event, context):
    time.sleep(0.05)
    entries = [{"Id": str(place), "MessageBody": record["body"]} for place, record in enumerate(event["Records"])]
    assert not call("SendMessageBatch", {"QueueUrl": "seen", "Entries": entries}).get("Failed")
"#;

const BEGIN: &str = r#"
import boto3, time
sqs, api = boto3.client("sqs"), boto3.client("lambda")
work = sqs.create_queue(QueueName="work", Attributes={"VisibilityTimeout": "5"})["QueueUrl"]
seen = sqs.create_queue(QueueName="seen")["QueueUrl"]
arn = sqs.get_queue_attributes(QueueUrl=work, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
api.create_event_source_mapping(EventSourceArn=arn, FunctionName="consumer", BatchSize=5)
for first in range(0, MESSAGES, 10):
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(first, first + 10)]
    assert len(sqs.send_message_batch(QueueUrl=work, Entries=entries)["Successful"]) == 10
# Some batches are done, some are at work, some wait.
name, end = "ApproximateNumberOfMessages", time.monotonic() + 60
while sqs.get_queue_attributes(QueueUrl=seen, AttributeNames=[name])["Attributes"][name] == "0":
    assert time.monotonic() < end, "no batch was done"
    time.sleep(0.01)
"#;

const END: &str = r#"
import boto3, time
sqs, api = boto3.client("sqs"), boto3.client("lambda")
url = lambda name: sqs.get_queue_url(QueueName=name)["QueueUrl"]
seen, end = [], time.monotonic() + 60
while len(set(seen)) < MESSAGES and time.monotonic() < end:
    for message in sqs.receive_message(QueueUrl=url("seen"), MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", []):
        seen.append(message["Body"])
        sqs.delete_message(QueueUrl=url("seen"), ReceiptHandle=message["ReceiptHandle"])
missing = {str(number) for number in range(MESSAGES)} - set(seen)
assert not missing, f"lost: {sorted(missing)}"
names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
while set(sqs.get_queue_attributes(QueueUrl=url("work"), AttributeNames=names)["Attributes"].values()) != {"0"}:
    assert time.monotonic() < end, "the queue is not empty"
    time.sleep(0.1)
mapping = api.list_event_source_mappings(FunctionName="consumer")["EventSourceMappings"][0]
assert mapping["State"] == "Enabled", mapping
print(len(seen) - len(set(seen)))
"#;

fn script(text: &str) -> String {
    text.replace("MESSAGES", &MESSAGES.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_queue_is_lost_by_a_sudden_end() {
    let mut platform = Setup::new().set("keep-alive", "20s").start().await;
    deploy(&platform, &Project::python("consumer", CONSUMER), &["--timeout", "5s"]).await;
    let begun = Client::Boto3.text(&script(BEGIN), &platform.aws().await).await;
    drop(begun.expect("queues, a mapping, messages"));
    platform.kill().await;
    platform.start().await;
    let ended = Client::Boto3.text(&script(END), &platform.aws().await).await;
    let repeated: usize = ended.expect("every message").trim().parse().expect("a number");
    // What was at work comes again: at most the places at the beginning, each with one batch.
    assert!(repeated <= 60, "{repeated} messages were seen more than once");
    platform.stop().await;
}

/// What a bound function is sent.
const SENDING: &str = r#"
import boto3
sqs, s3, api = (boto3.client(name) for name in ("sqs", "s3", "lambda"))
sqs.send_message(QueueUrl="jobs", MessageBody='{"kind": "new"}')
sqs.send_message(QueueUrl="jobs", MessageBody='{"kind": "old"}')
s3.put_object(Bucket="photos", Key="in/cat.jpg", Body=b"cat")
s3.put_object(Bucket="photos", Key="in/cat.txt", Body=b"cat")
(mapping,) = api.list_event_source_mappings()["EventSourceMappings"]
assert mapping["BatchSize"] == 5, mapping
(rule,) = s3.get_bucket_notification_configuration(Bucket="photos")["LambdaFunctionConfigurations"]
assert rule["Id"] == "pictures", rule
"#;

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_bound_to_queues_and_buckets() {
    let platform = sonagi_testkit::Platform::up().await;
    deploy(&platform, &sonagi_e2e::python("worker", "event"), &[]).await;
    let cli = platform.cli();
    let filter = r#"{"body":{"kind":["new"]}}"#;
    let queue = [
        "on", "queue", "jobs", "worker", "--batch", "5", "--filter", filter, "--name", "jobs",
    ];
    assert_eq!(cli.json(&queue).await["source"]["queue"]["queue"], "jobs");
    let bucket = ["on", "s3", "photos", "worker", "--suffix", ".jpg", "--name", "pictures"];
    assert_eq!(cli.json(&bucket).await["source"]["objects"]["bucket"], "photos");
    let sent = Client::Boto3.text(SENDING, &platform.aws().await).await;
    drop(sent.expect("messages and objects"));
    let runs = sonagi_testkit::until("two runs", sonagi_testkit::platform::PATIENCE, async || {
        let runs = cli.json(&["runs", "worker"]).await;
        (runs["runs"].as_array().is_some_and(|runs| runs.len() >= 2)).then_some(runs)
    })
    .await;
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2), "{runs}");
    let listed = cli.json(&["on", "ls"]).await;
    let names: Vec<_> = listed["bindings"]
        .as_array()
        .expect("bindings")
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["jobs", "pictures"]);
    for name in ["jobs", "pictures"] {
        cli.json(&["on", "rm", name]).await;
    }
    sonagi_testkit::until("no binding", sonagi_testkit::platform::PATIENCE, async || {
        let left = cli.json(&["on", "ls"]).await;
        left["bindings"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
}
