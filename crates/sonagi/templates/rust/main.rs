//! An AWS Lambda function in Rust: `greet` is called with each event.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

async fn greet(event: LambdaEvent<Value>) -> Result<Value, Error> {
    // A call of the function's URL carries its parameters here; a direct call is the event itself.
    let parameters = event.payload.get("queryStringParameters").filter(|value| value.is_object());
    let name = parameters.unwrap_or(&event.payload)["name"].as_str().unwrap_or("world");
    println!("greeting {name}");
    let body = json!({ "message": format!("hello, {name}"), "request": event.context.request_id });
    Ok(json!({
        "statusCode": 200,
        "headers": { "content-type": "application/json" },
        "body": body.to_string(),
    }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(greet)).await
}
