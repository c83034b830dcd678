//! Changes of clocks, and exact instants of five years.

use std::collections::HashSet;

use jiff::tz::TimeZoneDatabase;

use super::*;

fn plan(pattern: &str, zone: &str) -> Plan {
    Plan {
        timing: Timing::Cron(Cron::with_years(pattern).unwrap()),
        // The built-in database: the same on every machine.
        zone: TimeZoneDatabase::bundled().get(zone).unwrap(),
        start: None,
        end: None,
    }
}

fn at(text: &str) -> Timestamp {
    moment(text.parse().unwrap())
}

fn check(pattern: &str, zone: &str, after: &str, expected: &[&str]) {
    let plan = plan(pattern, zone);
    let mut now = at(after);
    for expected in expected {
        let next = plan.next(now).unwrap();
        assert_eq!(next, at(expected), "{pattern} in {zone} after {now:?}");
        now = next;
    }
}

#[test]
fn times_that_do_not_exist_are_skipped_and_repeated_ones_come_once() {
    // Berlin, 29 March 2026: 02:00 becomes 03:00. 25 October 2026: 03:00 becomes 02:00.
    check(
        "30 2 * * ? *",
        "Europe/Berlin",
        "2026-03-27T12:00:00Z",
        &["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"],
    );
    check(
        "30 2 * * ? *",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    );
    // Every half hour rests while the hour passes again.
    check(
        "0/30 * * * ? *",
        "America/New_York",
        "2026-11-01T05:15:00Z",
        &["2026-11-01T05:30:00Z", "2026-11-01T07:00:00Z"],
    );
    // Half an hour only, in Lord Howe: 4 October 2026, 02:00 becomes 02:30.
    check(
        "15 2 * * ? *",
        "Australia/Lord_Howe",
        "2026-10-02T12:00:00Z",
        &["2026-10-02T15:45:00Z", "2026-10-04T15:15:00Z"],
    );
    // Midnight itself is missing in São Paulo: 4 November 2018.
    check(
        "0 0 * * ? *",
        "America/Sao_Paulo",
        "2018-11-02T12:00:00Z",
        &["2018-11-03T03:00:00Z", "2018-11-05T02:00:00Z"],
    );
    // Apia had no 30 December 2011.
    check(
        "0 12 * * ? *",
        "Pacific/Apia",
        "2011-12-29T00:00:00Z",
        &["2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"],
    );
    check(
        "0 9 * * ? *",
        "Asia/Seoul",
        "2026-01-01T00:00:00Z",
        &["2026-01-02T00:00:00Z"],
    );
}

/// Every half hour of five years is looked at, and what a clock on the wall showed then: the first time it shows
/// the time of a pattern on a day is the tick.
fn five_years(zone: &str, first: i16, times: &[(i8, i8)]) {
    let database = TimeZoneDatabase::bundled();
    let here = database.get(zone).unwrap();
    let start = at(&format!("{first}-01-01T00:00:00Z"));
    let end = at(&format!("{}-01-01T00:00:00Z", first + 5));
    let mut expected: Vec<Vec<Timestamp>> = vec![Vec::new(); times.len()];
    let mut seen = HashSet::new();
    let mut now = start.as_secs();
    while now < end.as_secs() {
        let local = jiff::Timestamp::from_second(now)
            .unwrap()
            .to_zoned(here.clone())
            .datetime();
        if let Some(which) = times.iter().position(|time| *time == (local.hour(), local.minute()))
            && seen.insert(local)
        {
            expected[which].push(Timestamp::from_millis(now * 1000));
        }
        now += 30 * 60;
    }
    for ((hour, minute), expected) in times.iter().zip(expected) {
        let plan = plan(&format!("{minute} {hour} * * ? *"), zone);
        let mut at = Timestamp::from_micros(start.as_micros() - 1);
        let mut found = Vec::new();
        while let Some(next) = plan.next(at).filter(|next| *next < end) {
            found.push(next);
            at = next;
        }
        assert_eq!(found, expected, "{hour}:{minute} in {zone}");
        assert!(found.len() > 1800, "{zone}: {}", found.len());
    }
}

#[test]
fn five_years_of_seven_zones_have_exactly_their_instants() {
    let times = [(0, 0), (1, 30), (2, 0), (2, 30), (3, 0)];
    for (zone, first) in [
        ("America/New_York", 2024),
        ("Europe/Berlin", 2024),
        ("Australia/Lord_Howe", 2024),
        ("Africa/Casablanca", 2024),
        ("America/Sao_Paulo", 2015),
        ("Pacific/Apia", 2009),
        ("Asia/Seoul", 2024),
    ] {
        five_years(zone, first, &times);
    }
}

#[test]
fn starts_and_ends_bound_a_plan_and_intervals_ignore_clocks() {
    let every = Plan {
        timing: Timing::Every {
            period: Duration::from_secs(300),
            first: at("2026-03-29T00:50:00Z"),
        },
        zone: TimeZone::UTC,
        start: None,
        end: Some(at("2026-03-29T01:00:00Z")),
    };
    assert_eq!(every.next(at("2026-01-01T00:00:00Z")), Some(at("2026-03-29T00:50:00Z")));
    assert_eq!(every.next(at("2026-03-29T00:50:00Z")), Some(at("2026-03-29T00:55:00Z")));
    assert_eq!(every.next(at("2026-03-29T00:59:59Z")), Some(at("2026-03-29T01:00:00Z")));
    assert_eq!(every.next(at("2026-03-29T01:00:00Z")), None);
    let mut cron = plan("0 12 * * ? *", "UTC");
    cron.start = Some(at("2026-06-01T12:00:00Z"));
    assert_eq!(cron.next(at("2026-01-01T00:00:00Z")), Some(at("2026-06-01T12:00:00Z")));
    let once = |date: &str| Plan {
        timing: Timing::Once(date.parse().unwrap()),
        ..plan("0 0 1 1 ? *", "Europe/Berlin")
    };
    assert_eq!(
        once("2026-07-01T10:00:00").next(at("2026-01-01T00:00:00Z")),
        Some(at("2026-07-01T08:00:00Z"))
    );
    assert_eq!(once("2026-07-01T10:00:00").next(at("2026-07-01T08:00:00Z")), None);
    // A date that does not exist is so much later.
    assert_eq!(
        once("2026-03-29T02:30:00").next(at("2026-01-01T00:00:00Z")),
        Some(at("2026-03-29T01:30:00Z"))
    );
}
