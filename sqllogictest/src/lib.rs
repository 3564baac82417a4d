//! The SQL corpus and what runs it: scripts of statements and answers over the wire, in several modes, with every view compared
//! to its query in batch after each statement.
//!
//! - [`mode`]: the ways a script is run. The answers are the same in each.
//! - [`server`]: the `thalweg serve` child process of a script, killed and started again.
//! - [`connection`]: simple queries over the wire, reconnecting after a restart.
//! - [`script`]: one `.slt` file from its first record to its last.
//! - [`oracle`]: the second opinion: view = its query, over the runner's own copy of the inputs.
//! - [`chaos`]: a server that is killed under writes.
//! - [`fuzz`]: random queries over random histories.
//! - [`coverage`]: which constructs the corpus covers, for `docs/testing.md`.

pub mod chaos;
pub mod connection;
pub mod coverage;
pub mod fuzz;
pub mod mode;
pub mod oracle;
pub mod script;
pub mod server;
