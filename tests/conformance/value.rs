//! Texts of flags and files: sizes, durations, names, ports, mounts, images, tokens, templates.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use swarm_api::image::ImageRef;
use swarm_api::mount::{self, Type};
use swarm_api::port::{self, protocol_name};
use swarm_api::template::{self, Context};
use swarm_api::{Mount, PortConfig, PublishMode, duration, name, size};
use swarm_ca::JoinToken;

use crate::case::{Answer, Case};

pub fn answer(case: &Case) -> Answer {
    let text = case.input_text();
    match case.op.as_str() {
        "duration.parse" => Answer::parsed(duration::parse_nanos(text), |ns| json!({ "ns": ns })),
        "duration.format" => number(case, |ns| duration::format(Duration::from_nanos(ns))),
        "size.parse_ram" => Answer::parsed(size::parse_ram(text), |bytes| json!({"bytes": bytes})),
        "size.format_binary" => number(case, size::format_binary),
        "size.format_decimal" => number(case, size::format_decimal),
        "name.service_valid" => Answer::Is(json!(name::service(text).is_ok())),
        "name.secret_config_valid" => Answer::Is(json!(name::file(text).is_ok())),
        "image.normalize" => Answer::parsed(ImageRef::parse(text), image),
        "join_token.parse" => Answer::parsed(text.parse::<JoinToken>(), token),
        "port.parse_short" => Answer::parsed(port::parse_short(text), |ports| ports_of(&ports)),
        "port.parse_long" => Answer::parsed(port::parse_long(text), |port| ports_of(&[port])),
        "mount.parse_csv" => {
            Answer::parsed(mount::parse_csv(text), |m| json!({"mount": shown(&m)}))
        }
        "template.expand" => expand(case),
        _ => Answer::Unknown,
    }
}

fn number(case: &Case, format: impl Fn(u64) -> String) -> Answer {
    case.input.as_u64().map_or(Answer::Unknown, |number| Answer::Is(json!(format(number))))
}

fn image(image: ImageRef) -> Value {
    json!({
        "domain": image.domain,
        "path": image.path,
        "tag": image.tag,
        "digest": image.digest,
        "familiar": image.familiar(),
    })
}

fn token(token: JoinToken) -> Value {
    let text = token.to_string();
    json!({"digest": token.digest(), "secret": text.rsplit('-').next()})
}

fn ports_of(ports: &[PortConfig]) -> Value {
    let port = |port: &PortConfig| {
        let mode = match port.mode() {
            PublishMode::Ingress => "ingress",
            PublishMode::Host => "host",
        };
        let protocol = protocol_name(port.protocol());
        let (target, published) = (port.target, port.published);
        json!({"target": target, "published": published, "protocol": protocol, "mode": mode})
    };
    json!({"ports": ports.iter().map(port).collect::<Vec<_>>()})
}

/// What a mount says; what it leaves open is not there.
fn shown(mount: &Mount) -> Value {
    let kind = match mount.r#type() {
        Type::Bind => "bind",
        Type::Volume => "volume",
        Type::Tmpfs => "tmpfs",
    };
    let said = [
        ("source", json!(mount.source)),
        ("read_only", json!(mount.read_only)),
        ("propagation", json!(mount.bind_propagation)),
        ("nonrecursive", json!(mount.bind_nonrecursive)),
        ("nocopy", json!(mount.volume_nocopy)),
        ("labels", json!(mount.volume_labels)),
        ("driver", json!(mount.volume_driver)),
        ("driver_opts", json!(mount.volume_driver_opts)),
        ("tmpfs_size", json!(mount.tmpfs_size_bytes)),
        ("tmpfs_mode", json!(mount.tmpfs_mode)),
    ];
    let empty = |value: &Value| match value {
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(set) => !set,
        other => other.as_i64() == Some(0),
    };
    let mut keys: Map<String, Value> =
        said.into_iter().filter(|(_, v)| !empty(v)).map(|(k, v)| (k.to_owned(), v)).collect();
    keys.insert("type".into(), json!(kind));
    keys.insert("target".into(), json!(mount.target));
    Value::Object(keys)
}

fn expand(case: &Case) -> Answer {
    let (Some(field), Some(text)) = (case.text("field"), case.text("template")) else {
        return Answer::Unknown;
    };
    let context = context(case.input.get("context").unwrap_or(&Value::Null));
    let expanded = match field {
        "Env" => template::expand_env(text, &context),
        _ => template::expand(text, &context),
    };
    match expanded {
        Ok(text) => Answer::Is(json!(text)),
        Err(error) => Answer::refused(error),
    }
}

fn context(given: &Value) -> Context {
    let at = |path: &str| match given.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let labels: BTreeMap<String, String> = given
        .pointer("/service/labels")
        .and_then(|labels| serde_json::from_value(labels.clone()).ok())
        .unwrap_or_default();
    let (service, task, slot) = (at("/service/name"), at("/task/id"), at("/task/slot"));
    Context {
        service_id: at("/service/id"),
        service_labels: labels,
        task_name: format!("{service}.{slot}.{task}"),
        service_name: service,
        task_id: task,
        task_slot: slot,
        node_id: at("/node/id"),
        node_hostname: at("/node/hostname"),
        os: at("/node/platform/os"),
        architecture: at("/node/platform/architecture"),
    }
}
