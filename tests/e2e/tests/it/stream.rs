//! A streamed answer flows through as it is written.

use std::time::Duration;

use serde_json::json;
use sonagi_e2e::deploy;
use sonagi_testkit::{Client, Platform, Project};

const SOURCE: &str = r"
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  for (let i = 0; i < 4; i++) {
    stream.write(`part ${i};`);
    await new Promise((done) => setTimeout(done, 600));
  }
  stream.end();
});
";

const STREAMED: &str = r#"
import boto3
client = boto3.client("lambda")
client.delete_function_url_config(FunctionName="flowing")
made = client.create_function_url_config(FunctionName="flowing", AuthType="NONE", InvokeMode="RESPONSE_STREAM")
try:
    client.add_permission(FunctionName="flowing", StatementId="stream", Action="lambda:InvokeFunctionUrl",
        Principal="*", FunctionUrlAuthType="NONE")
except client.exceptions.ResourceConflictException:
    pass
print(made["FunctionUrl"])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn parts_arrive_while_the_function_runs() {
    let platform = Platform::up().await;
    deploy(&platform, &Project::node("flowing", SOURCE), &["--timeout", "20s"]).await;
    let url = Client::Boto3
        .text(STREAMED, &platform.aws().await)
        .await
        .expect("a streaming URL");
    for start in ["cold", "warm"] {
        let answer = platform
            .http()
            .call_url(url.trim(), "/", json!({}).to_string())
            .await
            .unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.text().as_str()),
            (200, "part 0;part 1;part 2;part 3;"),
            "{start}"
        );
        // A client that gets no processor for a while finds several parts at once, but never all: they take 1.8 s.
        assert!(answer.parts.len() >= 2, "{start}: {:?}", answer.parts);
        let before_end = answer.took.saturating_sub(answer.parts[0].0);
        assert!(
            before_end > Duration::from_millis(500),
            "{start}: the first part came {before_end:?} before the end"
        );
    }
}
