//! Env files as `docker compose` reads them: `KEY=value`, `export KEY=value`, quotes, comments,
//! variables.
//!
//! Pure; `files` reads them from disk.

use std::collections::BTreeMap;

use crate::interpolate::{Tails, fill};

/// A wrong line. It never shows a value: env files hold passwords.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DotenvError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// The lines in order; a key alone has no value.
pub type Lines = Vec<(String, Option<String>)>;

/// Reads an env file's text. Variables come from `env`, then from the lines before.
pub fn parse(text: &str, env: &BTreeMap<String, String>) -> Result<Lines, DotenvError> {
    let mut known = env.clone();
    let mut lines = Lines::new();
    let mut reader = Reader { text: text.trim_start_matches('\u{feff}'), line: 1 };
    while let Some((key, value)) = reader.next(&known)? {
        if let Some(value) = &value {
            known.entry(key.clone()).or_insert_with(|| value.clone());
        }
        lines.push((key, value));
    }
    Ok(lines)
}

/// `format: raw`: every character after the first `=` is the value.
pub fn parse_raw(text: &str) -> Result<Lines, DotenvError> {
    let mut lines = Lines::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, None),
        };
        lines.push((checked(key.trim_end(), index + 1)?, value));
    }
    Ok(lines)
}

struct Reader<'a> {
    text: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn next(
        &mut self,
        known: &BTreeMap<String, String>,
    ) -> Result<Option<(String, Option<String>)>, DotenvError> {
        self.skip();
        if self.text.is_empty() {
            return Ok(None);
        }
        let start = self.line;
        let end = self.text.find(['=', '\n']).unwrap_or(self.text.len());
        let has_value = self.text[end..].starts_with('=');
        let key = self.take(end).trim();
        let key = key.strip_prefix("export ").map_or(key, str::trim_start);
        let key = checked(key, start)?;
        if !has_value {
            return Ok(Some((key, None)));
        }
        self.take(1);
        let template = self.value(start)?;
        let value =
            match template {
                Template::Literal(text) => text,
                Template::Variables(text) => fill(&text, known, Tails::Left)
                    .map_err(|_| {
                        error(
                            start,
                            format!(
                                "{key}: a $ that names no variable: put the value in single quotes"
                            ),
                        )
                    })?
                    .text,
            };
        Ok(Some((key, Some(value))))
    }

    /// Past blank lines and comments.
    fn skip(&mut self) {
        loop {
            let blank = self.text.len() - self.text.trim_start().len();
            self.take(blank);
            if !self.text.starts_with('#') {
                return;
            }
            let end = self.text.find('\n').unwrap_or(self.text.len());
            self.take(end);
        }
    }

    fn value(&mut self, start: usize) -> Result<Template, DotenvError> {
        let indent = self.text.len() - self.text.trim_start_matches([' ', '\t']).len();
        self.take(indent);
        let template = match self.text.chars().next() {
            Some('\'') => Template::Literal(self.quoted('\'', start)?.to_owned()),
            Some('"') => Template::Variables(unescape(self.quoted('"', start)?)),
            _ => return Ok(Template::Variables(self.bare().to_owned())),
        };
        let rest = self.bare();
        match rest.is_empty() {
            true => Ok(template),
            false => Err(error(start, "text after the closing quote".into())),
        }
    }

    /// What stands between two quotes; it may span lines.
    fn quoted(&mut self, quote: char, start: usize) -> Result<&'a str, DotenvError> {
        self.take(1);
        let mut escaped = false;
        for (index, c) in self.text.char_indices() {
            if c == quote && !escaped {
                let inside = self.take(index);
                self.take(1);
                return Ok(inside);
            }
            escaped = quote == '"' && c == '\\' && !escaped;
        }
        Err(error(start, format!("a {quote} is not closed")))
    }

    /// The rest of the line without its comment.
    fn bare(&mut self) -> &'a str {
        let end = self.text.find('\n').unwrap_or(self.text.len());
        let line = self.take(end);
        let comment = line
            .char_indices()
            .zip(format!(" {line}").chars())
            .find_map(|((index, c), before)| (c == '#' && before.is_whitespace()).then_some(index));
        line[..comment.unwrap_or(line.len())].trim()
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.text.split_at(length);
        self.line += taken.matches('\n').count();
        self.text = rest;
        taken
    }
}

enum Template {
    Literal(String),
    Variables(String),
}

/// The escapes of a double-quoted value; `\$` becomes the `$$` that stays a dollar sign.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(other @ ('"' | '\\')) => out.push(other),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

fn checked(key: &str, line: usize) -> Result<String, DotenvError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match !key.is_empty() && key.chars().all(fits) {
        true => Ok(key.to_owned()),
        false => {
            Err(error(line, "want KEY=value, with a key of letters, digits, _, - and .".into()))
        }
    }
}

fn error(line: usize, message: String) -> DotenvError {
    DotenvError { line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> BTreeMap<String, String> {
        [("HOST".to_owned(), "db".to_owned())].into()
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        for (text, want) in [
            ("A=b", Some("b")),
            ("  export A = b ", Some("b")),
            ("A=", Some("")),
            ("A", None),
            ("A=b # c", Some("b")),
            ("A=#c", Some("")),
            ("A=b#c", Some("b#c")),
            ("A='b # $HOST'", Some("b # $HOST")),
            ("A=\"b # $HOST\" # c", Some("b # db")),
            ("A=\"x\\ty\\\"\\$HOST\\q\"", Some("x\ty\"$HOST\\q")),
            ("A='two\nlines'", Some("two\nlines")),
            ("A=${HOST}:${PORT:-1}", Some("db:1")),
            ("A=$HOST-1", Some("db-1")),
            ("A=a=b", Some("a=b")),
            ("\u{feff}# c\r\n\r\nA=b\r\n", Some("b")),
        ] {
            let want = vec![("A".to_owned(), want.map(str::to_owned))];
            assert_eq!(parse(text, &env()).unwrap(), want, "{text:?}");
        }
    }

    #[test]
    fn later_lines_see_earlier_ones_and_the_environment_wins() {
        let lines = parse("HOST=file\nA=1\nB=$A$HOST\n", &env()).unwrap();
        assert_eq!(lines[2], ("B".to_owned(), Some("1db".to_owned())));
    }

    #[test]
    fn a_wrong_line_is_named_and_its_value_not_shown() {
        for (text, want) in [
            ("A=1\nB C=s3cret", "line 2: want KEY=value"),
            ("A=1\n\n=s3cret", "line 3: want KEY=value"),
            ("A='s3cret", "line 1: a ' is not closed"),
            ("A='x' s3cret", "line 1: text after the closing quote"),
            ("A=s3cret$5", "line 1: A: a $ that names no variable"),
        ] {
            let message = parse(text, &env()).unwrap_err().to_string();
            assert!(message.starts_with(want), "{text:?}: {message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn raw_values_are_taken_as_they_stand() {
        let lines = parse_raw("# c\nA='$x' # y\nB\n").unwrap();
        assert_eq!(lines[0], ("A".to_owned(), Some("'$x' # y".to_owned())));
        assert_eq!(lines[1], ("B".to_owned(), None));
    }
}
