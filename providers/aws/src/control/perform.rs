//! From an operation to what carries it out.

use http::Response;
use sonagi_wire::Body;

use super::event_invoke::Merge;
use super::operations::ControlOperation;
use super::{Control, ControlCall};
use crate::errors::LambdaError;

impl Control {
    /// Carries out an operation of the control API.
    ///
    /// # Errors
    /// [`LambdaError`], to be answered as it is.
    pub(crate) async fn perform(
        &self,
        operation: ControlOperation,
        names: &[String],
        call: &ControlCall,
    ) -> Result<Response<Body>, LambdaError> {
        use ControlOperation as Op;
        let name = names.first().map(String::as_str).unwrap_or_default();
        let second = names.get(1).map(String::as_str).unwrap_or_default();
        match operation {
            Op::CreateFunction => Box::pin(self.create_function(call)).await,
            Op::GetFunction => self.get_function(call, name),
            Op::GetFunctionConfiguration => self.get_configuration(call, name),
            Op::ListFunctions => self.list_functions(call),
            Op::UpdateFunctionCode => Box::pin(self.update_code(call, name)).await,
            Op::UpdateFunctionConfiguration => Box::pin(self.update_configuration(call, name)).await,
            Op::DeleteFunction => self.delete_function(call, name).await,
            Op::PublishVersion => self.publish_version(call, name).await,
            Op::ListVersionsByFunction => self.list_versions(call, name),
            Op::CreateAlias => self.create_alias(call, name).await,
            Op::GetAlias => self.get_alias(call, name, second),
            Op::UpdateAlias => self.update_alias(call, name, second).await,
            Op::DeleteAlias => self.delete_alias(call, name, second).await,
            Op::ListAliases => self.list_aliases(call, name),
            Op::PutFunctionConcurrency => self.put_concurrency(call, name).await,
            Op::GetFunctionConcurrency => self.get_concurrency(call, name),
            Op::DeleteFunctionConcurrency => self.delete_concurrency(call, name).await,
            Op::PutProvisionedConcurrencyConfig => self.put_provisioned(call, name).await,
            Op::GetProvisionedConcurrencyConfig => self.get_provisioned(call, name),
            Op::DeleteProvisionedConcurrencyConfig => self.delete_provisioned(call, name).await,
            Op::PutFunctionEventInvokeConfig => self.put_event_invoke(call, name, Merge::Replace).await,
            Op::UpdateFunctionEventInvokeConfig => self.put_event_invoke(call, name, Merge::Update).await,
            Op::GetFunctionEventInvokeConfig => self.get_event_invoke(call, name),
            Op::DeleteFunctionEventInvokeConfig => self.delete_event_invoke(call, name).await,
            Op::ListFunctionEventInvokeConfigs => self.list_event_invoke(call, name),
            Op::CreateEventSourceMapping => self.create_mapping(call).await,
            Op::GetEventSourceMapping => self.get_mapping(call, name),
            Op::ListEventSourceMappings => self.list_mappings(call),
            Op::UpdateEventSourceMapping => self.update_mapping(call, name).await,
            Op::DeleteEventSourceMapping => self.delete_mapping(call, name).await,
            Op::CreateFunctionUrlConfig => self.create_url(call, name).await,
            Op::GetFunctionUrlConfig => self.get_url(call, name),
            Op::UpdateFunctionUrlConfig => self.update_url(call, name).await,
            Op::DeleteFunctionUrlConfig => self.delete_url(call, name).await,
            Op::ListFunctionUrlConfigs => self.list_urls(call, name),
            Op::PublishLayerVersion => Box::pin(self.publish_layer(call, name)).await,
            Op::ListLayers if call.query.get("find") == Some("LayerVersion") => self.get_layer_by_arn(call),
            Op::ListLayers => self.list_layers(call),
            Op::ListLayerVersions => self.list_layer_versions(call, name),
            Op::GetLayerVersion => self.get_layer(call, name, second),
            Op::DeleteLayerVersion => self.delete_layer(call, name, second).await,
            Op::AddLayerVersionPermission => self.add_layer_permission(call, (name, second)).await,
            Op::GetLayerVersionPolicy => self.get_layer_policy(call, (name, second)),
            Op::RemoveLayerVersionPermission => {
                let sid = names.get(2).map(String::as_str).unwrap_or_default();
                self.remove_layer_permission(call, (name, second), sid).await
            }
            Op::AddPermission => self.add_permission(call, name).await,
            Op::RemovePermission => self.remove_permission(call, name, second).await,
            Op::GetPolicy => self.get_policy(call, name),
            Op::TagResource => self.tag(call, name).await,
            Op::UntagResource => self.untag(call, name).await,
            Op::ListTags => self.list_tags(call, name),
            Op::GetAccountSettings => self.account_settings(call),
            Op::GetFunctionCodeSigningConfig => self.code_signing(call, name),
            Op::GetFunctionRecursionConfig => self.get_recursion(call, name),
            Op::PutFunctionRecursionConfig => self.put_recursion(call, name).await,
            Op::GetRuntimeManagementConfig => self.get_runtime_management(call, name),
            Op::PutRuntimeManagementConfig => self.put_runtime_management(call, name).await,
            Op::NotOffered => Err(LambdaError::not_offered(
                "Code signing, capacity providers, durable executions, scaling configuration and policies by ARN are",
            )),
        }
    }
}
