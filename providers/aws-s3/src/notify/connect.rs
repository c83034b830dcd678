//! Configurations made by the platform's own means, beside those that clients put: one at a time, each by its id.

use s3s::dto::Event;
use sonagi_objects::{Bucket, Error};

use super::config::{Kind, Rule, Rules, read_rule};
use super::pass::Source;
use crate::buckets::Settings;
use crate::front::S3;

/// Buckets of an account that are looked through.
const BUCKETS: u32 = 10_000;

/// One configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The bucket.
    pub bucket: String,
    /// Its id, unique in the bucket.
    pub id: String,
    /// The ARN of the function that is told.
    pub target: String,
    /// Of what, for instance `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// What keys begin with.
    pub prefix: String,
    /// What keys end with.
    pub suffix: String,
}

/// It was not made or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Something about it is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The bucket is somebody else's.
    #[error("bucket {0} belongs to another account")]
    Foreign(String),
    /// The store failed.
    #[error("{0}")]
    Store(String),
}

impl From<Error> for ConnectError {
    fn from(error: Error) -> Self {
        match error {
            Error::Bound { .. } | Error::NoBucket(_) => Self::Invalid(error.to_string()),
            Error::Taken { name, .. } => Self::Foreign(name),
            Error::NoObject(_)
            | Error::NoUpload(_)
            | Error::Condition(_)
            | Error::Busy { .. }
            | Error::Full(_)
            | Error::Closed
            | Error::Index { .. }
            | Error::File { .. } => Self::Store(error.to_string()),
        }
    }
}

fn rules_of(bucket: &Bucket) -> Result<Settings, ConnectError> {
    Settings::read(&bucket.document).map_err(|error| ConnectError::Store(error.to_string()))
}

impl S3 {
    /// Makes a bucket of an account and region, if it is not there.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn ensure(&self, name: &str, account: &str, region: &str) -> Result<(), ConnectError> {
        if let Some(found) = self.store().bucket(name).await? {
            return if found.owner == account {
                Ok(())
            } else {
                Err(ConnectError::Foreign(name.to_owned()))
            };
        }
        if !s3s::path::check_bucket_name(name) {
            let text = format!("{name:?} is no name of a bucket: 3 to 63 lowercase letters, digits, '-', '.'");
            return Err(ConnectError::Invalid(text));
        }
        let bucket = Bucket {
            name: name.to_owned(),
            owner: account.to_owned(),
            region: region.to_owned(),
            created: self.now(),
            document: Settings::default().write(),
        };
        Ok(self.store().create_bucket(bucket).await?)
    }

    /// Adds a configuration; its target is checked.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, connection: Connection) -> Result<(), ConnectError> {
        let invalid = |error: s3s::S3Error| ConnectError::Invalid(error.message().unwrap_or_default().to_owned());
        let events = connection.events.iter().cloned().map(Event::from).collect();
        let Connection { bucket, id, target, .. } = &connection;
        let mut rule: Rule =
            read_rule(Kind::Function, target.clone(), Some(id.clone()), events, None).map_err(invalid)?;
        rule.narrow(&connection.prefix, &connection.suffix);
        let found = self.store().bucket(bucket).await?;
        let found = found.ok_or_else(|| ConnectError::Invalid(format!("bucket {bucket} does not exist")))?;
        let source = Source {
            bucket: found.name.clone(),
            account: found.owner.clone(),
            region: found.region.clone(),
        };
        self.targets().check(target, &source).map_err(ConnectError::Invalid)?;
        rules_of(&found)?.notification.with(rule.clone()).map_err(invalid)?;
        let change = move |settings: &mut Settings| {
            // Somebody else's change in between may be in the way: then it is left out, and looked for below.
            if let Ok(rules) = settings.notification.with(rule) {
                settings.notification = rules;
            }
        };
        self.settle(bucket, change).await?;
        let made = self.connections(&found.owner).await?;
        if made.iter().any(|other| other.bucket == *bucket && other.id == *id) {
            return Ok(());
        }
        Err(ConnectError::Invalid(
            "the bucket's configuration was changed at the same time".to_owned(),
        ))
    }

    /// All configurations of an account's buckets that tell functions, by bucket.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connections(&self, account: &str) -> Result<Vec<Connection>, ConnectError> {
        let mut found = Vec::new();
        for bucket in self.store().buckets(account, "", BUCKETS).await? {
            let rules: Rules = rules_of(&bucket)?.notification;
            found.extend(rules.functions().map(|rule| rule.connection(&bucket.name)));
        }
        Ok(found)
    }

    /// Removes a configuration.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn disconnect(&self, bucket: &str, id: &str) -> Result<(), ConnectError> {
        let id = id.to_owned();
        self.settle(bucket, move |settings| settings.notification.remove(&id))
            .await
    }

    async fn settle(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut Settings) + Send + 'static,
    ) -> Result<(), ConnectError> {
        let alter = move |document: &mut serde_json::Value| {
            let mut settings = Settings::read(document).unwrap_or_default();
            change(&mut settings);
            *document = settings.write();
        };
        Ok(self.store().alter_bucket(bucket, alter).await.map(drop)?)
    }
}
