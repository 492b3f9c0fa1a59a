//! A conformance case, and how an answer is compared with what it expects. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One line of a file of cases.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// What is done with the input.
    pub op: String,
    /// What it is done with.
    pub input: Value,
    /// What comes of it.
    pub expect: Value,
}

/// What we make of a case.
#[derive(Debug)]
pub enum Answer {
    /// This operation, or this form of it, is not built.
    Unknown,
    /// The result: a bare value, or the keys that stand beside `ok`.
    Is(Value),
    /// The input is refused; `message` in words, other keys as the operation has them.
    Refused(Map<String, Value>),
}

impl Answer {
    /// A refusal in words.
    pub fn refused(error: impl std::fmt::Display) -> Self {
        Self::Refused(Map::from_iter([("message".into(), json!(error.to_string()))]))
    }

    /// The same with another key.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Self::Refused(keys) = &mut self {
            keys.insert(key.into(), value.into());
        }
        self
    }

    /// What a parser gave, as `show` tells it.
    pub fn parsed<T, E: std::fmt::Display>(
        result: Result<T, E>,
        show: impl FnOnce(T) -> Value,
    ) -> Self {
        match result {
            Ok(value) => Self::Is(accepted(show(value))),
            Err(error) => Self::refused(error),
        }
    }
}

/// `keys` beside `"ok": true`.
fn accepted(mut keys: Value) -> Value {
    if let Value::Object(keys) = &mut keys {
        keys.insert("ok".into(), json!(true));
    }
    keys
}

impl Case {
    /// A member of the input that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.input.get(key)?.as_str()
    }

    /// The input, if it is a text.
    pub fn input_text(&self) -> &str {
        self.input.as_str().unwrap_or_default()
    }

    /// `None` if it is skipped; an error is the line to print.
    pub fn judge(&self, answer: Answer) -> Option<Result<(), String>> {
        let got = match answer {
            Answer::Unknown => return None,
            Answer::Is(value) => value,
            Answer::Refused(mut keys) => {
                keys.insert("ok".into(), json!(false));
                Value::Object(keys)
            }
        };
        Some(match holds(&self.expect, &got) {
            true => Ok(()),
            false => Err(format!("{}: expected {}, got {got}", self.id, self.expect)),
        })
    }
}

/// Whether all that is expected is there. What the expectation does not name is not compared.
fn holds(expect: &Value, got: &Value) -> bool {
    match (expect, got) {
        (Value::Object(expect), Value::Object(got)) => expect.iter().all(|(key, want)| {
            if key == "message_contains" {
                let message = got.get("message").and_then(Value::as_str).unwrap_or_default();
                return want.as_str().is_some_and(|part| message.contains(part));
            }
            holds(want, got.get(key).unwrap_or(&Value::Null))
        }),
        (Value::Array(expect), Value::Array(got)) => {
            expect.len() == got.len() && expect.iter().zip(got).all(|(e, g)| holds(e, g))
        }
        (Value::Number(expect), Value::Number(got)) => expect.as_f64() == got.as_f64(),
        _ => expect == got,
    }
}
