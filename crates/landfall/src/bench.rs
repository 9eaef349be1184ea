//! What `landfall bench` is made of: a load, an instance to measure, and readings of a process.

pub(crate) mod child;
pub(crate) mod load;
pub(crate) mod process;
