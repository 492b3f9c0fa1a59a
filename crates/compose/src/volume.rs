//! The short form of a service's volume: `[source:]target[:options]`, as Docker reads it.

use swarm_api::mount::Type;

/// What a short form says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortVolume {
    /// A source that looks like a path is a bind mount's.
    pub kind: Type,
    /// A path, a volume's key, or empty for an anonymous volume.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// `ro`
    pub read_only: bool,
    /// `nocopy`
    pub nocopy: bool,
    /// `rshared` and its kin.
    pub propagation: Option<String>,
    /// Options that mean nothing to this parser; Docker drops them in silence, a stack's file is
    /// refused for them.
    pub unknown: Vec<String>,
}

/// Why a text is no volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// Nothing at all.
    #[error("invalid empty volume spec")]
    Empty,
    /// `:/data`
    #[error("invalid spec: {0}: empty section between colons")]
    EmptySection(String),
    /// More than three parts.
    #[error("invalid spec: {0}: too many colons")]
    TooManyColons(String),
}

/// Reads a short form.
pub fn parse_short(text: &str) -> Result<ShortVolume, VolumeError> {
    if text.is_empty() {
        return Err(VolumeError::Empty);
    }
    let parts = split(text);
    // A text of two letters is a path, whatever it holds.
    let parts = if text.len() <= 2 { vec![text] } else { parts };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(VolumeError::EmptySection(text.to_owned()));
    }
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(VolumeError::TooManyColons(text.to_owned())),
    };
    let mut volume = ShortVolume {
        kind: if is_path(source) { Type::Bind } else { Type::Volume },
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: false,
        nocopy: false,
        propagation: None,
        unknown: Vec::new(),
    };
    options.split(',').filter(|option| !option.is_empty()).for_each(|o| volume.option(o));
    Ok(volume)
}

impl ShortVolume {
    fn option(&mut self, option: &str) {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nocopy" => self.nocopy = true,
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                self.propagation = Some(option.to_owned());
            }
            other => self.unknown.push(other.to_owned()),
        }
    }
}

/// At colons, but for the one after a drive's letter.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (index, _) in text.match_indices(':') {
        if !is_letter(&text[start..index]) {
            parts.push(&text[start..index]);
            start = index + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

fn is_letter(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
}

/// Whether a source is a path on the node (or on a Windows machine, which the converter refuses).
fn is_path(source: &str) -> bool {
    let drive = source.split_once(':').is_some_and(|(drive, _)| is_letter(drive));
    source.starts_with(['.', '/', '~']) || drive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(kind: Type, source: &str, target: &str) -> ShortVolume {
        ShortVolume {
            kind,
            source: source.into(),
            target: target.into(),
            read_only: false,
            nocopy: false,
            propagation: None,
            unknown: Vec::new(),
        }
    }

    /// `~/x:/x`, `/s:/t:slave`, `vol:/t:bogus` and `:/t` are cases of the format's conformance
    /// suite.
    #[test]
    fn every_short_form_is_read() {
        let base = volume(Type::Volume, "vol", "/t");
        for (text, want) in [
            ("/t", volume(Type::Volume, "", "/t")),
            ("/x", volume(Type::Volume, "", "/x")),
            ("vol:/t", base.clone()),
            ("~/x:/x", volume(Type::Bind, "~/x", "/x")),
            ("./s:/t", volume(Type::Bind, "./s", "/t")),
            ("/s:/t:ro", ShortVolume { read_only: true, ..volume(Type::Bind, "/s", "/t") }),
            (
                "/s:/t:slave",
                ShortVolume { propagation: Some("slave".into()), ..volume(Type::Bind, "/s", "/t") },
            ),
            ("vol:/t:rw,nocopy", ShortVolume { nocopy: true, ..base.clone() }),
            ("vol:/t:bogus", ShortVolume { unknown: vec!["bogus".into()], ..base }),
            ("c:\\s:/t", volume(Type::Bind, "c:\\s", "/t")),
        ] {
            assert_eq!(parse_short(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn wrong_short_forms_say_what_is_wrong() {
        for (text, want) in [
            ("", "invalid empty volume spec"),
            (":/t", "invalid spec: :/t: empty section between colons"),
            ("vol:/t:", "invalid spec: vol:/t:: empty section between colons"),
            ("vol:/t:ro:x", "invalid spec: vol:/t:ro:x: too many colons"),
        ] {
            assert_eq!(parse_short(text).unwrap_err().to_string(), want);
        }
    }
}
