//! The bearer token of the native API: made at the first start, kept in the state directory, compared by digest.

use sha2::{Digest as _, Sha256};
use sonagi_ports::Entropy;

/// A new token: 256 random bits in hexadecimal, with a prefix that says what it is.
pub(crate) fn generate(entropy: &dyn Entropy) -> String {
    let mut secret = [0; 32];
    entropy.fill(&mut secret);
    format!("sonagi_{}", hex::encode(secret))
}

/// What is kept and compared in place of a token.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
