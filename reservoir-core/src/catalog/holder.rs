//! Which process holds a lease, and whether it still runs.

use std::{fmt, fs, str::FromStr};

use uuid::Uuid;

use crate::error::{Error, Result};

/// A process, written as `host/pid/start/uuid`. `host` is this boot of this machine and, with it, the
/// namespace that gives the process id a meaning (proc(5), `pid_namespaces(7)`); `start` is the process's
/// start in clock ticks since boot, so that a reused id is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    host: String,
    pid: u32,
    start: u64,
    id: Uuid,
}

impl Holder {
    /// This process, with a new uuid each time.
    #[must_use]
    pub fn current() -> Self {
        let pid = std::process::id();
        // Without /proc nobody can see whether this process lives; the lease then ends by time alone.
        let start = process(pid).map_or(0, |(_, start)| start);
        Self { host: host().unwrap_or_else(|| "unknown".into()), pid, start, id: Uuid::new_v4() }
    }

    /// Whether it was a process of this host that does not run any more. `false` when that cannot be known.
    /// Reads a few lines of /proc.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        if self.start == 0 || host().is_none_or(|host| host != self.host) {
            return false;
        }
        match process(self.pid) {
            Some((state, start)) => start != self.start || matches!(state, 'Z' | 'X'),
            // With `hidepid` the processes of other users cannot be seen, living or dead.
            None => process(1).is_some(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.host, self.pid, self.start, self.id)
    }
}

impl FromStr for Holder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split('/');
            let host = parts.next().filter(|host| !host.is_empty())?.to_owned();
            let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let id = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Self { host, pid, start, id })
        };
        parse().ok_or_else(|| {
            let shown: String = text.chars().take(200).collect();
            Error::invalid("lease holder", format!("{shown:?} is not host/pid/start/uuid"))
        })
    }
}

fn host() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let digits = |c: &char| c.is_ascii_digit();
    let namespace: String = namespace.to_str()?.chars().filter(digits).collect();
    Some(format!("{}.{namespace}", boot.trim()))
}

/// State and start of a process, from `/proc/PID/stat` (proc(5)).
fn process(pid: u32) -> Option<(char, u64)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<(char, u64)> {
    // The command in parentheses may itself have spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // `state` is field 3, `starttime` field 22.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_lives() {
        let holder = Holder::current();
        assert_ne!(holder.start, 0);
        assert!(!holder.is_dead());
        assert_eq!(holder.to_string().parse::<Holder>().unwrap(), holder);
        assert_ne!(holder, Holder::current());
    }

    #[test]
    fn a_killed_process_is_dead_even_before_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (_, start) = process(child.id()).unwrap();
        let holder = Holder { pid: child.id(), start, ..Holder::current() };
        assert!(!holder.is_dead());
        child.kill().unwrap();
        let mut waits = 0;
        while !holder.is_dead() {
            waits += 1;
            assert!(waits < 500, "a killed child is still taken for alive");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        child.wait().unwrap();
        assert!(holder.is_dead());
    }

    #[test]
    fn strangers_and_reused_ids() {
        let current = Holder::current();
        let elsewhere = Holder { host: "other".into(), pid: u32::MAX, ..current.clone() };
        assert!(!elsewhere.is_dead(), "another host's processes cannot be judged");
        let reused = Holder { start: current.start + 1, ..current };
        assert!(reused.is_dead());
    }

    #[test]
    fn a_command_with_parentheses() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20";
        assert_eq!(parse_stat(stat), Some(('S', 424_242)));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,80}") {
            let _ = parse_stat(&text);
            if let Ok(holder) = text.parse::<Holder>() {
                prop_assert_eq!(holder.to_string().parse::<Holder>().unwrap(), holder);
            }
        }
    }
}
