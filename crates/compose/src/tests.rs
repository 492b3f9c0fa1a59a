//! From files on disk to specs: what no single module can show.

mod conversion;
mod coverage;
mod errors;
mod merging;
mod properties;
mod rendering;

use std::fs;
use std::path::PathBuf;

use swarm_api::{ContainerSpec, ServiceSpec};

use super::*;

/// A folder of files that goes away with the test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            fs::write(folder.path(name), text).unwrap();
        }
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn load(&self, names: &[&str]) -> Result<Stack, ComposeErrors> {
        let sources: Vec<_> = names.iter().map(|name| Source::File(self.path(name))).collect();
        load(&sources, &BTreeMap::new(), "shop")
    }

    /// The problems, one a line, without the folder's own path.
    pub fn errors(&self, names: &[&str]) -> String {
        let text = self.load(names).unwrap_err().to_string();
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

pub fn load_text(text: &str) -> Result<Stack, ComposeErrors> {
    let env = [("TAG", "v9"), ("EMPTY", "")].map(|(k, v)| (k.into(), v.into())).into();
    load(&[Source::Stdin(text.to_owned())], &env, "shop")
}

/// The only service of a file whose service `web` has the image `i` and these lines.
pub fn service(lines: &str) -> ServiceSpec {
    spec_of(load_text(&with_lines(lines)).unwrap_or_else(|errors| panic!("{lines}\n{errors}")))
}

pub fn container(lines: &str) -> ContainerSpec {
    service(lines).task.unwrap().container.unwrap()
}

/// The problems of such a file, one a line.
pub fn errors(lines: &str) -> String {
    load_text(&with_lines(lines)).unwrap_err().to_string()
}

fn spec_of(stack: Stack) -> ServiceSpec {
    stack.services.into_iter().next().unwrap().spec
}

/// The lines begin at line 4, column 5.
fn with_lines(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("services:\n  web:\n    image: i\n{indented}{TOP}")
}

const TOP: &str = "\
networks:
  front: {}
  outside: {external: true, name: real}
  host: {external: true}
volumes:
  data: {driver: local, labels: {a: b}}
  kept: {external: true}
secrets:
  key: {external: true}
configs:
  conf: {content: c}
  named: {external: {name: real-conf}}
";
