//! Writes a tree as canonical YAML: keys in order, one style, text quoted where it could be read as
//! something else.

use crate::node::{Node, Scalar, Value};

/// The document's text.
pub fn render(root: &Node) -> String {
    let mut out = String::new();
    match &root.value {
        Value::Map(entries) if entries.is_empty() => out.push_str("{}\n"),
        _ => block(root, 0, &mut out),
    }
    out
}

fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            for (index, entry) in entries.into_iter().enumerate() {
                // The first key of a list's item follows its dash.
                if index > 0 || !out.ends_with("- ") {
                    out.extend(std::iter::repeat_n(' ', indent));
                }
                let key = Scalar { text: entry.key.clone(), quoted: true };
                out.push_str(&scalar(&key));
                out.push(':');
                value(&entry.node, indent + 2, out);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 || !out.ends_with("- ") {
                    out.extend(std::iter::repeat_n(' ', indent));
                }
                out.push_str("- ");
                match is_leaf(item) {
                    true => leaf(item, out),
                    false => block(item, indent + 2, out),
                }
            }
        }
        Value::Null | Value::Scalar(_) => leaf(node, out),
    }
}

/// What stands after `key:`.
fn value(node: &Node, indent: usize, out: &mut String) {
    match is_leaf(node) {
        true if node.is_null() => out.push('\n'),
        true => {
            out.push(' ');
            leaf(node, out);
        }
        false => {
            out.push('\n');
            block(node, indent, out);
        }
    }
}

fn is_leaf(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Scalar(_) => true,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

fn leaf(node: &Node, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Scalar(text) => out.push_str(&scalar(text)),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
    out.push('\n');
}

fn scalar(scalar: &Scalar) -> String {
    let text = &scalar.text;
    if is_safe(text) && !(scalar.quoted && looks_typed(text)) {
        return text.clone();
    }
    // JSON's strings are YAML's double-quoted ones, but for characters that YAML would fold.
    let quoted = serde_json::Value::String(text.clone()).to_string();
    quoted.replace('\u{85}', "\\N").replace('\u{2028}', "\\L").replace('\u{2029}', "\\P")
}

/// Whether plain text reads back as itself.
fn is_safe(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@+ =,{}$%*()".contains(c);
    let first = |c: char| c.is_ascii_alphanumeric() || "_./$".contains(c);
    !text.is_empty()
        && text.starts_with(first)
        && text.chars().all(plain)
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && text != "..."
}

/// Whether plain text would be read as something other than text.
fn looks_typed(text: &str) -> bool {
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    word || text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node {
        crate::yaml::parse(&"f".into(), text).unwrap()
    }

    #[test]
    fn keys_are_sorted_and_text_is_quoted_where_it_must_be() {
        let root = parse(
            "b: [x, {d: 1, c: '2'}, [y, z]]\na: 'yes'\nc:\nd: {}\ne: \"a: b\"\nf: |\n  two\n  \
             lines\n",
        );
        let want = "\
a: \"yes\"
b:
  - x
  - c: \"2\"
    d: 1
  - - y
    - z
c:
d: {}
e: \"a: b\"
f: \"two\\nlines\\n\"
";
        assert_eq!(render(&root), want);
        assert_eq!(render(&parse(want)), want);
    }

    #[test]
    fn strange_text_reads_back_as_itself() {
        for text in [
            "- x",
            "#",
            "a #b",
            "&a",
            "*a",
            "!x",
            "~",
            "",
            " ",
            "a: ",
            "é\u{2028}\u{85}\u{7f}\t",
            "'",
            "\"\\",
        ] {
            let at = parse("a").at;
            let node = Node::new(
                Value::Map(vec![crate::node::Entry::new("k", Node::text(text, &at))]),
                &at,
            );
            let back = parse(&render(&node));
            assert_eq!(back.get("k").and_then(Node::scalar), Some(text), "{}", render(&node));
        }
    }
}
