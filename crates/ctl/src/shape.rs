//! Objects as JSON in the incumbent's shape, for `inspect`. What is empty is left out.

pub mod config;
pub mod network;
pub mod node;
pub mod secret;
pub mod service;
pub mod spec;
pub mod task;

use std::collections::BTreeMap;

use prost_types::Duration;
use serde_json::{Map, Value, json};
use swarm_api::Meta;

use crate::age::rfc3339;

/// A JSON object under construction.
#[derive(Default)]
pub struct Doc(Map<String, Value>);

impl Doc {
    /// Sets a field.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a field unless its value is empty: null, false, 0, "", [] or {}.
    pub fn opt(self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        match is_empty(&value) {
            true => self,
            false => self.set(key, value),
        }
    }

    /// The object.
    pub fn build(self) -> Value {
        Value::Object(self.0)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

/// What every object begins with.
fn head(id: &str, meta: Option<&Meta>) -> Doc {
    Doc::default()
        .set("ID", id)
        .set("Version", json!({"Index": meta.and_then(|m| m.version).map_or(0, |v| v.index)}))
        .set("CreatedAt", rfc3339(meta.and_then(|m| m.created_at.as_ref())))
        .set("UpdatedAt", rfc3339(meta.and_then(|m| m.updated_at.as_ref())))
}

/// A map of strings as an object.
fn map(values: &BTreeMap<String, String>) -> Value {
    values.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect::<Map<_, _>>().into()
}

/// Nanoseconds, or null.
fn nanos(duration: Option<&Duration>) -> Value {
    duration.map_or(Value::Null, |d| {
        Value::from(d.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(d.nanos)))
    })
}

/// Every element shaped by `shape`.
fn list<T>(items: &[T], shape: impl Fn(&T) -> Value) -> Value {
    items.iter().map(shape).collect::<Vec<_>>().into()
}
