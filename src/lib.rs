//! The shell around the replicated core: sockets, HTTP, clocks, battle rules, configuration.
