//! How the kernel's scheduler treats a thread.

use rustix::io::Errno;

/// Lets this thread, and those it starts from now on, wait for the processor until whoever has it gives it up or has used
/// its turn, instead of taking it at once when woken (`SCHED_BATCH`; Linux `sched(7)`). Its share stays what it is. Needs no
/// right.
///
/// # Errors
/// As the kernel says.
pub fn wait_for_turns() -> Result<(), Errno> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters are a struct that lives for the whole call, and only this thread is meant (0).
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } != 0 {
        return Err(super::last_errno());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_waits_for_its_turns_and_so_do_those_it_starts() {
        let policy = || std::fs::read_to_string("/proc/thread-self/stat").expect("readable");
        // The 41st field of proc_pid_stat(5); the second, the name, ends with the last parenthesis.
        let of = |stat: &str| {
            stat.rsplit(')')
                .next()
                .and_then(|rest| rest.split_whitespace().nth(38))
                .map(str::to_owned)
        };
        let thread = std::thread::spawn(move || {
            super::wait_for_turns().expect("allowed");
            let child = std::thread::spawn(move || of(&policy())).join().expect("no panic");
            (of(&policy()), child)
        });
        let batch = Some(libc::SCHED_BATCH.to_string());
        assert_eq!(thread.join().expect("no panic"), (batch.clone(), batch));
    }
}
