//! Directories of events.
