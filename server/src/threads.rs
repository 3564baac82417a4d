//! The threads that run statements: those that answer, and those that compute.
//!
//! A statement is planned by a thread that answers, and so are its rows computed when they are few. All other queries, and writes of
//! what a query computes, are run by threads of their own, which give way to the rest of the server: however long a join runs, a
//! statement that asks for one row is planned and answered at once. Not guaranteed: that an UPDATE or VERIFY over many rows, or a
//! DDL statement, keeps off the threads that answer.

use engine::priority::give_way;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::config::Config;

/// Threads that answer: one may be busy for a while with a plan.
const ANSWERING_THREADS: usize = 2;

/// Both kinds of threads, as long as this lives.
pub struct QueryRuntimes {
    answering: Runtime,
    computing: Runtime,
}

/// Where work is given to them.
#[derive(Debug, Clone)]
pub struct QueryThreads {
    /// For what takes moments.
    pub answering: Handle,
    /// For what may take long.
    pub computing: Handle,
}

impl QueryRuntimes {
    /// Starts them.
    pub fn start(config: &Config) -> std::io::Result<Self> {
        let threads = |name: &str, n_threads: usize| {
            let mut builder = Builder::new_multi_thread();
            builder.thread_stack_size(16 << 20).worker_threads(n_threads).thread_name(name).enable_all();
            builder
        };
        Ok(Self {
            answering: threads("answer", ANSWERING_THREADS).build()?,
            computing: threads("query", config.query_threads.max(1)).on_thread_start(give_way).build()?,
        })
    }

    /// Where work is given to them.
    pub fn threads(&self) -> QueryThreads {
        QueryThreads { answering: self.answering.handle().clone(), computing: self.computing.handle().clone() }
    }

    /// Ends them without waiting: a computation that does not yield must not keep the process from ending.
    pub fn shutdown_background(self) {
        self.answering.shutdown_background();
        self.computing.shutdown_background();
    }
}
