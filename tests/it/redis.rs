//! A Redis beside the cluster: what others see in it, and that nobody notices when it is away.

mod blacklist;
mod connection;
mod mirror;
mod outage;
mod registry;
mod seen;
mod sessions;
mod several;
mod told;
