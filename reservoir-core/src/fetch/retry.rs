//! When to try again, and after how long.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::{HeaderMap, header::RETRY_AFTER};

use super::FetchOptions;
use crate::error::{Error, Result};

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The attempts of one transfer.
pub(super) struct Retry {
    schedule: ExponentialBuilder,
    delays: ExponentialBackoff,
    max_retry_after: Duration,
}

impl Retry {
    pub(super) fn new(options: &FetchOptions) -> Self {
        let schedule = ExponentialBuilder::new()
            .with_min_delay(options.backoff)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(options.retries)
            .with_jitter();
        Self { delays: schedule.build(), schedule, max_retry_after: options.max_retry_after }
    }

    /// Starts counting anew, after progress.
    pub(super) fn reset(&mut self) {
        self.delays = self.schedule.build();
    }

    /// Waits until the next attempt; gives the error back when there is to be none.
    pub(super) async fn pause(&mut self, error: Error) -> Result<()> {
        if !error.is_retryable() {
            return Err(error);
        }
        let Some(mut delay) = self.delays.next() else {
            return Err(error);
        };
        if let Error::Upstream { retry_after: Some(asked), .. } = &error {
            if *asked > self.max_retry_after {
                return Err(error);
            }
            delay = delay.max(*asked);
        }
        tracing::debug!(%error, ?delay, "trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// How long a server that refuses asks to be left alone: `Retry-After` (RFC 9110 §10.2.3), seconds or a date; where
/// that is missing, `RateLimit`.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let Some(value) = headers.get(RETRY_AFTER) else { return rate_limit(headers) };
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// `RateLimit: "api";r=0;t=55` (the IETF draft of 2025): nothing remains of a quota for so many seconds.
fn rate_limit(headers: &HeaderMap) -> Option<Duration> {
    let mut longest = None;
    for value in headers.get_all("ratelimit") {
        for limit in value.to_str().unwrap_or_default().split(',') {
            let parameter = |name: &str| -> Option<u64> {
                let mut parameters = limit.split(';').skip(1).map(str::trim);
                parameters.find_map(|one| one.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            };
            if parameter("r") == Some(0) {
                longest = longest.max(parameter("t"));
            }
        }
    }
    longest.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(text).ok()?);
        retry_after(&headers)
    }

    #[test]
    fn reads_seconds_and_dates() {
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("-1"), None);
        assert_eq!(parse("soon"), None);
    }

    #[test]
    fn reads_what_remains_of_a_quota() {
        let parse = |text: &'static str| {
            let headers =
                HeaderMap::from_iter([("ratelimit".parse().unwrap(), HeaderValue::from_static(text))]);
            retry_after(&headers)
        };
        assert_eq!(parse("\"api\";r=0;t=55"), Some(Duration::from_secs(55)));
        assert_eq!(parse("\"api\"; r=0; t=5, \"resolvers\";r=0;t=9"), Some(Duration::from_secs(9)));
        for text in ["\"api\";r=3;t=55", "\"api\"", "\"api\";r=0;t=soon", ""] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn gives_up_on_long_waits_and_lasting_errors() {
        let options =
            FetchOptions { retries: 2, backoff: Duration::from_millis(1), ..FetchOptions::default() };
        let busy = |seconds| Error::Upstream {
            url: String::new(),
            status: 429,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let mut retry = Retry::new(&options);
        assert!(retry.pause(busy(121)).await.is_err());
        let start = tokio::time::Instant::now();
        assert!(retry.pause(busy(1)).await.is_ok());
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert!(retry.pause(busy(0)).await.is_err());
        retry.reset();
        assert!(retry.pause(Error::Cancelled).await.is_err());
        assert!(retry.pause(busy(0)).await.is_ok());
    }

    proptest! {
        #[test]
        fn any_header_is_harmless(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
