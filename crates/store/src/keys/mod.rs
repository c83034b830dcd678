//! Secrets at rest: the records of functions, revisions and documents (variables, accounts, keys of clients) are sealed in
//! the database.
//!
//! One *master key* of 256 bits, in a file of its own, wraps *data keys*, one for each tenant and each set of documents,
//! which seal records. So exchanging the master key writes the data keys anew and nothing else, and a record that is put in
//! another's place, or into another database, does not open: each is bound to its table, its identity and its scope.
//! The cipher is XChaCha20-Poly1305, whose nonces are long enough to be chosen at random.
//!
//! Not sealed: aliases, contents of events, output of functions, usage; and whatever else lies in the state directory,
//! which only its owner can read.

mod change;
mod master;
mod sealing;

pub use change::{KeyReport, inspect_key, rotate_key};
pub(crate) use master::{KEY_FILE, MasterKey, NEXT_KEY_FILE};
pub use master::{KeyError, KeySource};
pub(crate) use sealing::DataKey;
