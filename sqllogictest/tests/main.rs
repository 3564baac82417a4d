//! What is tested besides the corpus: the tools beside it, and what the documents say. One binary, since each would link everything.

mod chaos;
mod coverage;
mod fuzz;
mod maintenance;
mod readme;
mod tidy;
