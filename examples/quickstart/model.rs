//! The model step: any OpenAI-compatible endpoint, or sentences of what was found.

use std::collections::HashSet;
use std::env;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::search::{Passage, tokens};

#[derive(Debug, Serialize)]
pub struct Message {
    pub role: &'static str,
    pub content: String,
}

#[derive(Debug, Default)]
pub struct Reply {
    pub text: String,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

pub enum Model {
    Remote {
        url: String,
        key: Option<String>,
        name: String,
        client: reqwest::Client,
    },
    Extractive,
}

pub fn messages(question: &str, found: &[&Passage]) -> Vec<Message> {
    let context: Vec<String> = found
        .iter()
        .map(|passage| format!("[{}] {}", passage.file, passage.text))
        .collect();
    let rules = "Answer from these passages in one or two sentences. Say so if they do not tell.";
    vec![
        Message {
            role: "system",
            content: format!("{rules}\n\n{}", context.join("\n\n")),
        },
        Message {
            role: "user",
            content: question.to_owned(),
        },
    ]
}

impl Model {
    pub fn from_env() -> Self {
        let (key, base) = (
            env::var("OPENAI_API_KEY").ok(),
            env::var("OPENAI_BASE_URL").ok(),
        );
        if key.is_none() && base.is_none() {
            return Self::Extractive;
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self::Remote {
            url: base.unwrap_or_else(|| "https://api.openai.com/v1".to_owned()),
            key,
            name: env::var("OPENAI_MODEL").unwrap_or_else(|_| "gpt-4o-mini".to_owned()),
            client: reqwest::Client::new(),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Remote { name, .. } => name,
            Self::Extractive => "extractive",
        }
    }

    pub fn provider(&self) -> &str {
        match self {
            Self::Remote { .. } => "openai",
            Self::Extractive => "none (set OPENAI_API_KEY for an LLM)",
        }
    }

    pub async fn complete(
        &self,
        messages: &[Message],
        question: &str,
        found: &[&Passage],
    ) -> crate::Result<Reply> {
        let Self::Remote {
            url,
            key,
            name,
            client,
        } = self
        else {
            return Ok(extract(question, found));
        };
        let mut request = client
            .post(format!("{}/chat/completions", url.trim_end_matches('/')))
            .json(&json!({ "model": name, "messages": messages }));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let completion: Completion = request.send().await?.error_for_status()?.json().await?;
        let choice = completion
            .choices
            .into_iter()
            .next()
            .ok_or("the model answered without a choice")?;
        Ok(Reply {
            text: choice.message.content,
            prompt_tokens: completion.usage.prompt_tokens,
            completion_tokens: completion.usage.completion_tokens,
        })
    }
}

/// The sentences that share most words with the question.
fn extract(question: &str, found: &[&Passage]) -> Reply {
    let wanted: HashSet<String> = tokens(question).collect();
    let score = |sentence: &str| {
        let words: Vec<String> = tokens(sentence).collect();
        let shared = words.iter().filter(|word| wanted.contains(*word)).count();
        shared as f64 / (words.len() as f64 + 4.0).sqrt()
    };
    let sentences = found
        .iter()
        .flat_map(|passage| passage.text.split_inclusive(". "));
    let mut ranked: Vec<(f64, &str)> = sentences.map(|text| (score(text), text.trim())).collect();
    ranked.retain(|(score, _)| *score > 0.0);
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let best: Vec<&str> = ranked.iter().take(2).map(|(_, text)| *text).collect();
    Reply {
        text: if best.is_empty() {
            "The passages do not tell.".to_owned()
        } else {
            best.join(" ")
        },
        ..Reply::default()
    }
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Choice {
    message: Answer,
}

#[derive(Deserialize)]
struct Answer {
    content: String,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}
