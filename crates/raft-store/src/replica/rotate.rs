//! Rotation of the data key: from one moment on all is sealed under the new one, then what lies
//! under earlier ones is sealed anew, until nothing needs them.
//!
//! The caller keeps the keys and goes through a crash at any step: it writes the new key before the
//! old one to its file, calls [`Replica::rotate_data_key`], and drops the old one from its file when
//! that returns. If it finds more than one key in its file at start, it opens with all of them and
//! calls [`Replica::reseal`] before it drops the earlier ones.

use super::{Replica, gone};
use crate::StoreError;
use crate::keys::DATA_KEY_BYTES;

impl Replica {
    /// Seals all under this data key, now and from now on. When it returns, nothing on disk needs
    /// an earlier one.
    pub async fn rotate_data_key(&self, new: &[u8; DATA_KEY_BYTES]) -> Result<(), StoreError> {
        // One at a time: what one has begun to seal must not be forgotten by another.
        let _turn = self.0.resealing.lock().await;
        self.0.sealer.rotate(new).map_err(gone)?;
        self.seal_anew().await
    }

    /// Seals anew what still lies under earlier data keys than the newest, and forgets them. When it
    /// returns, nothing on disk needs them.
    pub async fn reseal(&self) -> Result<(), StoreError> {
        let _turn = self.0.resealing.lock().await;
        self.seal_anew().await
    }

    async fn seal_anew(&self) -> Result<(), StoreError> {
        let resealed = async {
            self.0.log.reseal().await?;
            let snapshot = self.0.snapshot.clone();
            snapshot.ground().blocking(move || snapshot.reseal()).await?
        };
        resealed.await.map_err(gone).inspect_err(|error| {
            // Damage ends the node wherever it is met; a closed log is met while shutting down.
            if !self.0.cancel.is_cancelled() {
                self.0.fatal.send_if_modified(|fatal| {
                    fatal.is_none() && fatal.replace(error.to_string()).is_none()
                });
            }
        })?;
        self.0.sealer.forget_outdated();
        Ok(())
    }
}
