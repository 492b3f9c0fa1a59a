//! `swarmctl image ls`.

use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::{Image, ListImagesRequest};

use crate::age::{ago, rfc3339};
use crate::client::{Client, local};
use crate::listing::{Column, ListFlags, Listing};

const COLUMNS: &[Column] = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
];
const WITH_DIGESTS: &[Column] = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("DIGEST", "Digest"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
];
const NONE: &str = "<none>";

/// Flags of `image ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Also show digests
    #[arg(long)]
    digests: bool,
    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    list: ListFlags,
    /// Only images of this repository
    #[arg(value_name = "REPOSITORY")]
    repository: Option<String>,
}

impl LsFlags {
    /// Lists the node's images, newest first.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut images = local(client.images().list_images(ListImagesRequest {}).await)?.images;
        let made = |i: &Image| i.created.as_ref().map_or(0, swarm_api::time::to_nanos);
        images.sort_by(|a, b| made(b).cmp(&made(a)).then_with(|| a.repo_tags.cmp(&b.repo_tags)));
        let now = SystemTime::now();
        let mut rows: Vec<Value> =
            images.iter().flat_map(|image| rows(image, self.no_trunc, now)).collect();
        if let Some(wanted) = &self.repository {
            rows.retain(|row| {
                let (name, tag) = (&row["Repository"], &row["Tag"]);
                let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                text(name) == *wanted || format!("{}:{}", text(name), text(tag)) == *wanted
            });
        }
        let columns = if self.digests { WITH_DIGESTS } else { COLUMNS };
        Listing { columns, rows, key: "ID" }.print(&self.list)
    }
}

/// One row per name of the image.
fn rows(image: &Image, whole: bool, now: SystemTime) -> Vec<Value> {
    let bare = image.id.trim_start_matches("sha256:");
    let id = if whole { image.id.as_str() } else { swarm_api::id::short(bare) };
    let row = |repository: &str, tag: &str| {
        json!({
            "Repository": repository,
            "Tag": tag,
            "Digest": image.digest,
            "ID": id,
            "CreatedSince": ago(image.created.as_ref(), now),
            "CreatedAt": rfc3339(image.created.as_ref()),
            "Size": swarm_api::size::format_decimal(image.size),
        })
    };
    if image.repo_tags.is_empty() {
        return vec![row(NONE, NONE)];
    }
    let split = |name: &str| match name.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((repository, tag)) if !tag.contains('/') => row(repository, tag),
        _ => row(name, NONE),
    };
    image.repo_tags.iter().map(|name| split(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_an_image_has_a_row() {
        let image = Image {
            id: "sha256:0123456789abcdef".into(),
            repo_tags: vec!["web:1".into(), "host:5000/web".into()],
            ..Image::default()
        };
        let rows = rows(&image, false, SystemTime::UNIX_EPOCH);
        assert_eq!((&rows[0]["Repository"], &rows[0]["Tag"]), (&json!("web"), &json!("1")));
        assert_eq!(rows[1]["Repository"], "host:5000/web");
        assert_eq!(rows[0]["ID"], "0123456789ab");
    }
}
