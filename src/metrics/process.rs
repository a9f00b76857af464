//! This process as the kernel sees it. What the kernel does not tell is left out, not guessed.

use std::fmt;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::names::{self, contract};
use super::page::Page;
use crate::app::LocalReadiness;
use crate::cpu::{self, Cpu};

/// Resident memory, bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Memory {
    all: u64,
    /// What belongs to no file: heap and stacks.
    anonymous: u64,
}

impl Memory {
    fn read(status: &str) -> Option<Self> {
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self { all: of("VmRSS")?, anonymous: of("RssAnon")? })
    }
}

/// The numbers of one page.
#[derive(Debug)]
pub(super) struct ProcessSample {
    started: f64,
    cpu: Duration,
    cpu_percent: f64,
    memory: Option<Memory>,
    open_files: Option<u64>,
    files_max: Option<u64>,
}

impl ProcessSample {
    /// Asks the kernel.
    pub(super) fn take(readiness: &LocalReadiness, last: &mut Cpu) -> Self {
        let cpu = cpu::used();
        let started = readiness.started().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: started.as_secs_f64(),
            cpu,
            cpu_percent: last.percent(cpu, readiness.uptime()),
            memory: fs::read_to_string("/proc/self/status").ok().and_then(|it| Memory::read(&it)),
            open_files: open_files(),
            files_max: getrlimit(Resource::Nofile).current,
        }
    }

    /// Writes them under their usual names and under those of the existing server.
    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge(names::STARTED, self.started)?;
        page.gauge(contract::STARTED, self.started)?;
        page.counter(names::CPU_SECONDS, self.cpu.as_secs_f64())?;
        page.counter(contract::CPU_SECONDS, self.cpu.as_secs_f64())?;
        page.gauge(contract::CPU, self.cpu_percent)?;
        if let Some(Memory { all, anonymous }) = self.memory {
            page.gauge(names::MEMORY, all)?;
            page.gauge(contract::RESIDENT, all)?;
            let rest = all.saturating_sub(anonymous);
            let heap = [("heap_used", anonymous), ("heap_total", anonymous)];
            let kinds = heap.into_iter().chain([("external", rest), ("rss", all)]);
            page.gauges(contract::MEMORY, "type", kinds)?;
        }
        if let Some(open) = self.open_files {
            page.gauge(names::OPEN_FILES, open)?;
            page.gauge(contract::OPEN_FILES, open)?;
        }
        if let Some(max) = self.files_max {
            page.gauge(names::FILES_MAX, max)?;
            page.gauge(contract::FILES_MAX, max)?;
        }
        Ok(())
    }
}

/// The kernel tells their number as the size of their folder; older ones (before 6.2) say 0 there.
fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        // One of them is the look itself.
        0 => u64::try_from(fs::read_dir(FOLDER).ok()?.count().saturating_sub(1)).ok(),
        open => Some(open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tserverv2\nVmRSS:\t   10240 kB\nRssAnon:\t    8192 kB\n";
        let memory = Memory { all: 10 * 1024 * 1024, anonymous: 8 * 1024 * 1024 };
        assert_eq!(Memory::read(status), Some(memory));
        assert_eq!(Memory::read("VmRSS:\tmuch\n"), None);
    }

    #[test]
    fn the_processors_share_is_of_the_time_between_two_pages() {
        let mut cpu = Cpu::default();
        let half = cpu.percent(Duration::from_secs(5), Duration::from_secs(10));
        assert_eq!(half, 50.0);
        let idle = cpu.percent(Duration::from_secs(5), Duration::from_secs(20));
        assert_eq!(idle, 0.0);
    }
}
