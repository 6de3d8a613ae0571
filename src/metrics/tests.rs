//! Metrics as a whole.
