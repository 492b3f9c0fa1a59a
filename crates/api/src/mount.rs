//! Mounts as users write them: `type=volume,source=data,target=/data,readonly`.

use crate::generated::Mount;
/// What is mounted; here because this module hides the generated one of its name.
pub use crate::generated::mount::Type;
use crate::size;

/// Why a text is no mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// A key without the value it needs.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// A key that mounts do not have.
    #[error("unknown option '{key}' in '{field}'")]
    Unknown {
        /// The key.
        key: String,
        /// The field it stands in.
        field: String,
    },
    /// A value that its key does not allow.
    #[error("invalid value for {key}: {value}: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// An option of one type with another type.
    #[error("cannot mix '{prefix}-*' options with mount type '{kind}'")]
    Mixed {
        /// `bind`, `volume` or `tmpfs`.
        prefix: &'static str,
        /// The mount's type.
        kind: String,
    },
    /// No target.
    #[error("target is required")]
    NoTarget,
    /// A bind mount without source.
    #[error("source is required for a bind mount")]
    NoSource,
    /// A type or option that exists elsewhere but is not built here.
    #[error("{0} is not supported")]
    Unsupported(String),
}

/// Parses one value of `--mount`.
pub fn parse_csv(text: &str) -> Result<Mount, MountError> {
    let mut builder = Builder::default();
    for field in text.split(',') {
        builder.field(field)?;
    }
    builder.finish()
}

#[derive(Default)]
struct Builder {
    mount: Mount,
    // Which families of options were used: bind-*, volume-*, tmpfs-*.
    used: Vec<&'static str>,
}

impl Builder {
    fn field(&mut self, field: &str) -> Result<(), MountError> {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let flag = matches!(key.as_str(), "readonly" | "ro" | "volume-nocopy");
        let value = match value {
            Some(value) => value,
            None if flag => "true",
            None => return Err(MountError::NoValue(field.to_owned())),
        };
        match key.split_once('-') {
            Some(("bind", option)) => self.bind(option, &key, field, value),
            Some(("volume", option)) => self.volume(option, &key, field, value),
            Some(("tmpfs", option)) => self.tmpfs(option, &key, field, value),
            _ => self.general(&key, field, value),
        }
    }

    fn general(&mut self, key: &str, field: &str, value: &str) -> Result<(), MountError> {
        match key {
            "type" => {
                let kind = match value.to_ascii_lowercase().as_str() {
                    "volume" => Type::Volume,
                    "bind" => Type::Bind,
                    "tmpfs" => Type::Tmpfs,
                    other @ ("npipe" | "image" | "cluster") => {
                        return Err(MountError::Unsupported(format!("mount type '{other}'")));
                    }
                    _ => return Err(bad(key, value, "must be volume, bind or tmpfs")),
                };
                self.mount.set_type(kind);
            }
            "source" | "src" => self.mount.source = value.to_owned(),
            "target" | "dst" | "destination" => self.mount.target = value.to_owned(),
            "readonly" | "ro" => self.mount.read_only = parse_bool(key, value)?,
            // A hint of other platforms; every mount here is consistent.
            "consistency" => {}
            _ => return Err(MountError::Unknown { key: key.into(), field: field.into() }),
        }
        Ok(())
    }

    fn bind(
        &mut self,
        option: &str,
        key: &str,
        field: &str,
        value: &str,
    ) -> Result<(), MountError> {
        self.used.push("bind");
        match (option, value) {
            ("propagation", "private" | "rprivate" | "slave" | "rslave") => {
                self.mount.bind_propagation = value.to_owned();
            }
            ("propagation", "shared" | "rshared") => {
                return Err(MountError::Unsupported(format!("bind-propagation={value}")));
            }
            ("propagation", _) => return Err(bad(key, value, "must be [r]private or [r]slave")),
            ("nonrecursive", _) => self.mount.bind_nonrecursive = parse_bool(key, value)?,
            ("recursive", "enabled") => self.mount.bind_nonrecursive = false,
            ("recursive", "disabled") => self.mount.bind_nonrecursive = true,
            ("recursive", "writable" | "readonly") => {
                return Err(MountError::Unsupported(format!("bind-recursive={value}")));
            }
            ("create-src", _) => return Err(MountError::Unsupported("bind-create-src".into())),
            _ => return Err(MountError::Unknown { key: key.into(), field: field.into() }),
        }
        Ok(())
    }

    fn volume(
        &mut self,
        option: &str,
        key: &str,
        field: &str,
        value: &str,
    ) -> Result<(), MountError> {
        self.used.push("volume");
        let pair = || {
            let (k, v) = value.split_once('=').unwrap_or((value, ""));
            (k.to_owned(), v.to_owned())
        };
        match option {
            "nocopy" => self.mount.volume_nocopy = parse_bool(key, value)?,
            "label" => {
                self.mount.volume_labels.extend([pair()]);
            }
            "driver" if value == "local" => self.mount.volume_driver = value.to_owned(),
            "driver" => return Err(MountError::Unsupported(format!("volume-driver={value}"))),
            "opt" => return Err(MountError::Unsupported("volume-opt".into())),
            "subpath" => return Err(MountError::Unsupported("volume-subpath".into())),
            _ => return Err(MountError::Unknown { key: key.into(), field: field.into() }),
        }
        Ok(())
    }

    fn tmpfs(
        &mut self,
        option: &str,
        key: &str,
        field: &str,
        value: &str,
    ) -> Result<(), MountError> {
        self.used.push("tmpfs");
        match option {
            "size" => {
                self.mount.tmpfs_size_bytes = size::parse_ram(value)
                    .map_err(|_| bad(key, value, "want a size such as 64m"))?;
            }
            "mode" => {
                self.mount.tmpfs_mode = u32::from_str_radix(value, 8)
                    .map_err(|_| bad(key, value, "want an octal mode such as 1777"))?;
            }
            _ => return Err(MountError::Unknown { key: key.into(), field: field.into() }),
        }
        Ok(())
    }

    fn finish(self) -> Result<Mount, MountError> {
        let kind = match self.mount.r#type() {
            Type::Volume => "volume",
            Type::Bind => "bind",
            Type::Tmpfs => "tmpfs",
        };
        if let Some(prefix) = self.used.iter().find(|prefix| **prefix != kind) {
            return Err(MountError::Mixed { prefix, kind: kind.to_owned() });
        }
        if self.mount.target.is_empty() {
            return Err(MountError::NoTarget);
        }
        if self.mount.source.is_empty() && self.mount.r#type() == Type::Bind {
            return Err(MountError::NoSource);
        }
        Ok(self.mount)
    }
}

fn bad(key: &str, value: &str, allowed: &'static str) -> MountError {
    MountError::Value { key: key.to_owned(), value: value.to_owned(), allowed }
}

fn parse_bool(key: &str, value: &str) -> Result<bool, MountError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(bad(key, value, "must be true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_a_volume_unless_it_says_otherwise() {
        let mount = parse_csv("source=v1,destination=/b").unwrap();
        assert_eq!((mount.r#type(), mount.source.as_str()), (Type::Volume, "v1"));
        let mount = parse_csv("type=bind,source=/a,target=/b,readonly").unwrap();
        assert!(mount.r#type() == Type::Bind && mount.read_only);
        assert!(!parse_csv("type=bind,source=/a,target=/b,ro=0").unwrap().read_only);
    }

    #[test]
    fn volume_labels_may_be_empty_and_many() {
        let mount = parse_csv("type=volume,target=/b,volume-label=k=v,volume-label=e=").unwrap();
        assert_eq!(mount.volume_labels["k"], "v");
        assert_eq!(mount.volume_labels["e"], "");
    }

    #[test]
    fn a_bad_mount_is_refused() {
        for text in [
            "",
            "type=bind,target=/b",
            "type=volume,source=a",
            "type=volume,target=/b,bind-propagation=shared",
            "type=x,target=/b",
            "target=/b,foo=1",
            "target=/b,ro=maybe",
            "target=/b,volume-driver=nfs",
            "target=/b,volume-opt=type=tmpfs",
            "type=bind,source=/a,target=/b,bind-propagation=rshared",
            "target",
        ] {
            assert!(parse_csv(text).is_err(), "{text}");
        }
    }
}
