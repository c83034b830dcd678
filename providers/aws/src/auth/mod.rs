//! Who is calling: signatures checked by the rules of Signature Version 4, keys from the accounts of this platform or
//! the temporary credentials of its instances.

mod accounts;
mod clock_text;
mod sessions;
mod sigv4;
mod verify;

pub use accounts::{Account, Accounts, AddAccountError};
pub use sessions::Session;
pub use verify::{AuthMode, Caller, Principal};

pub(crate) use sessions::Sessions;
pub(crate) use sigv4::{hmac, query_pairs};
pub(crate) use verify::{Door, Pending, Verifier};
