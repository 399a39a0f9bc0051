//! Annotation queues: events that wait for people's judgement.

use super::decode::{answer, open_enum};
use super::filter::{Filter, filter_array};
use super::metrics::FilterArray;
use super::operations as op;
use super::request::request;
use super::resource;
use crate::error::Error;

open_enum! {
    /// What something belongs to.
    ScopeType {
        /// Everything.
        System "system",
        /// The control plane.
        ControlPlane "controlplane",
        /// The data plane.
        DataPlane "dataplane",
        /// An organisation.
        Org "org",
        /// A workspace.
        Workspace "workspace",
        /// A project.
        Project "project",
    }
}

answer! {
    /// An annotation queue.
    pub Queue {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What it is for.
        description: String,
        /// The events it takes by itself.
        filters: FilterArray,
        /// Whether it does that.
        enabled: bool,
        /// Whether it is in use.
        is_active: bool,
        /// What it belongs to.
        scope_type: ScopeType,
        /// The id of that.
        scope_id: String,
        /// When it was made.
        created_at: String,
        /// When it was changed.
        updated_at: Option<String>,
    }
}

answer! {
    pub(crate) QueueList {
        queues: Vec<Queue>,
    }
    pub(crate) OneQueue {
        queue: Queue,
    }
}

request! {
    /// A queue to be created.
    NewQueue(name: [text]) {
        /// What it is for, at most 1,000 characters.
        description: [text],
        /// Whether it takes events by itself; it does unless set.
        enabled: [flag],
        /// Events that are in it from the start.
        event_ids: [texts],
    }

    /// What changes in a queue.
    QueueUpdate() {
        /// Its name, at most 200 characters.
        name: [text],
        /// What it is for, at most 1,000 characters.
        description: [text],
        /// Whether it takes events by itself.
        enabled: [flag],
        /// Events to be put in.
        add_event_ids: [texts],
        /// Events to be taken out.
        remove_event_ids: [texts],
    }
}

impl NewQueue {
    /// The events it takes by itself.
    pub fn filters(self, filters: impl IntoIterator<Item = Filter>) -> Self {
        self.set("filters", filter_array(filters))
    }
}

impl QueueUpdate {
    /// The events it takes by itself.
    pub fn filters(self, filters: impl IntoIterator<Item = Filter>) -> Self {
        self.set("filters", filter_array(filters))
    }
}

resource! {
    /// Annotation queues; see [`Client::queues`](super::Client::queues).
    Queues
}

impl Queues {
    /// Lists queues: all, or those that take events by themselves and those that do not.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn list(&self, enabled: Option<bool>) -> Result<Vec<Queue>, Error> {
        let mut request = self.client.request(op::GET_QUEUES, &[]);
        if let Some(enabled) = enabled {
            request = request.query("enabled", enabled);
        }
        let list: QueueList = request.get().await?;
        Ok(list.queues)
    }

    /// Creates a queue. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] names what is too long.
    pub async fn create(&self, queue: NewQueue) -> Result<Queue, Error> {
        let one: OneQueue = self
            .client
            .request(op::CREATE_QUEUE, &[])
            .body(queue)
            .get()
            .await?;
        Ok(one.queue)
    }

    /// Reads a queue.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such queue.
    pub async fn get(&self, queue_id: &str) -> Result<Queue, Error> {
        self.client.request(op::GET_QUEUE, &[queue_id]).get().await
    }

    /// Changes a queue.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such queue.
    pub async fn update(&self, queue_id: &str, update: QueueUpdate) -> Result<Queue, Error> {
        let body = update.set("id", queue_id);
        let request = self.client.request(op::UPDATE_QUEUE, &[queue_id]);
        let one: OneQueue = request.body(body).get().await?;
        Ok(one.queue)
    }

    /// Deletes a queue. Its events stay.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such queue.
    pub async fn delete(&self, queue_id: &str) -> Result<(), Error> {
        self.client
            .request(op::DELETE_QUEUE, &[queue_id])
            .done()
            .await
    }
}
