//! Requests and results of each protocol, by data.
