//! Small programs that run, one a layer. Each begins with the command that runs it.
//!
//! | program | shows |
//! |---|---|
//! | `hello.rs` | an actor, and a question to it |
//! | `supervised.rs` | a tree that survives crashes, with back-off; addresses that outlive them |
//! | `dependency.rs` | a tree that survives a failing dependency, and serves the rest meanwhile |
//! | `pool.rs` | a dynamic supervisor as a connection pool, with probes |
//! | `two_nodes.rs` | two nodes over mutual TLS: ask, registry, topic, and a stranger that is refused |
//! | `bank.rs` | a simulated bank on three nodes: the bug that is found, and the fix |
//! | `services.rs` | a service called from another node, with a bounded queue, a fallback and a breaker |
//! | `ractor_cluster.rs` | a program written for ractor_cluster, on our links, across the kill of its peer |
//!
//! Their tests run the very programs and read what they print.

/// The README's code compiles, and what it claims to run does.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub mod readme {}
