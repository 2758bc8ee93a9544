//! What Linux says of a running process.

use std::fs;

/// Clock ticks a second in `/proc/PID/stat`; a constant of Linux's interface on every architecture.
const TICKS: f64 = 100.0;

/// The largest resident size so far (`VmHWM`), in bytes; `None` when the process is gone.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

/// Processor time of a process and its living children, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    own_cpu_seconds(pid) + children.map(own_cpu_seconds).sum::<f64>()
}

/// Processor time of those children of this process that have ended, in seconds.
pub(crate) fn ended_children_cpu_seconds() -> f64 {
    stat("self", 16)
}

fn own_cpu_seconds(pid: u32) -> f64 {
    stat(&pid.to_string(), 14)
}

/// Two fields of `/proc/PID/stat`, counted from 1 (proc(5)): user and system time, in seconds.
fn stat(pid: &str, field: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is a name in parentheses that may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = rest.split_ascii_whitespace().skip(field - 3).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        let me = std::process::id();
        assert!(peak_memory(me).unwrap() > 1 << 20);
        let before = cpu_seconds(me);
        let mut sum = 0_u64;
        while cpu_seconds(me) < before + 0.05 {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        assert!(cpu_seconds(me) > before, "{sum}");
        assert_eq!(peak_memory(u32::MAX), None);
    }
}
