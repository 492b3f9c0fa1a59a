//! Data that commands read: from a file, or from stdin as `-`.

use std::io::Read;

use anyhow::{Context, Result};

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
