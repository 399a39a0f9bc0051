//! The known name that somebody who misspelt one meant. Knows nothing of what names are for.

/// The candidate that takes the fewest edits, if that is not nearly all of it.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // A name of the environment can be as long as the system allows; none of ours is.
    let name: Vec<char> = name.chars().take(64).collect();
    candidates
        .map(|candidate| (distance(&name, candidate), candidate))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, candidate)| distance * 5 <= candidate.len() * 2)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (line, character) in to.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (index, cell) in row.iter_mut().enumerate() {
            let above = *cell;
            *cell = match index.checked_sub(1).and_then(|index| from.get(index)) {
                None => line + 1,
                Some(other) => (diagonal + usize::from(*other != character))
                    .min(above + 1)
                    .min(left + 1),
            };
            left = *cell;
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("HH_BATCHSIZE", "HH_BATCH_SIZE", 1),
        ] {
            let from: Vec<char> = from.chars().collect();
            assert_eq!(distance(&from, to), expected);
        }
    }
}
