//! A Lambda function in Rust, built as "bootstrap".

use lambda_runtime::{run, service_fn, Error, LambdaEvent};
use serde_json::{json, Value};
use std::time::{SystemTime, UNIX_EPOCH};

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let context = event.context;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    Ok(json!({
        "message": "hello from Rust",
        "input": event.payload,
        "requestId": context.request_id,
        "function": context.env_config.function_name,
        "memoryMB": context.env_config.memory,
        "remainingMs": context.deadline.saturating_sub(now),
    }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
