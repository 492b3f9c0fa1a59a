//! Variables in a text: `$VAR`, `${VAR}`, `${VAR:-default}` and their kin, as `docker stack deploy`
//! reads them, and with the nested defaults and `:+` of `docker compose`. Pure: the environment is
//! passed in.

use std::collections::BTreeMap;

/// Defaults within defaults go no deeper.
const MAX_DEPTH: usize = 16;
/// Characters of a wrong placeholder that its message shows.
const SHOWN: usize = 40;

/// A text with its variables filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interpolated {
    /// The result.
    pub text: String,
    /// Variables that are not set and have no default: they became empty.
    pub missing: Vec<String>,
    /// Unbraced placeholders that took a tail as their default: `$TAG-x`.
    pub tails: Vec<String>,
}

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpolateError {
    /// Not a placeholder.
    #[error("invalid interpolation format: \"{0}\"; you may need to escape any $ with another $")]
    InvalidTemplate(String),
    /// `${VAR:?message}` and VAR is not set.
    #[error("required variable {name} is missing a value: {message}")]
    RequiredMissing {
        /// The variable.
        name: String,
        /// What the file says about it.
        message: String,
    },
}

/// Whether `$VAR-x` reads as `${VAR-x}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tails {
    /// As in `docker stack deploy`: in compose files.
    Taken,
    /// As everywhere else: in env files.
    Left,
}

/// Fills in every variable of `template` from `env`.
///
/// An unbraced name takes the tail up to the next `}` as its default if it looks like one, as in
/// `docker stack deploy`.
pub fn interpolate(
    template: &str,
    env: &BTreeMap<String, String>,
) -> Result<Interpolated, InterpolateError> {
    fill(template, env, Tails::Taken)
}

/// As `interpolate`, with a choice about tails.
pub(crate) fn fill(
    template: &str,
    env: &BTreeMap<String, String>,
    tails: Tails,
) -> Result<Interpolated, InterpolateError> {
    let mut filler = Filler { env, tails, out: Interpolated::default() };
    filler.out.text = filler.expand(template, 0)?;
    Ok(filler.out)
}

struct Filler<'a> {
    env: &'a BTreeMap<String, String>,
    tails: Tails,
    out: Interpolated,
}

impl Filler<'_> {
    fn expand(&mut self, template: &str, depth: usize) -> Result<String, InterpolateError> {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(dollar) = rest.find('$') {
            text.push_str(&rest[..dollar]);
            let placeholder = &rest[dollar..];
            let after = &placeholder[1..];
            if let Some(escaped) = after.strip_prefix('$') {
                text.push('$');
                rest = escaped;
            } else if let Some(inside) = after.strip_prefix('{') {
                let end = closing_brace(inside).ok_or_else(|| invalid(placeholder))?;
                let shown = &placeholder[..end + 3];
                text.push_str(&self.replace(&inside[..end], shown, depth)?);
                rest = &inside[end + 1..];
            } else {
                let end = self.unbraced(after);
                text.push_str(&self.replace(&after[..end], placeholder, depth)?);
                rest = &after[end..];
            }
        }
        text.push_str(rest);
        Ok(text)
    }

    /// How far an unbraced placeholder reaches.
    fn unbraced(&mut self, after: &str) -> usize {
        let name = name_length(after);
        let tail = &after[name..];
        let operator = tail.strip_prefix(':').unwrap_or(tail);
        if name == 0 || self.tails == Tails::Left || !operator.starts_with(['-', '?']) {
            return name;
        }
        let end = after.find('}').unwrap_or(after.len());
        self.out.tails.push(format!("${}", &after[..end]));
        end
    }

    /// The value of `VAR`, `VAR:-default` and so on.
    fn replace(
        &mut self,
        body: &str,
        shown: &str,
        depth: usize,
    ) -> Result<String, InterpolateError> {
        let (name, rest) = body.split_at(name_length(body));
        if name.is_empty() || depth > MAX_DEPTH {
            return Err(invalid(shown));
        }
        let (strict, operator) = match rest.strip_prefix(':') {
            Some(operator) => (true, operator),
            None => (false, rest),
        };
        let value = self.env.get(name).filter(|value| !(strict && value.is_empty())).cloned();
        let argument = operator.get(1..).unwrap_or_default();
        match (operator.chars().next(), value) {
            (None, _) if strict => Err(invalid(shown)),
            (None, Some(value)) | (Some('-' | '?'), Some(value)) => Ok(value),
            (None, None) => {
                self.out.missing.push(name.to_owned());
                Ok(String::new())
            }
            (Some('-'), None) | (Some('+'), Some(_)) => self.expand(argument, depth + 1),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => Err(InterpolateError::RequiredMissing {
                name: name.to_owned(),
                message: argument.to_owned(),
            }),
            (Some(_), _) => Err(invalid(shown)),
        }
    }
}

fn invalid(placeholder: &str) -> InterpolateError {
    InterpolateError::InvalidTemplate(placeholder.chars().take(SHOWN).collect())
}

/// Length of the variable's name that `text` starts with.
fn name_length(text: &str) -> usize {
    let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

/// Where the `}` of an open placeholder stands, past the placeholders within it.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((index, byte)) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'$', Some((_, b'$'))) => {
                bytes.next();
            }
            (b'$', Some((_, b'{'))) => {
                open += 1;
                bytes.next();
            }
            (b'}', _) if open == 0 => return Some(index),
            (b'}', _) => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> BTreeMap<String, String> {
        [("TAG", "v9"), ("EMPTY", "")].map(|(k, v)| (k.into(), v.into())).into()
    }

    /// The first nine are cases of the format's conformance suite.
    #[test]
    fn every_form_is_filled_in() {
        for (template, want) in [
            ("img:${EMPTY}", "img:"),
            ("${NOPE-d1}", "d1"),
            ("${EMPTY:-d1}", "d1"),
            ("${EMPTY:-/a:-b}", "/a:-b"),
            ("$${TAG}", "${TAG}"),
            ("a-$TAG-b", "a-v9"),
            ("$TAG", "v9"),
            ("${TAG}-b", "v9-b"),
            ("x$NOPE/y", "x/y"),
            ("$NOPE-b", "b"),
            ("$NOPE:-b}c", "b}c"),
            ("$TAG:80", "v9:80"),
            ("${EMPTY-d1}", ""),
            ("${NOPE:-{}}", "{}"),
            ("${NOPE:-${TAG}}", "v9"),
            ("${NOPE:-a${NOPE:-b${TAG}c}d}", "abv9cd"),
            ("${TAG:+set}${EMPTY:+set}${EMPTY+there}${NOPE+there}", "setthere"),
            ("${TAG:?must}", "v9"),
            ("$$", "$"),
            ("no variables", "no variables"),
            ("ü$TAG", "üv9"),
        ] {
            assert_eq!(interpolate(template, &env()).unwrap().text, want, "{template}");
        }
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for template in [
            "${}", "${ TAG}", "$", "a$ b", "$5", "${TAG", "${TAG!x}", "${TAG:}", "${1A}", "${TAGé}",
        ] {
            let error = interpolate(template, &env()).unwrap_err();
            assert!(matches!(error, InterpolateError::InvalidTemplate(_)), "{template}: {error}");
        }
    }

    #[test]
    fn a_required_variable_says_what_the_file_says() {
        for (template, name, message) in
            [("${EMPTY:?set EMPTY}", "EMPTY", "set EMPTY"), ("${NOPE?gone}", "NOPE", "gone")]
        {
            let error = interpolate(template, &env()).unwrap_err();
            let want = format!("required variable {name} is missing a value: {message}");
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn missing_variables_and_tails_are_told() {
        let filled = interpolate("$NOPE ${GONE} $TAG-x", &env()).unwrap();
        assert_eq!(filled.missing, ["NOPE", "GONE"]);
        assert_eq!(filled.tails, ["$TAG-x"]);
    }

    #[test]
    fn endless_nesting_is_refused() {
        let template = format!("{}x{}", "${A:-".repeat(5000), "}".repeat(5000));
        assert!(interpolate(&template, &env()).is_err());
    }
}
