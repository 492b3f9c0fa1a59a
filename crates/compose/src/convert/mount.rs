//! A service's mounts: `volumes` in their long form, and `tmpfs`.

use swarm_api::Mount;
use swarm_api::mount::{Type, parse_csv};

use super::{Converter, mode};
use crate::problem::Problem;
use crate::stack::NAMESPACE_LABEL;
use crate::view::View;

/// Stands for a path in the text that the mounts' own parser reads, as a path may hold a comma.
const PATH: &str = "/x";

impl<'a> Converter<'a> {
    /// Sorted by target.
    pub fn mounts(&mut self, service: &View<'a>) -> Vec<Mount> {
        let mut mounts = Vec::new();
        for item in self.report.list(service, "volumes") {
            let mount = self.mount(&item);
            if let Some(tmpfs) = item.get("tmpfs") {
                mode::warn_if_decimal(&tmpfs, self.report);
            }
            mounts.extend(self.report.keep(mount));
        }
        for item in self.report.list(service, "tmpfs") {
            mounts.extend(self.report.keep(tmpfs(&item)));
        }
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        if let Some(pair) = mounts.windows(2).find(|pair| pair[0].target == pair[1].target) {
            let message = format!("duplicate mount target {}", pair[0].target);
            self.report.problems.push(service.problem(message));
        }
        mounts
    }

    fn mount(&mut self, item: &View<'a>) -> Result<Mount, Problem> {
        item.entries()?;
        let source = item.get("source").map(|view| view.text()).transpose()?.unwrap_or_default();
        let target = item.get("target").ok_or_else(|| item.problem("target is required"))?;
        let fields = fields(item, !source.is_empty())?;
        let mut mount = parse_csv(&fields.join(",")).map_err(|error| item.problem(error))?;
        mount.target = absolute(&target)?;
        let labels = item.get("volume").and_then(|volume| volume.get("labels"));
        match mount.r#type() {
            Type::Volume if source.is_empty() => {}
            Type::Volume => self.named_volume(item, &source, &mut mount)?,
            Type::Bind => mount.source = self.bind_source(item, &source)?,
            Type::Tmpfs if source.is_empty() => {}
            Type::Tmpfs => return Err(item.problem("a tmpfs mount has no source")),
        }
        if let Some(labels) = labels {
            mount.volume_labels.extend(labels.pairs()?);
        }
        Ok(mount)
    }

    fn bind_source(&self, item: &View<'a>, source: &str) -> Result<String, Problem> {
        if !source.starts_with(['.', '/', '~']) {
            return Err(item.problem(format!(
                "invalid bind source \"{source}\": want a path that begins with /, . or ~"
            )));
        }
        let path = self.place.path(source);
        path.to_str().map(str::to_owned).ok_or_else(|| {
            item.problem(format!("the path of \"{source}\" is not UTF-8: {}", path.display()))
        })
    }

    fn named_volume(
        &mut self,
        item: &View<'a>,
        key: &str,
        mount: &mut Mount,
    ) -> Result<(), Problem> {
        let undefined = || {
            item.problem(format!("undefined volume \"{key}\": declare it under volumes at the top"))
        };
        let volume = self.top("volumes", key).ok_or_else(undefined)?;
        // What is wrong with the volume itself is noted once, by `volumes`.
        let text = |key: &str| volume.get(key).and_then(|view| view.text().ok());
        let pairs = |key: &str| volume.get(key).and_then(|view| view.pairs().ok());
        let external = volume.get("external").is_some_and(|view| view.boolean() == Ok(true));
        if external {
            mount.source = text("name").unwrap_or_else(|| key.to_owned());
            return Ok(());
        }
        mount.source = super::scoped_name(self.stack, key, text("name").as_deref());
        mount.volume_driver = text("driver").unwrap_or_default();
        mount.volume_labels = pairs("labels").unwrap_or_default();
        mount.volume_labels.insert(NAMESPACE_LABEL.to_owned(), self.stack.to_owned());
        Ok(())
    }
}

/// The options in the words of `--mount`.
fn fields(item: &View<'_>, has_source: bool) -> Result<Vec<String>, Problem> {
    let kind =
        item.get("type").ok_or_else(|| item.problem("type is required: volume, bind or tmpfs"))?;
    let mut fields = vec![format!("target={PATH}"), option("type", kind.str()?, &kind)?];
    if has_source {
        fields.push(format!("source={PATH}"));
    }
    if let Some(view) = item.get("read_only") {
        fields.push(format!("readonly={}", view.boolean()?));
    }
    if let Some(bind) = item.get("bind") {
        bind.entries()?;
        for key in ["propagation", "recursive"] {
            if let Some(view) = bind.get(key) {
                fields.push(option(&format!("bind-{key}"), view.str()?, &view)?);
            }
        }
        if let Some(view) = bind.get("create_host_path")
            && view.boolean()?
        {
            return Err(
                view.problem("not supported: a node never makes the source of a bind mount")
            );
        }
    }
    if let Some(volume) = item.get("volume") {
        volume.entries()?;
        let nocopy = volume.get("nocopy").map(|view| view.boolean()).transpose()?;
        fields.push(format!("volume-nocopy={}", nocopy.unwrap_or(false)));
    }
    if let Some(tmpfs) = item.get("tmpfs") {
        tmpfs.entries()?;
        if let Some(view) = tmpfs.get("size") {
            fields.push(option("tmpfs-size", view.str()?, &view)?);
        }
        if let Some(view) = tmpfs.get("mode") {
            fields.push(format!("tmpfs-mode={:o}", mode::parse(&view)?));
        }
    }
    Ok(fields)
}

fn option(key: &str, value: &str, view: &View<'_>) -> Result<String, Problem> {
    match value.contains(',') {
        true => Err(view.problem(format!("invalid value \"{value}\""))),
        false => Ok(format!("{key}={value}")),
    }
}

/// `/run:size=64m,mode=1777`
fn tmpfs(item: &View<'_>) -> Result<Mount, Problem> {
    let text = item.str()?;
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut fields = vec!["type=tmpfs".to_owned(), format!("target={PATH}")];
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            None if option == "ro" => fields.push("readonly=true".into()),
            None if option == "rw" => {}
            Some((key @ ("size" | "mode"), value)) => fields.push(format!("tmpfs-{key}={value}")),
            _ => {
                let message =
                    format!("\"{text}\": \"{option}\" is not supported: want size, mode or ro");
                return Err(item.problem(message));
            }
        }
    }
    let mount = parse_csv(&fields.join(",")).map_err(|error| item.problem(error))?;
    if !target.starts_with('/') {
        return Err(item.problem(format!("\"{text}\": the target must be an absolute path")));
    }
    Ok(Mount { target: target.to_owned(), ..mount })
}

fn absolute(target: &View<'_>) -> Result<String, Problem> {
    let text = target.str()?;
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false if text.contains(":/") => Err(target.problem(format!(
            "the target \"{text}\" must be an absolute path; a one-letter name reads as a Windows \
             drive: use the long form"
        ))),
        false => Err(target.problem(format!("the target \"{text}\" must be an absolute path"))),
    }
}
