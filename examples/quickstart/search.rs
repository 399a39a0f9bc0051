//! A small full-text index, ranked by BM25.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Passage {
    pub file: String,
    pub text: String,
}

/// A passage and how well it fits.
#[derive(Debug, Serialize)]
pub struct Found<'a> {
    pub score: f64,
    #[serde(flatten)]
    pub passage: &'a Passage,
}

pub struct Index {
    passages: Vec<Passage>,
    /// For each word the passages that have it, and how often.
    words: HashMap<String, Vec<(usize, f64)>>,
    lengths: Vec<f64>,
    mean_length: f64,
}

impl Index {
    pub fn new(passages: Vec<Passage>) -> Self {
        let mut words: HashMap<String, Vec<(usize, f64)>> = HashMap::new();
        let mut lengths = Vec::new();
        for (number, passage) in passages.iter().enumerate() {
            let mut counts: HashMap<String, f64> = HashMap::new();
            for word in tokens(&passage.text) {
                *counts.entry(word).or_default() += 1.0;
            }
            lengths.push(counts.values().sum());
            for (word, count) in counts {
                words.entry(word).or_default().push((number, count));
            }
        }
        let mean_length = lengths.iter().sum::<f64>() / lengths.len().max(1) as f64;
        Self {
            passages,
            words,
            lengths,
            mean_length,
        }
    }

    pub fn len(&self) -> usize {
        self.passages.len()
    }

    pub fn files(&self) -> usize {
        self.passages
            .iter()
            .map(|passage| &passage.file)
            .collect::<HashSet<_>>()
            .len()
    }

    /// The `top` passages that fit best.
    pub fn search(&self, query: &str, top: usize) -> Vec<Found<'_>> {
        const K1: f64 = 1.2;
        const B: f64 = 0.75;
        let mut scores: HashMap<usize, f64> = HashMap::new();
        for word in tokens(query).collect::<HashSet<_>>() {
            let Some(occurrences) = self.words.get(&word) else {
                continue;
            };
            let (total, with_word) = (self.passages.len() as f64, occurrences.len() as f64);
            let rarity = ((total - with_word + 0.5) / (with_word + 0.5) + 1.0).ln();
            for (number, count) in occurrences {
                let length = self.lengths[*number] / self.mean_length;
                let score = rarity * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length));
                *scores.entry(*number).or_default() += score;
            }
        }
        let mut found: Vec<_> = scores
            .into_iter()
            .map(|(number, score)| Found {
                score,
                passage: &self.passages[number],
            })
            .collect();
        found.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| a.passage.text.cmp(&b.passage.text))
        });
        found.truncate(top);
        found
    }
}

/// Words worth looking for, in lower case.
pub fn tokens(text: &str) -> impl Iterator<Item = String> + '_ {
    const COMMON: &[&str] = &[
        "a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "how",
        "i", "in", "is", "it", "my", "no", "not", "of", "on", "or", "that", "the", "this", "to",
        "what", "when", "where", "which", "with", "you",
    ];
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| !COMMON.contains(&word.as_str()))
}
