//! The table of operations: which of ours answers which of S3's. Operations that are not in it are answered as not
//! implemented by the protocol's crate; what nobody has configured is answered so.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};
use sonagi_objects::ObjectStore;
use sonagi_ports::Clock;

use crate::errors::refuse;
use crate::front::S3Caller;
use crate::notify::{Sequencer, Targets};

/// What operations work on.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) store: ObjectStore,
    pub(crate) targets: Arc<dyn Targets>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sequencer: Sequencer,
}

impl Api {
    pub(crate) fn new(store: ObjectStore, targets: Arc<dyn Targets>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            targets,
            clock,
            sequencer: Sequencer::default(),
        }
    }
}

/// Operations that are answered by a method of [`Api`], and those about what a bucket can be configured to have and here
/// never has.
macro_rules! operations {
    (
        answered { $($name:ident $input:ident $output:ident $method:ident;)* }
        never { $($absent:ident $absent_input:ident $absent_output:ident $code:expr, $text:literal;)* }
    ) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $(async fn $name(&self, req: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.$method(req).await
            })*
            $(async fn $absent(&self, req: S3Request<$absent_input>) -> S3Result<S3Response<$absent_output>> {
                let caller = S3Caller::of(&req)?;
                let expected = req.input.expected_bucket_owner.as_deref();
                self.owned(&caller, &req.input.bucket, expected).await?;
                let mut error = refuse($code, $text);
                error.set_status_code(http::StatusCode::NOT_FOUND);
                Err(error)
            })*
        }
    };
}

operations! {
    answered {
        create_bucket CreateBucketInput CreateBucketOutput make_bucket;
        list_buckets ListBucketsInput ListBucketsOutput all_buckets;
        head_bucket HeadBucketInput HeadBucketOutput bucket_head;
        delete_bucket DeleteBucketInput DeleteBucketOutput bucket_gone;
        get_bucket_location GetBucketLocationInput GetBucketLocationOutput bucket_location;
        get_bucket_versioning GetBucketVersioningInput GetBucketVersioningOutput bucket_versioning;
        put_bucket_versioning PutBucketVersioningInput PutBucketVersioningOutput set_versioning;
        get_bucket_tagging GetBucketTaggingInput GetBucketTaggingOutput bucket_tags;
        put_bucket_tagging PutBucketTaggingInput PutBucketTaggingOutput tag_bucket;
        get_bucket_acl GetBucketAclInput GetBucketAclOutput bucket_grants;
        get_bucket_notification_configuration GetBucketNotificationConfigurationInput GetBucketNotificationConfigurationOutput notification;
        put_bucket_notification_configuration PutBucketNotificationConfigurationInput PutBucketNotificationConfigurationOutput set_notification;
        put_object PutObjectInput PutObjectOutput store_body;
        get_object GetObjectInput GetObjectOutput read_object;
        head_object HeadObjectInput HeadObjectOutput describe_object;
        get_object_attributes GetObjectAttributesInput GetObjectAttributesOutput object_attributes;
        delete_object DeleteObjectInput DeleteObjectOutput drop_object;
        delete_objects DeleteObjectsInput DeleteObjectsOutput drop_objects;
        get_object_tagging GetObjectTaggingInput GetObjectTaggingOutput object_tags;
        put_object_tagging PutObjectTaggingInput PutObjectTaggingOutput tag_object;
        delete_object_tagging DeleteObjectTaggingInput DeleteObjectTaggingOutput untag_object;
        get_object_acl GetObjectAclInput GetObjectAclOutput object_grants;
        copy_object CopyObjectInput CopyObjectOutput copy;
        upload_part_copy UploadPartCopyInput UploadPartCopyOutput copy_part;
        list_objects ListObjectsInput ListObjectsOutput list_one;
        list_objects_v2 ListObjectsV2Input ListObjectsV2Output list_two;
        list_object_versions ListObjectVersionsInput ListObjectVersionsOutput list_versions;
        create_multipart_upload CreateMultipartUploadInput CreateMultipartUploadOutput begin_upload;
        upload_part UploadPartInput UploadPartOutput store_part;
        complete_multipart_upload CompleteMultipartUploadInput CompleteMultipartUploadOutput complete;
        abort_multipart_upload AbortMultipartUploadInput AbortMultipartUploadOutput abort;
        list_multipart_uploads ListMultipartUploadsInput ListMultipartUploadsOutput all_uploads;
        list_parts ListPartsInput ListPartsOutput all_parts;
    }
    never {
        get_bucket_policy GetBucketPolicyInput GetBucketPolicyOutput
            S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist";
        get_bucket_cors GetBucketCorsInput GetBucketCorsOutput
            S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist";
        get_bucket_website GetBucketWebsiteInput GetBucketWebsiteOutput
            S3ErrorCode::NoSuchWebsiteConfiguration, "The specified bucket does not have a website configuration";
        get_bucket_lifecycle_configuration GetBucketLifecycleConfigurationInput GetBucketLifecycleConfigurationOutput
            S3ErrorCode::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist";
        get_bucket_encryption GetBucketEncryptionInput GetBucketEncryptionOutput
            S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
            "The server side encryption configuration was not found";
        get_public_access_block GetPublicAccessBlockInput GetPublicAccessBlockOutput
            S3ErrorCode::Custom("NoSuchPublicAccessBlockConfiguration".into()),
            "The public access block configuration was not found";
    }
}
