//! The machine under a simulated store, clock and world.

mod simulation;
mod store;
