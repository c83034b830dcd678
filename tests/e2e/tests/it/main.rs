//! Stories of the whole platform, each on a platform of its own.

mod accounts;
mod backups;
mod dev;
mod documents;
mod egress;
mod failures;
mod fnproject;
mod freeze;
mod inside;
mod integrity;
mod life;
mod lifecycle;
mod logs;
mod nat;
mod objects;
mod queues;
mod reclaim;
mod scale;
mod schedules;
mod stream;
mod whisk;
