//! Whatever the text, an answer comes: a stack or problems, and never a panic.

use proptest::prelude::*;

use super::*;

/// Small documents made of the keys and values that the code knows.
fn document() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("services"),
        Just("web"),
        Just("image"),
        Just("ports"),
        Just("volumes"),
        Just("networks"),
        Just("deploy"),
        Just("environment"),
        Just("configs"),
        Just("labels"),
        Just("80:80"),
        Just("a=b"),
        Just("1s"),
        Just("${TAG:-x}"),
        Just("$"),
        Just("$$x"),
        Just("'0'"),
        Just("/a:/b:ro"),
        Just("~"),
        Just("<<"),
        Just("*a"),
        Just("x-y"),
        Just("external"),
        Just("healthcheck"),
        Just("test"),
        Just("command"),
        Just("true"),
        Just("source"),
    ];
    let leaf = word.clone().prop_map(str::to_owned);
    let node = leaf.prop_recursive(6, 64, 5, move |inner| {
        let entry =
            (word.clone(), inner.clone()).prop_map(|(key, value)| format!("{key}: {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(entry, 0..5)
                .prop_map(|items| format!("{{{}}}", items.join(", "))),
        ]
    });
    (node.clone(), node).prop_map(|(web, other)| {
        format!("services: {{web: {web}}}\nnetworks: {other}\nx-a: &a {{image: i}}\n")
    })
}

proptest! {
    #[test]
    fn a_document_never_panics(text in document()) {
        let _ = load_text(&text);
        let sources = [Source::Stdin(text.clone()), Source::Stdin(text)];
        let _ = load(&sources, &BTreeMap::new(), "s");
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}|[-:{}\\[\\],&*!|>'\"%#\n a$]{0,80}") {
        let _ = load_text(&text);
        let _ = render(&[Source::Stdin(text.clone())], &BTreeMap::new(), false);
        let _ = interpolate::interpolate(&text, &BTreeMap::new());
        let _ = volume::parse_short(&text);
        let _ = dotenv::parse(&text, &BTreeMap::new());
    }

    #[test]
    fn what_is_rendered_loads_as_the_same_stack(text in document()) {
        if let Ok(stack) = load_text(&text) {
            let env = [("TAG".to_owned(), "v9".to_owned())].into();
            let rendered = render(&[Source::Stdin(text)], &env, true).unwrap();
            let again = load_text(&rendered).unwrap();
            prop_assert_eq!(stack.services, again.services);
        }
    }
}
