use super::*;

fn read(text: &str) -> Node {
    parse(&"f.yaml".into(), text).unwrap()
}

fn error(text: &str) -> String {
    parse(&"f.yaml".into(), text).unwrap_err().to_string()
}

#[test]
fn keys_and_values_know_their_places() {
    let root = read("a:\n  b: c\n  d:\n    - e\n");
    let b = root.get("a").unwrap().get("b").unwrap();
    assert_eq!((b.at.line, b.at.column), (2, 6));
    let Value::Map(entries) = &root.get("a").unwrap().value else { panic!("a map") };
    assert_eq!((entries[1].at.line, entries[1].at.column), (3, 3));
}

#[test]
fn merge_keys_fill_in_what_is_missing() {
    let root = read(
        "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: own\nw:\n  b: w\n  <<: \
         *y\n",
    );
    let of = |map: &str, key: &str| root.get(map).unwrap().get(key).unwrap().scalar().unwrap();
    assert_eq!([of("z", "a"), of("z", "b"), of("z", "c")], ["own", "2", "4"]);
    assert_eq!([of("w", "b"), of("w", "c")], ["w", "4"]);
}

#[test]
fn a_quoted_merge_key_is_an_ordinary_key() {
    assert_eq!(read("\"<<\": a").get("<<").unwrap().scalar(), Some("a"));
}

#[test]
fn nothing_and_text_are_told_apart() {
    let root = read("a:\nb: ~\nc: ''\nd: 'null'\ne: !!str null\n");
    assert!(root.get("a").unwrap().is_null() && root.get("b").unwrap().is_null());
    for key in ["c", "d", "e"] {
        assert!(root.get(key).unwrap().scalar().is_some(), "{key}");
    }
}

#[test]
fn tags_say_how_to_merge() {
    let root = read("a: !reset null\nb: !override [x]\n");
    assert_eq!(root.get("a").unwrap().merging, Merging::Reset);
    assert_eq!(root.get("b").unwrap().merging, Merging::Override);
}

#[test]
fn what_is_wrong_is_shown_with_its_place() {
    for (text, want) in [
        ("a: 1\na: 2\n", "f.yaml:2:1: the key \"a\" stands here twice"),
        (
            "a: 1\n---\nb: 2\n",
            "f.yaml:2:1: a second document: want one per file, pass each with -c",
        ),
        ("<<: 3\n", "f.yaml:1:5: << wants a map or a list of maps"),
        ("? [a]\n: b\n", "f.yaml:1:3: a key must be text, not a list"),
        (
            "a: !python/object x\n",
            "f.yaml:1:4: unknown tag !python/object: want !reset or !override",
        ),
        ("a: &a [*a]\n", "f.yaml:1:8: an alias stands within its own anchor"),
    ] {
        assert_eq!(error(text), want, "{text}");
    }
    assert!(error("a: [1\nb: 2").starts_with("f.yaml:2:"), "{}", error("a: [1\nb: 2"));
    assert!(error("a: *nope\n").starts_with("f.yaml:1:4: invalid YAML"), "{}", error("a: *nope"));
}

#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        let items = [before.as_str(); 8].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(error(&text).ends_with("aliases expand to too large a document"), "{}", error(&text));
}

#[test]
fn nesting_has_an_end() {
    let brackets = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(error(&brackets).contains("nested deeper than 64 levels"), "{}", error(&brackets));
    assert!(error(&"[".repeat(100_000)).contains("recursion limit"));
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(error(&text).ends_with("aliases expand to too large a document"));
}

#[test]
fn an_empty_document_is_an_empty_map() {
    assert_eq!(read("# nothing\n").value, Value::Map(Vec::new()));
}
