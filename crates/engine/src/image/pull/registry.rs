//! One registry and one repository in it, through the OCI client; its errors in our words.
//!
//! Stores nothing.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::{Client, RegistryOperation};

use super::{PullOptions, RegistryAuth};
use crate::image::blobs::verify;
use crate::image::digest;
use crate::image::error::{ImageError, Result};
use crate::image::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, MAX_JSON, OCI_INDEX, OCI_MANIFEST,
};
use crate::image::reference::Reference;

/// Long enough for a far registry, short enough to tell a user that it is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a single byte for this long, a registry counts as hung.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection for one pull.
pub(super) struct Registry {
    client: Client,
    auth: oci_client::secrets::RegistryAuth,
    reference: Reference,
}

/// The content of a blob from some offset on.
pub(super) struct BlobStream {
    /// Whether the registry went on at the offset rather than starting over.
    pub resumed: bool,
    pub bytes: BoxStream<'static, std::io::Result<Bytes>>,
}

impl Registry {
    /// Contacts the registry and gets a token if it wants one.
    pub(super) async fn connect(reference: &Reference, options: &PullOptions) -> Result<Self> {
        let mut plain = options.plain_http_hosts.clone();
        if reference.is_loopback() {
            plain.push(reference.registry.clone());
        }
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(options.answer_timeout.unwrap_or(READ_TIMEOUT)),
            user_agent: concat!("swarmd/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let explain = |error| explain(reference, error);
        let auth = match &options.auth {
            None => oci_client::secrets::RegistryAuth::Anonymous,
            Some(RegistryAuth::Basic { user, password }) => {
                oci_client::secrets::RegistryAuth::Basic(user.clone(), password.clone())
            }
            Some(RegistryAuth::Bearer(token)) => {
                oci_client::secrets::RegistryAuth::Bearer(token.clone())
            }
        };
        let client = Client::try_from(config).map_err(explain)?;
        let registry = Self { client, auth, reference: reference.clone() };
        let name = registry.name(None);
        let operation = RegistryOperation::Pull;
        registry.client.auth(&name, &registry.auth, operation).await.map_err(explain)?;
        Ok(registry)
    }

    /// The document behind the reference's tag, or behind a digest; with its digest, verified.
    pub(super) async fn manifest(&self, digest: Option<&str>) -> Result<(Bytes, String)> {
        let name = self.name(digest);
        let accepted = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
        let pulled = self.client.pull_manifest_raw(&name, &self.auth, &accepted).await;
        let (bytes, _) = pulled.map_err(|error| self.explain(error))?;
        if bytes.len() as u64 > MAX_JSON {
            let what = format!("the manifest of {}", self.reference);
            return Err(ImageError::OverLimit { what, limit: MAX_JSON });
        }
        let actual = digest::of_bytes(&bytes);
        if let Some(expected) = digest {
            verify(&format!("the manifest of {}", self.reference), expected, &actual)?;
        }
        Ok((bytes, actual))
    }

    /// Opens a blob at `offset`. Addresses that a manifest gives for it are not followed.
    pub(super) async fn blob(&self, blob: &Descriptor, offset: u64) -> Result<BlobStream> {
        let name = self.name(None);
        let digest = blob.digest.as_str();
        let (resumed, stream) = if offset == 0 {
            let full = self.client.pull_blob_stream(&name, digest).await;
            (false, full.map_err(|error| self.explain(error))?)
        } else {
            let partial = self.client.pull_blob_stream_partial(&name, digest, offset, None).await;
            match partial.map_err(|error| self.explain(error))? {
                BlobResponse::Full(stream) => (false, stream),
                BlobResponse::Partial(stream) => (true, stream),
            }
        };
        Ok(BlobStream { resumed, bytes: stream.stream })
    }

    pub(super) fn reference(&self) -> &Reference {
        &self.reference
    }

    fn name(&self, digest: Option<&str>) -> oci_client::Reference {
        let Reference { registry, repository, tag, digest: own } = self.reference.clone();
        match (digest.map(str::to_owned).or(own), tag) {
            (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest),
            (None, tag) => {
                oci_client::Reference::with_tag(registry, repository, tag.unwrap_or_default())
            }
        }
    }

    fn explain(&self, error: OciDistributionError) -> ImageError {
        explain(&self.reference, error)
    }
}

/// The same failure in terms of what a user can do.
fn explain(reference: &Reference, error: OciDistributionError) -> ImageError {
    let (registry, name) = (reference.registry.clone(), reference.to_string());
    let not_found = |registry, reference| ImageError::NotInRegistry { registry, reference };
    let failed = |reason: String| ImageError::Registry {
        registry: registry.clone(),
        reference: name.clone(),
        reason,
    };
    let unauthorized = |reason: &str| ImageError::Unauthorized {
        registry: registry.clone(),
        reference: name.clone(),
        reason: reason.trim().to_owned(),
    };
    match error {
        OciDistributionError::UnauthorizedError { .. } => {
            unauthorized("it wants other credentials")
        }
        OciDistributionError::AuthenticationFailure(reason) => unauthorized(&reason),
        OciDistributionError::ImageManifestNotFoundError(_) => not_found(registry, name),
        OciDistributionError::RegistryError { envelope, .. } => {
            let codes = || envelope.errors.iter().map(|error| &error.code);
            let is = |wanted: &[OciErrorCode]| codes().any(|code| wanted.contains(code));
            if is(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                unauthorized("it denies access")
            } else if is(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown]) {
                not_found(registry, name)
            } else {
                failed(envelope.to_string())
            }
        }
        OciDistributionError::ServerError { code: 404, .. } => not_found(registry, name),
        OciDistributionError::ServerError { code: 401 | 403, .. } => {
            unauthorized("it denies access")
        }
        OciDistributionError::ServerError { code, message, .. } => {
            failed(format!("status {code}: {}", first_line(&message)))
        }
        OciDistributionError::RequestError(error) if error.is_timeout() => {
            ImageError::Timeout { registry, reference: name }
        }
        OciDistributionError::RequestError(error) if error.is_connect() => {
            ImageError::Unreachable { registry, reference: name, reason: root_cause(&error) }
        }
        OciDistributionError::RequestError(error) => failed(root_cause(&error)),
        OciDistributionError::DigestError(error) => failed(error.to_string()),
        other => failed(other.to_string()),
    }
}

/// The innermost reason: the outer ones only repeat the address.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}
