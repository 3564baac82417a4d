//! The binary `thalweg`: picks the allocator and hands over to the command line.

use std::process::ExitCode;

/// Many threads allocate and free each other's batches; mimalloc keeps that cheap and gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    thalweg::cli::run()
}
