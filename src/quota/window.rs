//! Periods of limits: a minute slides, the others are calendar periods in UTC that everybody can name, and that end for all at once.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// How long a limit lasts before it begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Period {
    Minute,
    Hour,
    Day,
    /// From Monday.
    Week,
    Month,
    /// Never begins anew.
    Ever,
}

/// One period of many: where it begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub begins: Timestamp,
    /// The first moment after it.
    pub ends: Timestamp,
}

const PERIODS: [(Period, &str); 6] = [
    (Period::Minute, "minute"),
    (Period::Hour, "hour"),
    (Period::Day, "day"),
    (Period::Week, "week"),
    (Period::Month, "month"),
    (Period::Ever, "ever"),
];

// === impl Period ===

impl Period {
    /// `minute`, `hour`, …
    pub fn as_str(self) -> &'static str {
        PERIODS.iter().find(|(period, _)| *period == self).map_or("", |(_, name)| name)
    }

    /// The period with that name.
    pub fn parse(name: &str) -> Option<Period> {
        PERIODS.iter().find(|(_, known)| *known == name).map(|(period, _)| *period)
    }

    /// The one that `now` lies in.
    pub fn window(self, now: Timestamp) -> Window {
        let ever = Window { begins: Timestamp::MIN, ends: Timestamp::MAX };
        self.bounds(TimeZone::UTC.to_datetime(now)).unwrap_or(ever)
    }

    /// `None` where there are none, or where they lie beyond what a time can be.
    fn bounds(self, time: DateTime) -> Option<Window> {
        let date = time.date();
        let (begins, ends): (DateTime, DateTime) = match self {
            Period::Minute => {
                let begins = date.at(time.hour(), time.minute(), 0, 0);
                (begins, begins.checked_add(1.minute()).ok()?)
            }
            Period::Hour => {
                let begins = date.at(time.hour(), 0, 0, 0);
                (begins, begins.checked_add(1.hour()).ok()?)
            }
            Period::Day => days(date, date.tomorrow().ok()?),
            Period::Week => {
                let monday = date.tomorrow().ok()?.nth_weekday(-1, Weekday::Monday).ok()?;
                days(monday, monday.checked_add(7.days()).ok()?)
            }
            Period::Month => days(date.first_of_month(), date.last_of_month().tomorrow().ok()?),
            Period::Ever => return None,
        };
        let utc = |time: DateTime| TimeZone::UTC.to_timestamp(time).ok();
        Some(Window { begins: utc(begins)?, ends: utc(ends)? })
    }
}

fn days(begins: Date, ends: Date) -> (DateTime, DateTime) {
    (begins.at(0, 0, 0, 0), ends.at(0, 0, 0, 0))
}

// === impl Window ===

impl Window {
    /// Whether it is over at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends <= now
    }

    /// How long until it is over.
    pub fn left(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.ends.duration_since(now)).unwrap_or_default()
    }

    /// Whether it ever ends.
    pub fn has_end(&self) -> bool {
        self.ends != Timestamp::MAX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn windows_are_calendar_periods_in_utc() {
        let now: Timestamp = "2026-11-25T23:27:14.5Z".parse().unwrap();
        let cases = [
            (Period::Minute, "2026-11-25T23:27:00Z", "2026-11-25T23:28:00Z"),
            (Period::Hour, "2026-11-25T23:00:00Z", "2026-11-26T00:00:00Z"),
            (Period::Day, "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z"),
            (Period::Week, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Period::Month, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ];
        for (period, begins, ends) in cases {
            let window = period.window(now);
            assert_eq!((window.begins.to_string(), window.ends.to_string()), (begins.to_owned(), ends.to_owned()), "{period:?}");
            assert!(!window.is_over(now) && window.is_over(window.ends) && window.has_end());
        }
        assert!(!Period::Ever.window(now).has_end());
        let monday: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        assert_eq!(Period::Week.window(monday).begins, monday);
        let last: Timestamp = "2024-12-31T23:59:59Z".parse().unwrap();
        assert_eq!(Period::Month.window(last).ends.to_string(), "2025-01-01T00:00:00Z");
        assert!(!Period::Week.window(Timestamp::MAX).is_over(now), "a time beyond all calendars does not panic");
    }
}
