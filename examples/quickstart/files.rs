//! The command line, and the text files it names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::search::Passage;

#[derive(Debug)]
pub struct Arguments {
    pub paths: Vec<PathBuf>,
    pub questions: Vec<String>,
    pub serve: bool,
    pub port: u16,
}

impl Arguments {
    pub fn parse() -> crate::Result<Self> {
        let mut parsed = Self {
            paths: Vec::new(),
            questions: Vec::new(),
            serve: false,
            port: 0,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--serve" => parsed.serve = true,
                "--port" => {
                    parsed.port = arguments.next().ok_or("--port takes a number")?.parse()?;
                }
                "-q" | "--question" => parsed
                    .questions
                    .push(arguments.next().ok_or("-q takes a question")?),
                option if option.starts_with('-') => {
                    return Err(format!(
                        "{option}: not an option (--serve, --port N, -q QUESTION, PATH ...)"
                    )
                    .into());
                }
                path => parsed.paths.push(path.into()),
            }
        }
        if parsed.questions.is_empty() {
            parsed.questions.extend(crate::QUESTIONS.map(str::to_owned));
        }
        if parsed.paths.is_empty() {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            parsed
                .paths
                .extend(["README.md", "CHANGELOG.md", "src/docs"].map(|path| root.join(path)));
        }
        Ok(parsed)
    }
}

/// The paragraphs of all text files among the paths and below them; of source files the documentation.
pub fn read(paths: &[PathBuf]) -> crate::Result<Vec<Passage>> {
    let mut passages = Vec::new();
    let mut queue = paths.to_vec();
    while let Some(path) = queue.pop() {
        if path.is_dir() {
            let mut below: Vec<PathBuf> = fs::read_dir(&path)?
                .flatten()
                .map(|entry| entry.path())
                .collect();
            below.sort();
            queue.extend(below);
            continue;
        }
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let text = match extension {
            "md" | "txt" | "rst" | "" => text,
            "rs" => documentation(&text),
            _ => continue,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        passages.extend(
            prose(&text)
                .split("\n\n")
                .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
                .filter(|paragraph| paragraph.len() > 60)
                .map(|text| Passage {
                    file: name.clone().into_owned(),
                    text,
                }),
        );
    }
    if passages.is_empty() {
        return Err("no text found (Markdown, text and Rust files are read)".into());
    }
    Ok(passages)
}

/// The text without code and without the marks of links.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced && !line.trim_start().starts_with(['|', '#'])
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    while let Some((start, length)) = text
        .find("](")
        .and_then(|start| Some((start, text[start..].find(')')?)))
    {
        text.replace_range(start..=start + length, "");
    }
    text.replace(['[', ']'], "")
}

fn documentation(source: &str) -> String {
    let mut text = String::new();
    for line in source.lines().map(str::trim_start) {
        match line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
        {
            Some(comment) => text.push_str(comment.trim_start()),
            None if text.ends_with("\n\n") => continue,
            None => {}
        }
        text.push('\n');
    }
    text
}
