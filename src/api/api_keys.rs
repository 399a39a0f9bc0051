//! Keys of a project: made, and shown once.

use serde_json::{Map, Value};

use super::decode::{answer, field, object};
use super::filter::Timestamp;
use super::operations as op;
use super::request::request;
use super::resource;
use crate::config::ApiKey;
use crate::error::Error;

/// A key that was made. The server tells it once; it is masked wherever it is printed or serialised, and
/// [`expose`](Self::expose) gives it out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CreatedKey {
    /// The key.
    pub key: ApiKey,
    /// Its id.
    pub key_id: String,
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it may do.
    pub permissions: Option<Vec<String>>,
    /// What it belongs to.
    pub root_scope_type: String,
    /// The id of that.
    pub root_scope_id: String,
    /// When it ends.
    pub expires_at: Option<String>,
    /// What the answer had besides.
    pub extra: Map<String, Value>,
}

impl CreatedKey {
    /// The key itself: put it where keys are kept, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.key.expose()
    }
}

impl super::decode::Decode for CreatedKey {
    fn decode(value: Value) -> Result<Self, super::decode::Wrong> {
        let mut map = object(value)?;
        Ok(Self {
            key: ApiKey::new(field::<String>(&mut map, "key_value")?),
            key_id: field(&mut map, "key_id")?,
            name: field(&mut map, "name")?,
            description: field(&mut map, "description")?,
            permissions: field(&mut map, "permissions")?,
            root_scope_type: field(&mut map, "root_scope_type")?,
            root_scope_id: field(&mut map, "root_scope_id")?,
            expires_at: field(&mut map, "expires_at")?,
            extra: map,
        })
    }

    fn encode(&self) -> Value {
        let mut map = self.extra.clone();
        map.insert("key_value".to_owned(), self.key.to_string().into());
        map.insert("key_id".to_owned(), self.key_id.clone().into());
        Value::Object(map)
    }
}

answer! {
    pub(crate) OneKey {
        data: CreatedKey,
    }
}

request! {
    /// A key of the data plane to be made. `expires_at` is ISO 8601, or a `SystemTime`.
    NewApiKey(name: [text], permissions: [texts], expires_at: [one Timestamp]) {
        /// What it is for.
        description: [text],
    }

    /// A key for ingestion to be made.
    NewIngestionKey(name: [text]) {
        /// What it is for.
        description: [text],
    }
}

resource! {
    /// Keys of a project; see [`Client::api_keys`](super::Client::api_keys). Making them takes a key of the data plane.
    ApiKeys
}

impl ApiKeys {
    /// Makes a key of the data plane, with these permissions. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn create(&self, project_id: &str, key: NewApiKey) -> Result<CreatedKey, Error> {
        let request = self
            .client
            .request(op::CREATE_DATA_PLANE_KEY, &[project_id]);
        let one: OneKey = request.body(key).get().await?;
        Ok(one.data)
    }

    /// Makes a key that may only write. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn create_ingestion(
        &self,
        project_id: &str,
        key: NewIngestionKey,
    ) -> Result<CreatedKey, Error> {
        let request = self.client.request(op::CREATE_INGESTION_KEY, &[project_id]);
        let one: OneKey = request.body(key).get().await?;
        Ok(one.data)
    }
}
