//! The image of a service: pinned to a digest when the service is made or its image changes, so
//! that all nodes run the same.

use swarm_api::image::ImageRef;
use swarm_api::{Platform, ResolveImageRequest, ServiceSpec};

use super::flags::{container_of, task_of};
use crate::client::Client;
use crate::output;

/// An image as its registry (or the connected node) knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pinned {
    reference: String,
    platforms: Vec<Platform>,
}

impl Pinned {
    /// The image as a stored spec has it.
    pub fn of(spec: &ServiceSpec) -> Option<Self> {
        let task = spec.task.as_ref()?;
        let reference = task.container.as_ref()?.image.clone();
        let platforms = task.placement.as_ref().map(|p| p.platforms.clone()).unwrap_or_default();
        Some(Pinned { reference, platforms })
    }

    /// Writes reference and platforms into `spec`.
    pub fn write(&self, spec: &mut ServiceSpec) {
        let task = task_of(spec);
        container_of(task).image.clone_from(&self.reference);
        if !self.platforms.is_empty() || task.placement.is_some() {
            task.placement.get_or_insert_default().platforms.clone_from(&self.platforms);
        }
    }
}

/// The image of a spec, to be changed.
pub fn image_of(spec: &mut ServiceSpec) -> &mut String {
    &mut container_of(task_of(spec)).image
}

/// Looks up the digest of `image`, if that can be done.
pub async fn look_up(client: &Client, image: &str) -> Option<Pinned> {
    let request = ResolveImageRequest { reference: image.to_owned() };
    let answer = client.images().resolve_image(request).await.ok()?.into_inner();
    Some(Pinned { reference: answer.pinned, platforms: answer.platforms })
}

/// The incumbent's warning about an image without digest.
pub fn warn(image: &str) {
    output::note(format_args!(
        "image {image} could not be accessed on a registry to record\nits digest. Each node will \
         access {image} independently,\npossibly leading to different nodes running \
         different\nversions of the image.\n"
    ));
}

/// Pins the image of `spec` and tells whether it could; one that cannot be pinned at least gets its
/// tag. What to say of that is up to the caller.
pub async fn pin(client: &Client, spec: &mut ServiceSpec) -> bool {
    let image = image_of(spec).clone();
    let pinned = look_up(client, &image).await;
    match &pinned {
        Some(pinned) => pinned.write(spec),
        None => tag(spec),
    }
    pinned.is_some()
}

/// Adds `:latest` to an image without tag.
pub fn tag(spec: &mut ServiceSpec) {
    let image = image_of(spec);
    if let Ok(parsed) = ImageRef::parse(image) {
        *image = parsed.familiar();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_image_is_written_with_its_platforms() {
        let platform = Platform { architecture: "amd64".into(), os: "linux".into() };
        let pinned = Pinned { reference: "web:1@sha256:0".into(), platforms: vec![platform] };
        let mut spec = ServiceSpec::default();
        pinned.write(&mut spec);
        assert_eq!(Pinned::of(&spec), Some(pinned));
    }

    #[test]
    fn an_image_without_tag_gets_one() {
        let mut spec = ServiceSpec::default();
        *image_of(&mut spec) = "web".into();
        tag(&mut spec);
        assert_eq!(image_of(&mut spec), "web:latest");
    }
}
