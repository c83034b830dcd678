//! `UpdateFunctionConfiguration`.

use std::sync::Arc;

use http::{Response, StatusCode};
use sonagi_control::Edit;
use sonagi_wire::Body;

use super::render::{Detail, configuration};
use super::request::FunctionInput;
use super::settings::Draft;
use super::versions::{Revise, check_revision_id, revise};
use super::{Control, ControlCall, json};
use crate::errors::LambdaError;
use crate::records::{RevisionRecord, read};

impl Control {
    pub(super) async fn update_configuration(
        &self,
        call: &ControlCall,
        name: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let input: FunctionInput<'_> = call.input()?;
        if let Some(runtime) = &input.runtime {
            // A runtime that the model does not know is reported by `apply`, in the model's words.
            Draft::new(String::new()).apply(
                &FunctionInput {
                    runtime: Some(runtime.clone()),
                    ..FunctionInput::default()
                },
                &self.limits,
            )?;
            self.check_runtime(runtime)?;
        }
        let joined = match &input.layers {
            Some(layers) => Some(self.join_layers(&named.place, layers).await?),
            None => None,
        };
        let decide = |edit: &mut Edit| {
            let latest = Arc::clone(edit.entry().latest());
            let record: RevisionRecord = read(&latest.document)?;
            check_revision_id(input.revision_id.as_deref(), &record)?;
            let mut draft = Draft {
                spec: latest.spec.clone(),
                settings: record.settings,
            };
            draft.apply(&input, &self.limits)?;
            if let Some(joined) = &joined {
                self.check_unpacked(&latest.artifact, joined.artifact().as_ref())?;
                draft.settings.layers.clone_from(&joined.uses);
            }
            revise(
                edit,
                Revise {
                    artifact: None,
                    beside: joined.as_ref().map(|joined| joined.artifact()),
                    draft,
                    history: self.limits.history,
                },
            )
        };
        let (_, revision) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        Ok(json(
            StatusCode::OK,
            &configuration(&revision, &named.place, named.arn(), Detail::Full)?,
        ))
    }
}
