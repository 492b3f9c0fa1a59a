//! A file's words and signs in order, without comments and layout. Pure.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// An identifier, a literal or one sign.
#[derive(Debug)]
pub struct Word {
    pub text: String,
    pub line: usize,
}

/// All of them; brackets are words too.
pub fn of(stream: TokenStream) -> Vec<Word> {
    let mut words = Vec::new();
    collect(stream, &mut words);
    words
}

fn collect(stream: TokenStream, words: &mut Vec<Word>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => collect_group(&group, words),
            TokenTree::Ident(ident) => push(words, ident.to_string(), ident.span()),
            TokenTree::Punct(sign) => push(words, sign.as_char().to_string(), sign.span()),
            TokenTree::Literal(literal) => push(words, literal.to_string(), literal.span()),
        }
    }
}

fn collect_group(group: &Group, words: &mut Vec<Word>) {
    let (open, close) = match group.delimiter() {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    };
    push(words, open.into(), group.span_open());
    collect(group.stream(), words);
    push(words, close.into(), group.span_close());
}

fn push(words: &mut Vec<Word>, text: String, span: Span) {
    words.push(Word { text, line: span.start().line });
}
