//! What the figures were measured on.

use std::fs;

/// Flags that decide how fast hashes are.
const FLAGS: [&str; 5] = ["sha_ni", "avx2", "avx512f", "avx512vl", "vaes"];

/// Processor, cores, kernel and present load, in a line or two.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let all = field("flags");
    let flags: Vec<&str> =
        FLAGS.into_iter().filter(|flag| all.split(' ').any(|have| have == *flag)).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {cores} cores ({}), Linux {}, {} of memory; load {} at the start; reservoir {}",
        field("model name"),
        flags.join(" "),
        kernel.trim(),
        memory(),
        load(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// The load average of the last minute.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

fn memory() -> String {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<u64> = total.and_then(|total| total.trim().trim_end_matches(" kB").parse().ok());
    kib.map_or("unknown".into(), |kib| format!("{} GiB", kib >> 20))
}
