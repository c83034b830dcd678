//! An [`Archive`] in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Archive, Filing, FilingFilter, FilingPart, StoreError};

/// Keeps everything, for ever.
#[derive(Debug, Default)]
pub struct FakeArchive(Mutex<BTreeMap<(String, String), Filing>>);

impl FakeArchive {
    fn find(&self, filter: &FilingFilter) -> Vec<Filing> {
        let filings = self.0.lock();
        let mut found: Vec<Filing> = filings
            .values()
            .filter(|filing| filing.scope == filter.scope)
            .filter(|filing| filter.label.as_ref().is_none_or(|label| *label == filing.label))
            .filter(|filing| filter.since.is_none_or(|since| filing.at >= since))
            .filter(|filing| filter.upto.is_none_or(|upto| filing.at <= upto))
            .cloned()
            .collect();
        found.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        let (skip, limit) = (filter.skip as usize, filter.limit as usize);
        found.into_iter().skip(skip).take(limit).collect()
    }
}

#[async_trait]
impl Archive for FakeArchive {
    fn file(&self, filing: Filing) -> Result<(), StoreError> {
        self.0.lock().insert((filing.scope.clone(), filing.id.clone()), filing);
        Ok(())
    }

    async fn get(&self, scope: &str, id: &str) -> Result<Option<Bytes>, StoreError> {
        let key = (scope.to_owned(), id.to_owned());
        Ok(self.0.lock().get(&key).map(|filing| filing.body.clone()))
    }

    async fn list(&self, filter: FilingFilter, part: FilingPart) -> Result<Vec<Bytes>, StoreError> {
        let found = self.find(&filter).into_iter().map(|filing| match part {
            FilingPart::Summary => filing.summary,
            FilingPart::Body => filing.body,
        });
        Ok(found.collect())
    }

    async fn count(&self, filter: FilingFilter) -> Result<u64, StoreError> {
        Ok(self.find(&filter).len() as u64)
    }
}
