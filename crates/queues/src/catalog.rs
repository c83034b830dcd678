//! Which queues there are, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sonagi_model::{Namespace, QueueId};
use sonagi_ports::Queue;

/// Replaced as a whole at every change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    queues: HashMap<QueueId, Arc<Queue>>,
    names: BTreeMap<(Namespace, String), QueueId>,
}

impl Catalog {
    pub(crate) fn of(queues: Vec<Queue>) -> Self {
        queues.into_iter().fold(Self::default(), Self::with)
    }

    pub(crate) fn len(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn get(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.queues.get(&id).cloned()
    }

    pub(crate) fn find(&self, namespace: &Namespace, name: &str) -> Option<Arc<Queue>> {
        let id = self.names.get(&(namespace.clone(), name.to_owned()))?;
        self.get(*id)
    }

    pub(crate) fn list(&self, namespace: &Namespace) -> Vec<Arc<Queue>> {
        self.names
            .range((namespace.clone(), String::new())..)
            .take_while(|((found, _), _)| found == namespace)
            .filter_map(|(_, id)| self.get(*id))
            .collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        self.queues.values().cloned().collect()
    }

    pub(crate) fn with(mut self, queue: Queue) -> Self {
        self.names
            .insert((queue.namespace.clone(), queue.name.clone()), queue.id);
        self.queues.insert(queue.id, Arc::new(queue));
        self
    }

    pub(crate) fn without(mut self, id: QueueId) -> Self {
        if let Some(queue) = self.queues.remove(&id) {
            self.names.remove(&(queue.namespace.clone(), queue.name.clone()));
        }
        self
    }
}
