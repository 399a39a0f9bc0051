//! Rows of files that become datapoints. Knows nothing of datasets.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use crate::error::{Error, Kind};

/// Rows that become datapoints: objects, one for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows(pub(crate) Vec<Map<String, Value>>);

impl Rows {
    /// Reads JSON lines: an object on each line; empty lines do not count.
    ///
    /// ```
    /// use honeyhive::api::Rows;
    ///
    /// let rows = Rows::jsonl("{\"question\": \"Why?\"}\n{\"question\": \"How?\"}\n".as_bytes())?;
    /// assert_eq!(rows.len(), 2);
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Reading failed ([`Error::is_io`]), or a line is no object ([`Error::is_decode`]): the message names the line.
    pub fn jsonl(from: impl Read) -> Result<Self, Error> {
        let mut rows = Vec::new();
        for (index, line) in BufReader::new(from).lines().enumerate() {
            let number = index + 1;
            let line = line.map_err(|error| unreadable(number, &error))?;
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() {
                continue;
            }
            match serde_json::from_str(line) {
                Ok(Value::Object(row)) => rows.push(row),
                Ok(_) => return Err(malformed(number, "it is no object")),
                Err(error) => return Err(malformed(number, &error.to_string())),
            }
        }
        Ok(Self(rows))
    }

    /// Reads CSV with a line of headings. A cell that holds a JSON object or list becomes one; all others are text.
    ///
    /// ```
    /// use honeyhive::api::Rows;
    ///
    /// let rows = Rows::csv("question,answer\n\"Why, then?\",Because\n".as_bytes())?;
    /// assert_eq!(rows.len(), 1);
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Reading failed ([`Error::is_io`]), a line has more or fewer cells than there are headings, or a heading is there
    /// twice ([`Error::is_decode`]): the message names the line.
    pub fn csv(from: impl Read) -> Result<Self, Error> {
        let mut reader = csv::Reader::from_reader(from);
        let headings = reader.headers().map_err(|error| wrong(&error))?.clone();
        let mut seen = std::collections::HashSet::new();
        let names: Vec<String> = headings
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
            .collect();
        for name in &names {
            if !seen.insert(name) {
                return Err(malformed(
                    1,
                    &format!("the heading {name:?} is there twice"),
                ));
            }
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| wrong(&error))?;
            let cells = names.iter().cloned().zip(record.iter().map(cell));
            rows.push(cells.collect());
        }
        Ok(Self(rows))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &Map<String, Value>> {
        self.0.iter()
    }
}

impl FromIterator<Map<String, Value>> for Rows {
    fn from_iter<I: IntoIterator<Item = Map<String, Value>>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

fn cell(text: &str) -> Value {
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str(text)
    {
        return value;
    }
    Value::String(text.to_owned())
}

fn unreadable(line: usize, error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return malformed(line, "it is not UTF-8");
    }
    Error::io(format!("rows: cannot read line {line}: {error}"))
}

fn malformed(line: usize, what: &str) -> Error {
    Error::new(Kind::Decode, format!("rows: line {line}: {what}"))
}

fn wrong(error: &csv::Error) -> Error {
    let line = error.position().map_or(1, csv::Position::line);
    let line = usize::try_from(line).unwrap_or(usize::MAX);
    match error.kind() {
        csv::ErrorKind::Io(error) => unreadable(line, error),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => malformed(
            line,
            &format!("it has {len} cells, the headings are {expected_len}"),
        ),
        csv::ErrorKind::Utf8 { .. } => malformed(line, "it is not UTF-8"),
        _ => malformed(line, "it is no CSV"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_of_json() {
        let rows = Rows::jsonl("\u{feff}{\"a\": 1}\r\n\n  {\"a\": [2]}".as_bytes()).unwrap();
        assert_eq!(json!(rows.0), json!([{"a": 1}, {"a": [2]}]));
        for (text, said) in [
            (&b"{}\n[1]\n"[..], "rows: line 2: it is no object"),
            (b"{}\n\n{\"a\":", "rows: line 3: EOF while parsing"),
            (b"{}\n\xff\n", "rows: line 2: it is not UTF-8"),
        ] {
            let error = Rows::jsonl(text).unwrap_err();
            assert!(error.is_decode());
            assert!(error.to_string().starts_with(said), "{error}");
        }
    }

    #[test]
    fn cells() {
        let text = "\u{feff}q, a\n\"Why,\nthen?\",\"{\"\"x\"\": 1}\"\n[later],7\n";
        let rows = Rows::csv(text.as_bytes()).unwrap();
        assert_eq!(
            json!(rows.0),
            json!([{"q": "Why,\nthen?", "a": {"x": 1}}, {"q": "[later]", "a": "7"}])
        );
        assert!(Rows::csv("a,b\n".as_bytes()).unwrap().is_empty());
        for (text, said) in [
            (
                &b"a,b\n1,2\n1\n"[..],
                "rows: line 3: it has 1 cells, the headings are 2",
            ),
            (
                b"a,a\n1,2\n",
                "rows: line 1: the heading \"a\" is there twice",
            ),
            (b"a\n\xff\n", "rows: line 2: it is not UTF-8"),
        ] {
            let error = Rows::csv(text).unwrap_err();
            assert!(error.is_decode());
            assert_eq!(error.to_string(), said);
        }
    }
}
