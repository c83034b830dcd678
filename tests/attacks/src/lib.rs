//! Hostile functions, run through the platform's own deploy and invoke path: what each of them gets to see and to do,
//! and that the host, the platform and a healthy neighbor do not notice.
//!
//! `functions/` has the attackers (Python, and C where a language's runtime stands in the way), [`table`] says what must
//! come of each, [`arena`] runs them. Every attack runs behind the platform's normal walls, with small bounds.

pub mod arena;
pub mod neighbor;
pub mod story;
pub mod table;

pub use arena::{Arena, Report};
pub use table::{ATTACKS, Attack, Tier};
