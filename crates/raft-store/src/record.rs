//! Objects of any kind, seen alike: what [`Stored`] says of a type, said of a value of [`Object`].

use swarm_api::object::Stored;
use swarm_api::{Cluster, Config, Kind, Meta, Network, Node, Object, Secret, Service, Task};

/// Number of kinds, the unknown one included: size of arrays indexed by kind.
pub(crate) const KINDS: usize = 8;

// Tasks come first: most objects are tasks.
macro_rules! dispatch {
    ($value:expr, $default:expr, $inner:ident => $body:expr) => {
        dispatch!($value, $default, $inner => $body,
            Task, Node, Service, Network, Secret, Config, Cluster)
    };
    ($value:expr, $default:expr, $inner:ident => $body:expr, $($type:ident),*) => {
        $(if let Some($inner) = $type::from_object($value) { $body } else)* { $default }
    };
}

fn kind_of<T: Stored>(_: &T) -> Kind {
    T::KIND
}

/// Kind of the object; unknown for an empty one or one of a later version.
pub(crate) fn kind(object: &Object) -> Kind {
    dispatch!(object, Kind::Unknown, x => kind_of(x))
}

/// Id of the object; empty for an empty one.
pub(crate) fn id(object: &Object) -> &str {
    dispatch!(object, "", x => x.id())
}

/// Name of the object; empty where it has none.
pub(crate) fn name(object: &Object) -> &str {
    dispatch!(object, "", x => x.name())
}

/// Version index; 0 before the first write.
pub(crate) fn version(object: &Object) -> u64 {
    dispatch!(object, 0, x => x.version())
}

/// Version and times.
pub(crate) fn meta(object: &Object) -> Option<&Meta> {
    dispatch!(object, None, x => x.meta())
}

/// Writes version and times.
pub(crate) fn set_meta(object: &mut Object, meta: Meta) {
    macro_rules! set {
        ($($type:ident),*) => {
            $(if let Some(inner) = $type::from_object_mut(object) {
                *inner.meta_mut() = Some(meta);
                return;
            })*
        };
    }
    set!(Task, Node, Service, Network, Secret, Config, Cluster);
}

/// Kind in words.
pub(crate) fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Unknown => "object",
        Kind::Node => Node::NOUN,
        Kind::Service => Service::NOUN,
        Kind::Task => Task::NOUN,
        Kind::Network => Network::NOUN,
        Kind::Secret => Secret::NOUN,
        Kind::Config => Config::NOUN,
        Kind::Cluster => Cluster::NOUN,
    }
}
