//! What may break a rule, each with its reason. An entry that nothing needs any more is itself an
//! offence, so the list only holds what is true.

use super::violation::Violation;

/// One rule lifted for one file.
#[derive(Debug)]
pub struct Exception {
    pub rule: &'static str,
    pub path: &'static str,
    pub reason: &'static str,
}

/// All there are.
pub const LIST: &[Exception] = &[];

/// Takes away what is excepted, and adds what is excepted in vain.
pub fn apply(list: &'static [Exception], found: &mut Vec<Violation>) {
    for exception in list {
        let before = found.len();
        found.retain(|v| (v.rule, v.path.as_str()) != (exception.rule, exception.path));
        if found.len() == before {
            found.push(unneeded(exception));
        }
    }
}

fn unneeded(exception: &Exception) -> Violation {
    let Exception { rule, path, reason } = exception;
    Violation {
        path: "xtask/src/tidy/exceptions.rs".into(),
        line: 0,
        rule: "exceptions",
        message: format!("{path} keeps {rule} now: its exception ({reason}) can go"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[Exception] = &[Exception { rule: "size", path: "a.rs", reason: "a table" }];

    fn violation(path: &str) -> Violation {
        Violation { path: path.into(), line: 1, rule: "size", message: "too long".into() }
    }

    #[test]
    fn an_exception_covers_its_rule_in_its_file() {
        let mut found = vec![violation("a.rs"), violation("b.rs")];
        apply(ONE, &mut found);
        assert_eq!(found, [violation("b.rs")]);
    }

    #[test]
    fn an_exception_that_nothing_needs_is_told() {
        let mut found = Vec::new();
        apply(ONE, &mut found);
        assert_eq!(found[0].message, "a.rs keeps size now: its exception (a table) can go");
    }
}
