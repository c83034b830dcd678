//! The commands of a document: its fenced blocks that are marked to be run.
//!
//! A block that opens with ```` ```sh run ```` is run, all blocks of a document in order in one shell. Blocks without
//! the mark are for reading: output, or commands of another kind of machine.

/// The text of every marked block.
#[must_use]
pub fn marked(document: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in document.lines() {
        match &mut open {
            Some(_) if line.trim_end() == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line.trim_end() == "```sh run" => open = Some(String::new()),
            None => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_blocks_are_found() {
        let document = "a\n```sh run\none\ntwo\n```\n```sh\nthree\n```\n```text\nx\n```\n```sh run\nfour\n```\n";
        assert_eq!(marked(document), ["one\ntwo\n", "four\n"]);
    }
}
