//! Dates as Release files write them: RFC 2822, in UTC, with the liberties that archives take.

use jiff::{civil, tz::Offset};
use reservoir_core::clock::Timestamp;

/// Reads `Sat, 08 Nov 2025 09:11:29 UTC`. The day of the week is not compared; the hour may be padded by a space;
/// the zone is `UTC`, `GMT`, `Z` or an offset.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let rest = text.split_once(',').map_or(text, |(_, rest)| rest);
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let [day, month, year, time, zone] = words[..] else { return None };
    let month = MONTHS.iter().position(|known| known.eq_ignore_ascii_case(month))? + 1;
    let mut clock = time.split(':').map(|part| (part.len() <= 2).then(|| part.parse::<i8>().ok()).flatten());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if clock.next().is_some() || year.len() != 4 {
        return None;
    }
    // A leap second is the end of its minute.
    let date = civil::DateTime::new(
        year.parse().ok()?,
        i8::try_from(month).ok()?,
        day.parse().ok()?,
        hour,
        minute,
        second.min(59),
        0,
    );
    let seconds = Offset::from_seconds(offset(zone)?).ok()?.to_timestamp(date.ok()?).ok()?.as_second();
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i32> {
    if ["UTC", "GMT", "UT", "Z"].contains(&zone) {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    Some(sign * (hours * 3600 + minutes * 60))
}

/// As revisions of suites begin: `20260101T000000Z`. Sorts as time does.
pub(crate) fn compact(time: Timestamp) -> String {
    time.to_jiff().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The time that [`compact`] wrote at the beginning of a revision's name; `.01` after it tells states of one date apart.
pub(crate) fn of_compact(text: &str) -> Option<Timestamp> {
    let text = text.split_once('.').map_or(text, |(date, _)| date);
    let time = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let seconds = Offset::UTC.to_timestamp(time).ok()?.as_second();
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_of_real_archives() {
        for text in [
            "Sat, 08 Nov 2025 09:11:29 UTC",
            "Sat, 08 Nov 2025  9:11:29 UTC",
            "Sat, 8 Nov 2025 09:11:29 +0000",
            "08 Nov 2025 09:11:29 GMT",
            "Sat, 08 Nov 2025 11:11:29 +0200",
            "Fri, 07 Nov 2025 23:41:29 -0930",
        ] {
            assert_eq!(parse(text).map(compact).as_deref(), Some("20251108T091129Z"), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "Sat, 08 Nov 2025",
            "Sat, 32 Nov 2025 09:11:29 UTC",
            "Sat, 08 Nov 2025 09:11:29 CET",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_date_or_none(text in "\\PC{0,40}|[A-Za-z]{3}, [0-9]{1,3} Nov [0-9]{4} [0-9:]{1,9} [+-]?[0-9A-Z]{1,5}") {
            let _ = parse(&text);
        }
    }
}
