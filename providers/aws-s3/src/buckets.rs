//! Buckets: made, listed, removed, and what is kept about them.

use std::collections::BTreeMap;

use s3s::dto::{
    Bucket as Shown, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketAclInput, GetBucketAclOutput, GetBucketLocationInput, GetBucketLocationOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetBucketVersioningInput, GetBucketVersioningOutput, Grant, Grantee,
    HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput, Permission, PutBucketTaggingInput,
    PutBucketTaggingOutput, PutBucketVersioningInput, PutBucketVersioningOutput, Type,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sonagi_objects::{Bucket, BucketRemoved, Error};

use crate::answers::{moment, owner};
use crate::api::Api;
use crate::errors::{no_such_bucket, not_offered, of_store, refuse};
use crate::front::S3Caller;
use crate::notify::Rules;
use crate::tags;

/// Buckets of one page. Source: "ListBuckets".
const PAGE: u32 = 1000;

/// What is kept about a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    /// Whom changes of its objects are told.
    #[serde(skip_serializing_if = "Rules::is_empty")]
    pub(crate) notification: Rules,
}

impl Settings {
    pub(crate) fn read(document: &Value) -> S3Result<Self> {
        serde_json::from_value(document.clone()).map_err(|error| {
            tracing::error!(%error, "the settings of a bucket cannot be read");
            refuse(S3ErrorCode::InternalError, "The settings of the bucket cannot be read.")
        })
    }

    pub(crate) fn write(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Api {
    /// The bucket of a request, which must belong to the caller and, if said, to the account that is expected.
    pub(crate) async fn owned(&self, caller: &S3Caller, name: &str, expected: Option<&str>) -> S3Result<Bucket> {
        let found = self.store.bucket(name).await.map_err(of_store)?;
        let found = found.ok_or_else(no_such_bucket)?;
        if found.owner != caller.account || expected.is_some_and(|expected| expected != found.owner) {
            return Err(refuse(S3ErrorCode::AccessDenied, "Access Denied"));
        }
        Ok(found)
    }

    /// Changes the settings of a bucket.
    pub(crate) async fn settle(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut Settings) + Send + 'static,
    ) -> S3Result<()> {
        let alter = move |document: &mut Value| {
            let mut settings = Settings::read(document).unwrap_or_default();
            change(&mut settings);
            *document = settings.write();
        };
        self.store.alter_bucket(bucket, alter).await.map(drop).map_err(of_store)
    }

    pub(crate) async fn make_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        if input.object_lock_enabled_for_bucket == Some(true) {
            return Err(not_offered("Object lock is"));
        }
        if input.acl.as_ref().is_some_and(|acl| acl.as_str() != "private") {
            return Err(refuse(
                S3ErrorCode::Custom("InvalidBucketAclWithObjectOwnership".into()),
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            ));
        }
        let wanted = input
            .create_bucket_configuration
            .and_then(|found| found.location_constraint);
        let region = wanted
            .as_ref()
            .map_or_else(|| caller.region.clone(), |wanted| wanted.as_str().to_owned());
        let bucket = Bucket {
            name: input.bucket.clone(),
            owner: caller.account.clone(),
            region,
            created: self.clock.now(),
            document: Settings::default().write(),
        };
        match self.store.create_bucket(bucket).await {
            Ok(()) => {}
            Err(Error::Taken { owner, .. }) if owner == caller.account => {
                return Err(refuse(
                    S3ErrorCode::BucketAlreadyOwnedByYou,
                    "Your previous request to create the named bucket succeeded and you already own it.",
                ));
            }
            Err(error) => return Err(of_store(error)),
        }
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(format!("/{}", input.bucket)),
        }))
    }

    pub(crate) async fn all_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let limit = input.max_buckets.and_then(|max| u32::try_from(max).ok());
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let after = input.continuation_token.unwrap_or_default();
        let found = self
            .store
            .buckets(&caller.account, &after, PAGE)
            .await
            .map_err(of_store)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let wanted = |bucket: &Bucket| {
            let region = input.bucket_region.as_ref();
            bucket.name.starts_with(&prefix) && region.is_none_or(|region| *region == bucket.region)
        };
        let mut shown: Vec<Shown> = found
            .into_iter()
            .filter(wanted)
            .map(|bucket| Shown {
                bucket_region: Some(bucket.region),
                creation_date: Some(moment(bucket.created)),
                name: Some(bucket.name),
            })
            .collect();
        let more = shown.len() > limit as usize;
        shown.truncate(limit as usize);
        let next = shown.last().and_then(|last| last.name.clone()).filter(|_| more);
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(shown),
            continuation_token: next,
            owner: Some(owner(&caller.account)),
            prefix: input.prefix,
        }))
    }

    pub(crate) async fn bucket_head(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        let found = self.owned(&caller, &req.input.bucket, expected).await?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(found.region),
            ..HeadBucketOutput::default()
        }))
    }

    pub(crate) async fn bucket_gone(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        self.owned(&caller, &req.input.bucket, expected).await?;
        match self.store.remove_bucket(&req.input.bucket).await.map_err(of_store)? {
            BucketRemoved::Done => Ok(S3Response::with_status(
                DeleteBucketOutput::default(),
                http::StatusCode::NO_CONTENT,
            )),
            BucketRemoved::NotEmpty => Err(refuse(
                S3ErrorCode::BucketNotEmpty,
                "The bucket you tried to delete is not empty",
            )),
        }
    }

    pub(crate) async fn bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        let found = self.owned(&caller, &req.input.bucket, expected).await?;
        // The first region has no name here.
        let constraint = (found.region != "us-east-1").then(|| BucketLocationConstraint::from(found.region));
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint: constraint,
        }))
    }

    /// Buckets have one version of each object, which is what an answer without a status means.
    pub(crate) async fn bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        self.owned(&caller, &req.input.bucket, expected).await?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    pub(crate) async fn set_versioning(
        &self,
        req: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        self.owned(&caller, &req.input.bucket, expected).await?;
        match req.input.versioning_configuration.status {
            Some(status) if status.as_str() == "Enabled" => Err(not_offered("Versions of objects are")),
            // A bucket that never had versions is the same as one whose versions are suspended, but for this answer.
            Some(_) | None => Ok(S3Response::new(PutBucketVersioningOutput::default())),
        }
    }

    pub(crate) async fn bucket_tags(
        &self,
        req: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        let found = self.owned(&caller, &req.input.bucket, expected).await?;
        let settings = Settings::read(&found.document)?;
        if settings.tags.is_empty() {
            return Err(refuse(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"));
        }
        Ok(S3Response::new(GetBucketTaggingOutput {
            tag_set: tags::shown(&settings.tags),
        }))
    }

    pub(crate) async fn tag_bucket(
        &self,
        req: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        self.owned(&caller, &req.input.bucket, expected).await?;
        let tags = tags::of_set(req.input.tagging.tag_set, tags::BUCKET_TAGS)?;
        self.settle(&req.input.bucket, move |settings| settings.tags = tags)
            .await?;
        Ok(S3Response::with_status(
            PutBucketTaggingOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    /// The one grant that there is: everything to the owner.
    pub(crate) async fn bucket_grants(
        &self,
        req: S3Request<GetBucketAclInput>,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        let found = self.owned(&caller, &req.input.bucket, expected).await?;
        Ok(S3Response::new(GetBucketAclOutput {
            grants: Some(vec![everything(&found.owner)]),
            owner: Some(owner(&found.owner)),
        }))
    }
}

/// Everything for an account.
pub(crate) fn everything(account: &str) -> Grant {
    Grant {
        grantee: Some(Grantee {
            display_name: None,
            email_address: None,
            id: owner(account).id,
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        }),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }
}
