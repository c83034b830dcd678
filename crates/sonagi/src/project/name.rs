//! A function's name from the name of its folder or file.

use std::path::Path;

/// The longest name that is made up. Every provider takes it.
const LENGTH_MAX: usize = 63;

/// A name of letters, digits, `-` and `_`; `None` if nothing of the path is left.
pub fn from_path(path: &Path) -> Option<String> {
    let stem = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    from_text(stem?.to_str()?)
}

/// Runs of other characters become one `-`.
pub fn from_text(text: &str) -> Option<String> {
    let mut name = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == '_' {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == LENGTH_MAX {
            break;
        }
    }
    let trimmed = name.trim_end_matches('-');
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_what_they_can() {
        for (text, expected) in [
            ("hello", Some("hello")),
            ("My App (v2)", Some("My-App-v2")),
            ("a_b-c", Some("a_b-c")),
            ("..", None),
            ("é", None),
            ("été", Some("t")),
        ] {
            assert_eq!(from_text(text).as_deref(), expected, "{text}");
        }
        assert_eq!(from_text(&"x".repeat(100)).unwrap().len(), LENGTH_MAX);
        assert_eq!(
            from_path(Path::new("/nonexistent/hello.world.py")).as_deref(),
            Some("hello-world")
        );
    }
}
