//! Uploads of function folders: what upstream has container registries for.

use serde_json::json;

use super::{Answer, Api, Call, ok};

impl Api {
    pub(super) async fn upload(&self, call: &Call) -> Answer {
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        let name = call.query.get("name").map(String::as_str);
        let uploaded = self.sources.upload(account, name, call.body.clone()).await?;
        let source = &uploaded.source;
        ok(&json!({
            "image": source.image(),
            "digest": format!("sha256:{}", source.artifact.digest),
            "runtime": uploaded.file.runtime,
        }))
    }
}
