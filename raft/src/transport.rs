//! How nodes reach each other: persistent TCP connections with length-delimited binary frames.
//!
//! Each node listens on an address of its own. A connection begins with a handshake in which both
//! sides prove that they know the cluster's secret and say who they are; then it carries one request
//! at a time, each answered before the next. The log, heartbeats and votes, snapshots and forwarded
//! proposals have connections of their own, so none of them waits behind another.
//!
//! Whatever comes from a peer is bounded before it is read and checked before it is used. A
//! connection on which anything is wrong is closed; the caller reconnects with its next request.

pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod server;
pub(crate) mod snapshot;
