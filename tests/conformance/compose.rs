//! Compose files: variables, short volumes, and what single keys become.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use swarm_api::mount::Type;
use swarm_compose::volume::{ShortVolume, parse_short};
use swarm_compose::{InterpolateError, effective_capabilities, interpolate, scoped_name};

use crate::case::{Answer, Case};

pub fn answer(case: &Case) -> Answer {
    match case.op.as_str() {
        "compose.interpolate" => interpolated(case).unwrap_or(Answer::Unknown),
        "compose.convert" => converted(&case.input).unwrap_or(Answer::Unknown),
        "volume.parse_short" => Answer::parsed(parse_short(case.input_text()), volume),
        _ => Answer::Unknown,
    }
}

fn interpolated(case: &Case) -> Option<Answer> {
    let env: BTreeMap<String, String> =
        serde_json::from_value(case.input.get("env")?.clone()).ok()?;
    Some(match interpolate(case.text("template")?, &env) {
        Ok(filled) => Answer::parsed(Ok::<_, String>(filled.text), |text| json!({"value": text})),
        Err(error) => {
            let kind = match &error {
                InterpolateError::InvalidTemplate(_) => "invalid-template",
                InterpolateError::RequiredMissing { .. } => "required-missing",
            };
            Answer::refused(error).with("kind", kind)
        }
    })
}

fn volume(volume: ShortVolume) -> Value {
    let kind = match volume.kind {
        Type::Bind => "bind",
        Type::Volume => "volume",
        Type::Tmpfs => "tmpfs",
    };
    json!({"volume": {
        "type": kind,
        "source": volume.source,
        "target": volume.target,
        "read_only": volume.read_only,
        "nocopy": volume.nocopy,
        "propagation": volume.propagation,
    }})
}

/// The few keys whose meaning is a function of their own; whole files are the compose crate's tests.
fn converted(input: &Value) -> Option<Answer> {
    if let Some(network) = input.get("network").and_then(Value::as_str) {
        let own = input.pointer("/top/name").and_then(Value::as_str);
        let name = scoped_name(input.get("stack")?.as_str()?, network, own);
        return Some(Answer::Is(json!({ "network_name": name })));
    }
    let names = |key: &str| -> Vec<String> {
        let list = input.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let keys: Vec<&String> = input.as_object()?.keys().collect();
    if !keys.is_empty() && keys.iter().all(|key| matches!(key.as_str(), "cap_add" | "cap_drop")) {
        let (add, drop) = effective_capabilities(&names("cap_add"), &names("cap_drop"));
        return Some(Answer::Is(json!({"CapabilityAdd": add, "CapabilityDrop": drop})));
    }
    None
}
