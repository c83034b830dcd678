//! Sealing and opening bytes, without any state.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use sonagi_ports::{Entropy, SystemEntropy};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// Sealed bytes do not open: damaged, of another place, or of another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged, or sealed for another place or with another key")]
pub(crate) struct SealError;

/// A key that seals.
#[derive(Clone)]
pub(crate) struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    pub(crate) fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        SystemEntropy::new().fill(bytes.as_mut());
        Self(bytes)
    }

    pub(super) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }

    /// Seals bytes for one place, as text.
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        SystemEntropy::new().fill(&mut nonce);
        let payload = Payload {
            msg: plain,
            aad: place.as_bytes(),
        };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError)?;
        Ok(STANDARD_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what was sealed for this place.
    pub(crate) fn open(&self, place: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| SealError)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(SealError)?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        let plain = self
            .cipher()
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| SealError)?;
        Ok(Zeroizing::new(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_place_open() {
        let (key, other) = (DataKey::generate(), DataKey::generate());
        let sealed = key.seal("here", b"secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert_eq!(key.open("here", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(key.open("there", &sealed).unwrap_err(), SealError);
        assert_eq!(other.open("here", &sealed).unwrap_err(), SealError);
        assert_ne!(key.seal("here", b"secret").unwrap(), sealed, "nonces differ");
        for damaged in ["", "AAAA", "%", &sealed[1..], &sealed[..sealed.len() - 4]] {
            assert_eq!(key.open("here", damaged).unwrap_err(), SealError, "{damaged:?}");
        }
        let mut bytes = STANDARD_NO_PAD.decode(&sealed).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(
                key.open("here", &STANDARD_NO_PAD.encode(&bytes)).unwrap_err(),
                SealError
            );
            bytes[at] ^= 1;
        }
    }
}
