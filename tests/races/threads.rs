//! Whether all other threads of this process sleep, as the kernel tells. A thread that is woken
//! is runnable at once, one that reads or writes does not sleep but waits, and each return to
//! sleep counts as a switch. So when two looks at every thread find it asleep with the same count,
//! there was an instant between them at which all slept: from there only a timer can wake one.

use std::fs;
use std::time::Duration;

/// The thread that stops and starts instances: it polls, and is no witness.
pub const POLLING: &str = "restart";

/// Counts of switches by thread; `None` if one is awake.
fn switches() -> Option<Vec<(String, u64)>> {
    let own = fs::read_link("/proc/thread-self").unwrap();
    let mut switches = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap();
        let id = task.file_name().into_string().unwrap();
        if own.ends_with(&id) {
            continue;
        }
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map_or("", |value| value.trim_start_matches(':').trim())
        };
        if field("Name") == POLLING {
            continue;
        }
        if !field("State").starts_with('S') {
            return None;
        }
        let count = |name| field(name).parse::<u64>().unwrap_or(0);
        switches.push((id, count("voluntary_ctxt_switches") + count("nonvoluntary_ctxt_switches")));
    }
    switches.sort();
    Some(switches)
}

/// Returns when all have slept for `time`.
pub fn wait_until_asleep(time: Duration) {
    loop {
        let before = switches();
        std::thread::sleep(time);
        if before.is_some() && before == switches() {
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}
