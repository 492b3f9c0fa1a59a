//! What is found in a file.

use super::*;

const TEXT: &str = r#"//! Doc.
#![forbid(unsafe_code)]

mod inner;

/// Doc of a function.
fn long(
    a: u8,
) -> u8 {
    let b = "x.unwrap()"; // and y.unwrap()
    #[expect(clippy::unwrap_used, reason = "it is there")]
    let c = a.checked_add(1).unwrap();
    unsafe { c }
}

#[derive(Debug, thiserror::Error)]
enum E {
    #[error("no such {0}")]
    Missing(String),
}

#[cfg(test)]
mod tests {
    mod bed;
    #[ignore]
    #[test]
    fn t() { x.unwrap() }
}
"#;

fn source() -> Source {
    Source::parse("crates/a/src/b.rs", TEXT).unwrap()
}

#[test]
fn the_head_of_a_file_is_found() {
    let facts = source().facts;
    assert!(facts.has_module_doc && facts.forbids_unsafe);
    let bare = Source::parse("b.rs", "/// Not of the module.\nfn f() {}").unwrap().facts;
    assert!(!bare.has_module_doc && !bare.forbids_unsafe);
}

#[test]
fn a_function_goes_from_its_signature_to_its_last_brace() {
    let facts = source().facts;
    assert_eq!(facts.functions[0].name, "long");
    assert_eq!(facts.functions[0].lines, Lines { first: 7, last: 14 });
    assert_eq!(facts.unsafe_blocks, [13]);
}

#[test]
fn words_in_strings_and_comments_are_not_code() {
    assert_eq!(source().places(&[".", "unwrap", "("]), [12, 27]);
}

#[test]
fn a_lifted_lint_covers_its_statement() {
    let source = source();
    assert!(source.lifts("clippy::unwrap_used", 12));
    assert!(!source.lifts("clippy::unwrap_used", 13));
    assert!(!source.lifts("clippy::expect_used", 12));
}

#[test]
fn tests_are_known_by_their_attribute() {
    let source = source();
    assert!(!source.in_test(10) && source.in_test(27));
    assert_eq!(source.test_modules(), ["crates/a/src/b/tests/bed"]);
    assert_eq!(source.facts.ignored, [25]);
}

#[test]
fn the_texts_of_errors_are_found() {
    let facts = source().facts;
    assert_eq!((facts.errors[0].text.as_str(), facts.errors[0].line), ("no such {0}", 18));
}

#[test]
fn code_that_is_left_out_of_tests_is_no_test() {
    let source = Source::parse("a.rs", "#[cfg(not(test))]\nfn f() {}").unwrap();
    assert!(!source.in_test(2));
}
