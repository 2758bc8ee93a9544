//! `schedule = "6h"` or a cron expression: when `serve` syncs a repository.

use std::{collections::HashMap, time::Duration};

use jiff::{Zoned, tz::TimeZone};
use reservoir_core::{
    Engine, ErrorKind, Refreshed,
    ecosystem::duration_within,
    name::{Actor, RepositoryName},
};

/// Between two syncs.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// When to sync.
#[derive(Debug, Clone)]
pub(crate) enum Schedule {
    /// Every so often.
    Every(Duration),
    /// At the times of a cron expression, UTC.
    Cron(Box<croner::Cron>),
}

impl Schedule {
    /// Reads `30m`, `6h`, `1d` (one minute at least) or a cron expression of five fields.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // No cron expression is one number and a letter.
        if text.strip_suffix(['s', 'm', 'h', 'd']).is_some_and(|number| number.parse::<u64>().is_ok()) {
            let every = duration_within(&text.into(), SHORTEST..=LONGEST);
            return every.map(Self::Every).map_err(|detail| format!("schedule {detail}"));
        }
        text.parse::<croner::Cron>()
            .map(|cron| Self::Cron(Box::new(cron)))
            .map_err(|error| format!("schedule `{text}` is neither like `6h` nor a cron expression: {error}"))
    }

    /// How long to wait from now, with a jitter of up to a tenth, so that many hosts do not ask at once.
    fn wait(&self) -> Duration {
        let base = match self {
            Self::Every(period) => *period,
            Self::Cron(cron) => {
                let now = Zoned::now().with_time_zone(TimeZone::UTC);
                let next = cron.find_next_occurrence(&now, false);
                next.ok()
                    .and_then(|next| Duration::try_from(next.duration_since(&now)).ok())
                    .unwrap_or(Duration::from_hours(1))
            }
        };
        base + base.min(Duration::from_hours(1)).mul_f64(jitter())
    }
}

/// Something between 0 and 0.1 that differs between hosts and times.
fn jitter() -> f64 {
    let nanos = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs();
    f64::from(nanos % 1000) / 10_000.0
}

/// Syncs scheduled repositories until dropped. A repository that is being synced elsewhere is left alone.
pub(crate) async fn run(engine: Engine) {
    let mut due: HashMap<RepositoryName, (String, tokio::time::Instant)> = HashMap::new();
    loop {
        match engine.catalog().repositories().await {
            Ok(repositories) => {
                due.retain(|name, _| repositories.iter().any(|repository| repository.config.name == *name));
                for repository in repositories {
                    let name = repository.config.name.clone();
                    let Some(text) = repository.config.schedule else {
                        due.remove(&name);
                        continue;
                    };
                    let Ok(schedule) = Schedule::parse(&text) else { continue };
                    let next = || (text.clone(), tokio::time::Instant::now() + schedule.wait());
                    let entry = due.entry(name.clone()).or_insert_with(next);
                    if entry.0 != text {
                        *entry = next();
                    }
                    if tokio::time::Instant::now() >= entry.1 {
                        *entry = next();
                        tokio::spawn(sync(engine.clone(), name));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot read the schedules"),
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Publishes again what would go stale, until dropped. A repository that fails is tried again.
pub(crate) async fn refresh(engine: Engine) {
    let Ok(actor) = "schedule".parse::<Actor>() else { return };
    loop {
        match engine.refresh_due(&actor).await {
            Ok(refreshed) => {
                for Refreshed { repository, result } in refreshed {
                    match result {
                        Ok(snapshot) => tracing::info!(%repository, snapshot.number, "refreshed"),
                        Err(error) => tracing::warn!(%repository, %error, "cannot refresh what goes stale"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for what goes stale"),
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

async fn sync(engine: Engine, name: RepositoryName) {
    let Ok(actor) = "schedule".parse::<Actor>() else { return };
    let result = match engine.sync(&name, actor).await {
        Ok(task) => task.wait().await,
        Err(error) => Err(error),
    };
    match result {
        Ok(report) => tracing::info!(
            repository = %name,
            published = report.published,
            complete = report.is_complete(),
            "scheduled sync ended"
        ),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            tracing::info!(repository = %name, %error, "scheduled sync left to another");
        }
        Err(error) => tracing::warn!(repository = %name, %error, "scheduled sync failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_cron() {
        assert!(matches!(Schedule::parse("6h"), Ok(Schedule::Every(period)) if period.as_secs() == 21600));
        assert!(matches!(Schedule::parse("15 3 * * *"), Ok(Schedule::Cron(_))));
        for bad in ["", "0m", "6x", "h", "99999999999999999999h", "61 * * * *", "400d"] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn waits_are_bounded() {
        let day = Schedule::parse("0 3 * * *").unwrap().wait();
        assert!(day <= Duration::from_hours(25), "{day:?}");
        let hours = Schedule::parse("6h").unwrap().wait();
        assert!(hours >= Duration::from_hours(6) && hours < Duration::from_hours(7), "{hours:?}");
    }
}
