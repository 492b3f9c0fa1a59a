//! `Debug` for messages that carry secrets: what they are shows, what they hold never does.

use std::fmt::{Debug, Formatter, Result};

use crate::generated::{
    ConfigAssignment, ConfigSpec, Custody, GetRecoveryKeyResponse, GetUnlockKeyResponse,
    IssueCertificateRequest, JoinRequest, JoinTokens, PullImageRequest, RootCa, RootRotation,
    RotateRootCaRequest, SecretAssignment, SecretSpec, UnlockRequest,
};

const HIDDEN: &str = "<hidden>";

impl Debug for SecretSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("SecretSpec")
            .field("annotations", &self.annotations)
            .field("data", &HIDDEN)
            .finish()
    }
}

impl Debug for ConfigSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("ConfigSpec")
            .field("annotations", &self.annotations)
            .field("bytes", &self.data.len())
            .finish()
    }
}

impl Debug for SecretAssignment {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("SecretAssignment").field("id", &self.id).field("data", &HIDDEN).finish()
    }
}

impl Debug for ConfigAssignment {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("ConfigAssignment")
            .field("id", &self.id)
            .field("bytes", &self.data.len())
            .finish()
    }
}

impl Debug for RootCa {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RootCa")
            .field("certificate_pem", &self.certificate_pem)
            .field("key_pem", &HIDDEN)
            .field("rotation", &self.rotation)
            .finish_non_exhaustive()
    }
}

impl Debug for Custody {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Custody")
            .field("data_key_epoch", &self.data_key_epoch)
            .finish_non_exhaustive()
    }
}

impl Debug for RootRotation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RootRotation")
            .field("certificate_pem", &self.certificate_pem)
            .field("key_pem", &HIDDEN)
            .finish_non_exhaustive()
    }
}

macro_rules! hidden {
    ($($type:ident),*) => {
        $(impl Debug for $type {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        })*
    };
}

hidden!(GetUnlockKeyResponse, GetRecoveryKeyResponse, UnlockRequest);

impl Debug for RotateRootCaRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RotateRootCaRequest")
            .field("version", &self.version)
            .field("certificate_pem", &self.certificate_pem)
            .field("key_pem", &HIDDEN)
            .finish()
    }
}

impl Debug for JoinTokens {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("JoinTokens").finish_non_exhaustive()
    }
}

impl Debug for IssueCertificateRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("IssueCertificateRequest")
            .field("hostname", &self.hostname)
            .field("token", &HIDDEN)
            .finish_non_exhaustive()
    }
}

impl Debug for JoinRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("JoinRequest")
            .field("remote_addrs", &self.remote_addrs)
            .field("token", &HIDDEN)
            .finish_non_exhaustive()
    }
}

impl Debug for PullImageRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("PullImageRequest")
            .field("reference", &self.reference)
            .field("username", &self.username)
            .field("password", &HIDDEN)
            .finish()
    }
}

#[cfg(test)]
mod tests;
