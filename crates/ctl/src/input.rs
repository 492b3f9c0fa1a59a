//! What commands read: data from a file, or from stdin as `-`, and the answer to a question.

use std::io::Read;

use anyhow::{Context, Result};

use crate::output;

/// Everything in `file`.
pub async fn read(file: &str) -> Result<Vec<u8>> {
    let name = file.to_owned();
    let data = tokio::task::spawn_blocking(move || match name.as_str() {
        "-" => {
            let mut data = Vec::new();
            std::io::stdin().lock().read_to_end(&mut data).map(|_| data)
        }
        path => std::fs::read(path),
    });
    data.await?.with_context(|| match file {
        "-" => "cannot read stdin".to_owned(),
        path => format!("cannot read {path}"),
    })
}

/// Asks a question on the terminal; only `y` and `yes` are a yes, and so not the end of the input.
pub async fn confirmed(question: &str) -> Result<bool> {
    output::note(format_args!("{question}. Are you sure you want to continue? [y/N]"));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = answer.await?.context("cannot read the answer from stdin")?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        assert!(["y", "Y\n", " yes\n"].iter().all(|answer| is_yes(answer)));
        assert!(!["", "\n", "n", "yep", "no"].iter().any(|answer| is_yes(answer)));
    }
}
