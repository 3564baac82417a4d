//! Keyed state: batches in, batches out. Knows no SQL and no timely.
