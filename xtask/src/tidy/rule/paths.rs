//! No file names a place that only one machine has.

use crate::tidy::tree::TextFile;
use crate::tidy::violation::Violation;

/// In two parts, so that this file does not offend.
const PLACES: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/home", "/")];

pub fn check(file: &TextFile) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for place in PLACES.into_iter().filter(|place| names(line, place)) {
            found.push(Violation {
                path: file.path.clone(),
                line: index + 1,
                rule: "paths",
                message: format!("{place} is a place of one machine"),
            });
        }
    }
    found
}

/// Whether an absolute path begins so: not one that goes on from something else.
fn names(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.$}/".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_offend() {
        let [one, two, _] = PLACES;
        let text = format!("cd {one}main\ncd net{one}x\ncp a $dir{two}b\nroot:x:0:0:root:/r\n");
        let found = check(&TextFile { path: "a.sh".into(), text });
        assert_eq!(super::super::fixture::lines(&found), [1]);
    }
}
