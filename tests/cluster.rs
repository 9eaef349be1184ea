//! Faults that take several servers, or a broker's disk: three nodes of RabbitMQ in networks of their own, two
//! PostgreSQLs one behind the other, a small volume.
//!
//! They make network namespaces and mount file systems, so they are run by hand and as root, by the script
//! `tests/cluster/run`, which also removes what they made. Each prints one line of what it measured.

mod brokers;
mod databases;
mod disk;
mod failover;
mod partitions;
mod standby;
mod world;
