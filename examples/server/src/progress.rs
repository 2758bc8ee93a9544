//! What a running task looks like: bars on a terminal, plain lines otherwise.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use reservoir_core::{
    Engine, Error, Result,
    task::{Progress, TaskEvent, TaskHandle},
};
use tokio::sync::broadcast::error::RecvError;

use crate::text::bytes;

/// Plain lines come at most this often.
const LINE: Duration = Duration::from_secs(5);

/// Waits for a task while showing what it does on standard error. Ctrl-C asks the task to stop; it stays
/// resumable. A second Ctrl-C does not wait for it.
pub(crate) async fn follow<T: Send + 'static>(
    engine: &Engine,
    handle: TaskHandle<T>,
    quiet: bool,
) -> Result<T> {
    let mut events = engine.events();
    let id = handle.id();
    let mut view = View::new(quiet);
    let stop = handle.canceller();
    let wait = handle.wait();
    tokio::pin!(wait);
    let interrupted = crate::signal::interrupted();
    tokio::pin!(interrupted);
    let mut asked = false;
    loop {
        tokio::select! {
            result = &mut wait => {
                view.finish();
                return result;
            }
            () = &mut interrupted => {
                if asked {
                    view.finish();
                    return Err(Error::Cancelled);
                }
                asked = true;
                interrupted.set(crate::signal::interrupted());
                view.say("stopping; what is stored stays, run the same command again to go on");
                stop.cancel();
            }
            event = events.recv() => match event {
                Ok(event) if event.task == id => view.show(&event),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return wait.await,
            }
        }
    }
}

struct View {
    bar: Option<ProgressBar>,
    quiet: bool,
    phase: &'static str,
    files: u64,
    total: Option<u64>,
    bytes: u64,
    /// Bytes of the phase, and how many had come before it, where that is known.
    expected: Option<(u64, u64)>,
    last_line: Instant,
    started: Instant,
}

impl View {
    fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        Self {
            bar: terminal.then(ProgressBar::new_spinner),
            quiet,
            phase: "",
            files: 0,
            total: None,
            bytes: 0,
            expected: None,
            last_line: Instant::now(),
            started: Instant::now(),
        }
    }

    fn show(&mut self, event: &TaskEvent) {
        match &event.progress {
            Progress::Phase { name, total } => {
                self.phase = name;
                self.total = *total;
                self.files = 0;
                self.expected = None;
                self.restyle();
            }
            Progress::Expected { bytes } => {
                (self.expected, self.started) = (Some((*bytes, self.bytes)), Instant::now());
                self.restyle();
            }
            Progress::FileBytes { bytes, .. } => self.bytes += bytes,
            Progress::Discovered { .. } | Progress::FileDone { .. } => self.files += 1,
            Progress::Warning { message } => self.say(message),
            _ => {}
        }
        self.draw();
    }

    fn restyle(&self) {
        let Some(bar) = &self.bar else { return };
        let template = match (self.expected, self.total) {
            (Some(_), _) => "{prefix:>9} [{bar:30}] {percent}% {msg}",
            (None, Some(_)) => "{prefix:>9} [{bar:30}] {pos}/{len} {msg} eta {eta}",
            (None, None) => "{prefix:>9} {spinner} {pos} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(self.phase);
        bar.reset();
        if let Some(total) = self.expected.map(|(bytes, _)| bytes).or(self.total) {
            bar.set_length(total);
        }
    }

    fn draw(&mut self) {
        let before = self.expected.map_or(0, |(_, before)| before);
        let rate = (self.bytes - before) as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let mut amount = format!("{} ({}/s)", bytes(self.bytes), bytes(rate as u64));
        if let Some((expected, before)) = self.expected {
            let left = (expected + before).saturating_sub(self.bytes);
            let (came, all) = (bytes(self.bytes), bytes(expected + before));
            amount = format!("{came} of {all} ({}/s), {}", bytes(rate as u64), time_left(left, rate));
        }
        if let Some(bar) = &self.bar {
            let bytes = self.expected.map(|(_, before)| self.bytes - before);
            bar.set_position(bytes.unwrap_or(self.files));
            bar.set_message(amount);
        } else if !self.quiet && self.last_line.elapsed() >= LINE {
            self.last_line = Instant::now();
            let total = self.total.map(|total| format!("/{total}")).unwrap_or_default();
            self.say(&format!("{} {}{total} {amount}", self.phase, self.files));
        }
    }

    #[expect(clippy::print_stderr, reason = "this is the program's own terminal output")]
    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.quiet => {}
            None => eprintln!("{line}"),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `2 min left`, as far as the rate until now tells.
fn time_left(bytes: u64, rate: f64) -> String {
    let seconds = bytes as f64 / rate.max(1.0);
    match seconds {
        s if s < 60.0 => format!("{s:.0} s left"),
        s if s < 5400.0 => format!("{:.0} min left", s / 60.0),
        s if s < 100.0 * 3600.0 => format!("{:.0} h left", s / 3600.0),
        _ => "days left".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_in_what_people_count_in() {
        let rate = 1e6;
        let told = [500_000, 30_000_000, 600_000_000, 7_200_000_000].map(|bytes| time_left(bytes, rate));
        assert_eq!(told, ["0 s left", "30 s left", "10 min left", "2 h left"]);
        assert_eq!(time_left(u64::MAX, 0.0), "days left");
    }
}
