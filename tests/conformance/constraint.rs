//! Placement constraints.

use serde_json::{Value, json};
use swarm_api::constraint::{Constraint, Operator};
use swarm_api::{Node, NodeRole};

use crate::case::{Answer, Case};

pub fn answer(case: &Case) -> Answer {
    match case.op.as_str() {
        "constraint.parse" => Answer::parsed(Constraint::parse(case.input_text()), shown),
        "constraint.match" => matched(case).unwrap_or(Answer::Unknown),
        "constraint.node_check" => checked(case).unwrap_or(Answer::Unknown),
        _ => Answer::Unknown,
    }
}

fn shown(constraint: Constraint) -> Value {
    let operator = match constraint.operator {
        Operator::Equal => "==",
        Operator::NotEqual => "!=",
    };
    json!({"key": constraint.key, "op": operator, "value": constraint.value})
}

fn matched(case: &Case) -> Option<Answer> {
    let constraint = match Constraint::parse(case.text("expr")?) {
        Ok(constraint) => constraint,
        Err(error) => return Some(Answer::refused(error)),
    };
    let values: Vec<&str> =
        case.input.get("values")?.as_array()?.iter().filter_map(Value::as_str).collect();
    Some(Answer::Is(json!(constraint.matches_any(&values))))
}

fn checked(case: &Case) -> Option<Answer> {
    let node = node(case.input.get("node")?);
    let texts = case.input.get("constraints")?.as_array()?;
    let holds = |text: &Value| {
        let constraint = Constraint::parse(text.as_str().unwrap_or_default());
        constraint.is_ok_and(|constraint| constraint.matches(&node))
    };
    Some(Answer::Is(json!(texts.iter().all(holds))))
}

fn node(given: &Value) -> Node {
    let text = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let labels = |key: &str| {
        let labels = given.get(key).cloned();
        labels.and_then(|labels| serde_json::from_value(labels).ok()).unwrap_or_default()
    };
    let mut node = Node { id: text("id"), ..Node::default() };
    let role = if text("role") == "manager" { NodeRole::Manager } else { NodeRole::Worker };
    node.set_role(role);
    node.status.get_or_insert_default().addr = text("addr");
    let spec = node.spec.get_or_insert_default();
    spec.annotations.get_or_insert_default().labels = labels("labels");
    let description = node.description.get_or_insert_default();
    description.hostname = text("hostname");
    description.engine.get_or_insert_default().labels = labels("engine_labels");
    let platform = description.platform.get_or_insert_default();
    (platform.os, platform.architecture) = (text("os"), text("arch"));
    node
}
