//! Texts with `*` for any characters, also none; `\*` and `\\` stand for the characters themselves.

/// A text with wildcards: what lies between them, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wildcard {
    parts: Vec<String>,
}

impl Wildcard {
    /// Reads a text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut characters = text.chars().enumerate();
        let mut after_star = false;
        while let Some((at, character)) = characters.next() {
            match character {
                '*' if after_star => return Err(format!("Consecutive wildcard characters at pos {}", at - 1)),
                '*' => parts.push(String::new()),
                '\\' => match characters.next() {
                    Some((_, escaped @ ('*' | '\\'))) => push(&mut parts, escaped),
                    Some(_) | None => return Err(format!("Invalid escape character at pos {at}")),
                },
                other => push(&mut parts, other),
            }
            after_star = character == '*';
        }
        Ok(Self { parts })
    }

    pub(super) fn matches(&self, value: &str) -> bool {
        let (first, rest) = match self.parts.split_first() {
            Some((first, [])) => return value == first,
            Some(split) => split,
            None => return false,
        };
        let Some((last, middle)) = rest.split_last() else {
            return false;
        };
        let Some(value) = value
            .strip_prefix(first.as_str())
            .and_then(|value| value.strip_suffix(last.as_str()))
        else {
            return false;
        };
        // The leftmost place of each part leaves the most room for the next.
        let mut left = value;
        middle.iter().all(|part| match left.find(part.as_str()) {
            Some(at) => {
                left = &left[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

fn push(parts: &mut [String], character: char) {
    if let Some(part) = parts.last_mut() {
        part.push(character);
    }
}
