//! Configurations: prompts, models and their settings, by name and environment.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::cache::Limits;
use super::decode::{answer, open_enum};
use super::operations as op;
use super::request::request;
use super::resource;
use crate::error::Error;

open_enum! {
    /// Where a configuration is in force.
    Environment {
        /// Development.
        Dev "dev",
        /// Staging.
        Staging "staging",
        /// Production.
        Prod "prod",
    }

    /// What a configuration is of.
    ConfigurationType {
        /// A model.
        Llm "LLM",
        /// A pipeline.
        Pipeline "pipeline",
    }

    /// How a model is called.
    CallType {
        /// With messages.
        Chat "chat",
        /// With text.
        Completion "completion",
    }
}

answer! {
    /// What a model is called with.
    pub Parameters {
        /// How it is called.
        call_type: CallType,
        /// The model.
        model: String,
        /// Its settings, such as `temperature`.
        hyperparameters: Option<Map<String, Value>>,
        /// The messages, a list of objects of `role` and `content`, or text; null where there is none.
        template: Value,
        /// The form of its answers; null where nothing was said.
        response_format ("responseFormat"): Value,
        /// The functions it may call.
        selected_functions ("selectedFunctions"): Option<Vec<Value>>,
        /// Whether it calls functions: `none`, `auto` or `force`.
        function_call_params ("functionCallParams"): Option<String>,
        /// The function it must call; null where nothing was said.
        force_function ("forceFunction"): Value,
    }

    /// A configuration.
    pub Configuration {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What it is of.
        kind ("type"): ConfigurationType,
        /// The provider of the model.
        provider: String,
        /// What the model is called with.
        parameters: Parameters,
        /// Where it is in force.
        env: Vec<Environment>,
        /// Its tags.
        tags: Vec<String>,
        /// The properties of a user; null where there are none.
        user_properties: Value,
        /// When it was made.
        created_at: String,
        /// When it was changed.
        updated_at: Option<String>,
    }
}

answer! {
    pub(crate) ConfigurationList {
        configurations: Vec<Configuration>,
    }
    pub(crate) CreatedConfiguration {
        id ("insertedId"): String,
    }
    pub(crate) UpdatedConfiguration {
        modified ("modifiedCount"): f64,
    }
    pub(crate) DeletedConfiguration {
        deleted ("deletedCount"): f64,
    }
}

request! {
    /// What a model is to be called with.
    ///
    /// ```
    /// use honeyhive::api::{NewConfiguration, NewParameters};
    /// use serde_json::json;
    ///
    /// let parameters = NewParameters::new("chat", "gpt-4o")
    ///     .hyperparameters(json!({"temperature": 0.2}))
    ///     .template(json!([{"role": "system", "content": "You answer in one sentence."}]));
    /// let prompt = NewConfiguration::new("support", "openai", parameters).env(["prod".into()]);
    /// # let _ = prompt;
    /// ```
    NewParameters(call_type: [one CallType], model: [text]) {
        /// Its settings, an object.
        hyperparameters: [json],
        /// The messages, a list of objects of `role` and `content`, or text.
        template: [json],
        /// The form of its answers: an object whose `type` is `text` or `json_object`.
        response_format ("responseFormat"): [json],
        /// The functions it may call: objects of `id`, `name`, `description` and `parameters`.
        selected_functions ("selectedFunctions"): [list],
        /// Whether it calls functions: `none`, `auto` or `force`.
        function_call_params ("functionCallParams"): [text],
        /// The function it must call, an object.
        force_function ("forceFunction"): [json],
    }

    /// A configuration to be created.
    NewConfiguration(name: [text], provider: [text], parameters: [one NewParameters]) {
        /// What it is of; a model unless set.
        kind ("type"): [one ConfigurationType],
        /// Where it is in force.
        env: [many Environment],
        /// Its tags.
        tags: [texts],
        /// The properties of a user, an object.
        user_properties: [json],
    }

    /// What changes in a configuration, whose name is said in any case.
    ConfigurationUpdate(name: [text]) {
        /// What it is of.
        kind ("type"): [one ConfigurationType],
        /// The provider of the model.
        provider: [text],
        /// What the model is called with.
        parameters: [one NewParameters],
        /// Where it is in force.
        env: [many Environment],
        /// Its tags.
        tags: [texts],
        /// The properties of a user, an object.
        user_properties: [json],
    }

    /// Which configurations are listed.
    ConfigurationQuery() {
        /// Those with this name.
        name: [text],
        /// Those in force there.
        env: [one Environment],
        /// Those with these tags, separated by commas.
        tags: [text],
    }
}

resource! {
    /// Configurations; see [`Client::configurations`](super::Client::configurations).
    Configurations
}

impl Configurations {
    /// Lists configurations.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn list(&self, query: ConfigurationQuery) -> Result<Vec<Configuration>, Error> {
        let request = self.client.request(op::GET_CONFIGURATIONS, &[]);
        let list: ConfigurationList = request.queries(query.fields).get().await?;
        Ok(list.configurations)
    }

    /// Reads the configuration of this name, that which is in force in `env` if one is given; `None` when there is none. Of
    /// several the one changed last is taken.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn get(&self, name: &str, env: Option<&str>) -> Result<Option<Configuration>, Error> {
        let mut query = ConfigurationQuery::new().name(name);
        if let Some(env) = env {
            query = query.env(env);
        }
        let list = self.list(query).await?;
        let there = |found: &Configuration| match env {
            Some(env) => found.env.iter().any(|known| known.as_str() == env),
            None => true,
        };
        let found = list
            .into_iter()
            .filter(|found| found.name == name && there(found));
        let changed = |found: &Configuration| {
            let changed = found.updated_at.as_ref().unwrap_or(&found.created_at);
            changed.clone()
        };
        Ok(found.max_by_key(changed))
    }

    /// The same, out of the cache if it is there: fresh for 15 minutes unless `HH_CACHE_TTL` says otherwise, and for as
    /// long again while a new one is fetched, which nobody waits for. That there is none is kept too.
    ///
    /// ```no_run
    /// # async fn example(honeyhive: honeyhive::HoneyHive) -> Result<(), honeyhive::Error> {
    /// let prompts = honeyhive.api().configurations();
    /// if let Some(prompt) = prompts.get_cached("support", Some("prod")).await? {
    ///     println!("{} {}", prompt.parameters.model, prompt.parameters.template);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// It was not in the cache, and the call failed.
    pub async fn get_cached(
        &self,
        name: &str,
        env: Option<&str>,
    ) -> Result<Option<Arc<Configuration>>, Error> {
        let config = self.client.config();
        let caches = self.client.caches();
        let key = caches.key(&config, &[Some(name), env]);
        let (own, name, env) = (self.clone(), name.to_owned(), env.map(str::to_owned));
        let fetch = || async move {
            let found = own.get(&name, env.as_deref()).await?;
            Ok(found.map(Arc::new))
        };
        caches
            .prompts
            .get(key, Limits::prompts(&config), fetch)
            .await
    }

    /// Creates a configuration, and returns its id. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] names what is not accepted.
    pub async fn create(&self, configuration: NewConfiguration) -> Result<String, Error> {
        let request = self.client.request(op::CREATE_CONFIGURATION, &[]);
        let created: Result<CreatedConfiguration, Error> = request.body(configuration).get().await;
        self.client.caches().prompts.clear();
        Ok(created?.id)
    }

    /// Changes a configuration; false when there was nothing to change.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] names what is not accepted.
    pub async fn update(&self, id: &str, update: ConfigurationUpdate) -> Result<bool, Error> {
        let request = self.client.request(op::UPDATE_CONFIGURATION, &[id]);
        let done: Result<UpdatedConfiguration, Error> = request.body(update).get().await;
        self.client.caches().prompts.clear();
        Ok(done?.modified > 0.0)
    }

    /// Deletes a configuration; false when there was nothing to delete.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn delete(&self, id: &str) -> Result<bool, Error> {
        let request = self.client.request(op::DELETE_CONFIGURATION, &[id]);
        let done: Result<DeletedConfiguration, Error> = request.get().await;
        self.client.caches().prompts.clear();
        Ok(done?.deleted > 0.0)
    }
}
