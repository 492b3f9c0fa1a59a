//! File modes: `0440` is octal as a number and as text, `288` is decimal, `"440"` is octal.

use crate::node::Value;
use crate::problem::{Problem, Report};
use crate::view::View;

/// Permission bits, with set-id and sticky bits.
const MAX: u32 = 0o7777;

/// The mode's bits.
pub fn parse(view: &View<'_>) -> Result<u32, Problem> {
    let text = view.str()?;
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'));
    let parsed = match digits {
        Some("") => Ok(0),
        Some(octal) => u32::from_str_radix(octal, 8),
        None if is_quoted(view) => u32::from_str_radix(text, 8),
        None => text.parse(),
    };
    match parsed {
        Ok(mode) if mode <= MAX && !text.starts_with('+') => Ok(mode),
        _ => Err(view.problem(format!("invalid mode \"{text}\": want octal digits such as 0440"))),
    }
}

/// `mode: 440` is 0670, which few mean.
pub fn warn_if_decimal(item: &View<'_>, report: &mut Report) {
    let Some(view) = item.get("mode") else { return };
    let Some(text) = view.node.scalar() else { return };
    let octal_digits = text.len() >= 3 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if octal_digits && !text.starts_with('0') && !is_quoted(&view) {
        let bits = parse(&view).unwrap_or_default();
        let message =
            format!("{text} is decimal, and is the octal 0{bits:o}: write 0{text} for octal");
        report.warn(&view.node.at, &view.path, message);
    }
}

fn is_quoted(view: &View<'_>) -> bool {
    matches!(&view.node.value, Value::Scalar(scalar) if scalar.quoted)
}
