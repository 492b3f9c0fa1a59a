//! Nothing is left for later in a comment: what is not built is refused with an error that says so.

use crate::tidy::tree::TextFile;
use crate::tidy::violation::Violation;

/// In two parts, so that this file does not offend.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("HA", "CK:")];

pub fn check(file: &TextFile) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for mark in MARKS.into_iter().filter(|mark| has_word(line, mark)) {
            found.push(Violation {
                path: file.path.clone(),
                line: index + 1,
                rule: "marks",
                message: format!("do it, or open an issue, in place of {mark}"),
            });
        }
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_word_of_its_own() {
        let [todo, fixme, _] = MARKS;
        let text = format!("// {todo}: later\nlet {todo}S = 1;\n# {fixme} x\n");
        let found = check(&TextFile { path: "a.sh".into(), text });
        assert_eq!(super::super::fixture::lines(&found), [1, 3]);
    }
}
