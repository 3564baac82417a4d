//! Threads that compute ahead of anyone's asking (workers, recomputes, sources) give way to those that answer: with as many
//! workers as cores, a statement shares its core with one of them, and would otherwise wait for the end of its time slice.
//!
//! A preference, never a need: where the system refuses it, all threads are equal. With nobody asking, nothing is slower.

use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// Between the lowest (0) and the highest (99), where 50 is a thread's usual one. On Linux a nice value of 5: a third of the
/// share of a thread that answers, which is woken at once; measured in `docs/benchmarks.md`, lower ones gain nothing more.
const BACKGROUND: u8 = 35;

/// Makes the current thread one of the background.
pub fn give_way() {
    let Ok(priority) = ThreadPriorityValue::try_from(BACKGROUND) else { return };
    if let Err(error) = thread_priority::set_current_thread_priority(ThreadPriority::Crossplatform(priority)) {
        tracing::debug!(?error, "threads of the background keep their usual priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_the_background_is_nicer_than_one_that_answers() {
        let nice = || -> i64 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux has it");
            // The name in parentheses may hold spaces: what follows it starts with field 3, and 19 is the nice value.
            let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
            fields.split(' ').nth(16).expect("there are more fields").parse().expect("it is a number")
        };
        let before = nice();
        let in_background = std::thread::spawn(move || {
            give_way();
            nice()
        });
        let after = in_background.join().expect("it does not panic");
        assert!(after > before || before >= 5, "nice {before} has become {after}");
        assert_eq!(nice(), before, "only that thread");
    }
}
