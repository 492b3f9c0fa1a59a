//! The table as the document that users read.

use std::fmt::Write;

use super::{Key, Status, keys};

/// What stands above the table.
const INTRODUCTION: &str = include_str!("introduction.md");

/// The support matrix, as in `docs/compose.md`.
pub fn support_matrix() -> String {
    let mut text = INTRODUCTION.to_owned();
    for Key { path, status, note } in keys() {
        let status = match status {
            Status::Supported => "yes",
            Status::Ignored => "ignored",
            Status::Refused => "**refused**",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{path}` | {status} | {note} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    /// `UPDATE_EXPECT=1` writes it anew.
    #[test]
    fn the_document_shows_the_table() {
        expect_file!["../../../../docs/compose.md"].assert_eq(&super::support_matrix());
    }
}
