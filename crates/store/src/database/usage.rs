//! What attempts add up to, kept per hour, so that a bill does not need the records themselves.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use sonagi_model::{FunctionName, Mebibytes, Namespace, RunRecord, RunStatus, Start, TenantId, Timestamp};
use sonagi_ports::{StoreError, UsageFilter, UsageRow};

use super::packs;
use super::runs::query_runs;
use super::{Doing, signed, unreadable, unsigned};

/// Microseconds of the period for which usage is added up.
const HOUR: i64 = 3_600_000_000;

const USAGE: &str = "read usage";

/// What identifies a row of usage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct UsageKey {
    tenant: TenantId,
    namespace: Namespace,
    name: FunctionName,
    memory: u32,
    scratch: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    attempts: u64,
    errors: u64,
    cold_starts: u64,
    duration_us: u64,
    billed_ms: u64,
    response_bytes: u64,
}

impl UsageKey {
    fn of(run: &RunRecord) -> Self {
        Self {
            tenant: run.tenant.clone(),
            namespace: run.namespace.clone(),
            name: run.name.clone(),
            memory: run.memory.0,
            scratch: run.scratch.0,
        }
    }
}

impl Sums {
    fn of(run: &RunRecord) -> Self {
        Self {
            attempts: 1,
            errors: u64::from(run.status != RunStatus::Success),
            cold_starts: u64::from(run.start == Start::Cold),
            duration_us: run.duration_us,
            billed_ms: run.billed_ms,
            response_bytes: run.response_bytes,
        }
    }

    fn add(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.errors += other.errors;
        self.cold_starts += other.cold_starts;
        self.duration_us += other.duration_us;
        self.billed_ms += other.billed_ms;
        self.response_bytes += other.response_bytes;
    }
}

const fn hour(moment: Timestamp) -> i64 {
    moment.as_micros().div_euclid(HOUR)
}

/// Usage about to be added to what is kept.
#[derive(Debug, Default)]
pub(super) struct HourlyUsage(BTreeMap<(UsageKey, i64), Sums>);

impl HourlyUsage {
    pub(super) fn add(&mut self, run: &RunRecord) {
        self.0
            .entry((UsageKey::of(run), hour(run.started)))
            .or_default()
            .add(Sums::of(run));
    }

    /// Adds it, within the caller's transaction.
    pub(super) fn keep(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.0
            .iter()
            .try_for_each(|((key, hour), sums)| add_usage(connection, key, *hour, sums))
    }
}

fn add_usage(connection: &Connection, key: &UsageKey, hour: i64, sums: &Sums) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO usage (tenant, namespace, name, memory, scratch, hour,
                            attempts, errors, cold_starts, duration_us, billed_ms, response_bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (tenant, namespace, name, memory, scratch, hour) DO UPDATE SET
            attempts = attempts + ?7, errors = errors + ?8, cold_starts = cold_starts + ?9,
            duration_us = duration_us + ?10, billed_ms = billed_ms + ?11, response_bytes = response_bytes + ?12",
    )?;
    statement.execute(params![
        key.tenant.as_str(),
        key.namespace.as_str(),
        key.name.as_str(),
        key.memory,
        key.scratch,
        hour,
        signed(sums.attempts),
        signed(sums.errors),
        signed(sums.cold_starts),
        signed(sums.duration_us),
        signed(sums.billed_ms),
        signed(sums.response_bytes),
    ])?;
    Ok(())
}

/// Adds up a period: its whole hours from what is kept per hour, the parts of hours at its ends from the records. Where
/// records of such an hour have been forgotten already, the whole hour is counted.
pub(super) fn usage(connection: &Connection, filter: &UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
    let from = filter.from.map_or(i64::MIN, Timestamp::as_micros);
    let to = filter.to.map_or(i64::MAX, Timestamp::as_micros);
    if from >= to {
        return Ok(Vec::new());
    }
    // One transaction, so that hours and records are of one moment.
    let snapshot = connection.unchecked_transaction().doing(USAGE)?;
    let pruned_until: i64 = snapshot
        .query_row(
            "SELECT value FROM counters WHERE name = 'runs_pruned_until'",
            [],
            |row| row.get(0),
        )
        .doing(USAGE)?;
    let mut rows = BTreeMap::new();
    let period = split(from, to);
    add_hours(&snapshot, filter, period.hours, &mut rows)?;
    for (start, end) in period.parts.into_iter().flatten() {
        let first = start.div_euclid(HOUR);
        if pruned_until >= first * HOUR {
            add_hours(&snapshot, filter, (first, first + 1), &mut rows)?;
        } else {
            add_records(&snapshot, filter, (start, end), &mut rows)?;
        }
    }
    Ok(rows.into_iter().map(|(key, sums)| row(key, sums)).collect())
}

/// A period cut at full hours.
#[derive(Debug, PartialEq, Eq)]
struct Period {
    /// First whole hour, and the first one after.
    hours: (i64, i64),
    /// Parts of hours, microseconds, end excluded.
    parts: [Option<(i64, i64)>; 2],
}

/// Cuts a period (microseconds, end excluded, not empty) at full hours; the ends of time are full hours.
fn split(from: i64, to: i64) -> Period {
    let first = if from == i64::MIN {
        i64::MIN
    } else {
        from.div_euclid(HOUR) + i64::from(from.rem_euclid(HOUR) != 0)
    };
    let end = if to == i64::MAX { i64::MAX } else { to.div_euclid(HOUR) };
    if first > end {
        return Period {
            hours: (0, 0),
            parts: [Some((from, to)), None],
        };
    }
    let head = (from != i64::MIN && from.rem_euclid(HOUR) != 0).then(|| (from, first * HOUR));
    let tail = (to != i64::MAX && to.rem_euclid(HOUR) != 0).then(|| (end * HOUR, to));
    Period {
        hours: (first, end),
        parts: [head, tail],
    }
}

type UsageSums = BTreeMap<UsageKey, Sums>;

fn add_hours(
    connection: &Connection,
    filter: &UsageFilter,
    hours: (i64, i64),
    rows: &mut UsageSums,
) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT tenant, namespace, name, memory, scratch, sum(attempts), sum(errors), sum(cold_starts),
                    sum(duration_us), sum(billed_ms), sum(response_bytes)
             FROM usage
             WHERE hour >= ?1 AND hour < ?2 AND (?3 IS NULL OR tenant = ?3) AND (?4 IS NULL OR namespace = ?4)
             GROUP BY tenant, namespace, name, memory, scratch",
        )
        .doing(USAGE)?;
    let tenant = filter.tenant.as_ref().map(TenantId::as_str);
    let namespace = filter.namespace.as_ref().map(Namespace::as_str);
    let mut found = statement
        .query(params![hours.0, hours.1, tenant, namespace])
        .doing(USAGE)?;
    while let Some(row) = found.next().doing(USAGE)? {
        let text = |column| row.get::<_, String>(column).doing(USAGE);
        let number = |column| row.get::<_, i64>(column).map(unsigned).doing(USAGE);
        let key = UsageKey {
            tenant: TenantId::parse(&text(0)?).map_err(|error| unreadable("usage", error))?,
            namespace: Namespace::parse(&text(1)?).map_err(|error| unreadable("usage", error))?,
            name: FunctionName::parse(&text(2)?).map_err(|error| unreadable("usage", error))?,
            memory: row.get(3).doing(USAGE)?,
            scratch: row.get(4).doing(USAGE)?,
        };
        rows.entry(key).or_default().add(Sums {
            attempts: number(5)?,
            errors: number(6)?,
            cold_starts: number(7)?,
            duration_us: number(8)?,
            billed_ms: number(9)?,
            response_bytes: number(10)?,
        });
    }
    Ok(())
}

fn add_records(
    connection: &Connection,
    filter: &UsageFilter,
    (start, end): (i64, i64),
    rows: &mut UsageSums,
) -> Result<(), StoreError> {
    let namespace = filter.namespace.as_ref().map(Namespace::as_str);
    let sql = "SELECT format, record FROM runs WHERE started >= ?1 AND started < ?2 AND (?3 IS NULL OR namespace = ?3)";
    let mut add = |run: RunRecord| {
        if filter.tenant.as_ref().is_none_or(|tenant| *tenant == run.tenant) {
            rows.entry(UsageKey::of(&run)).or_default().add(Sums::of(&run));
        }
    };
    let single = query_runs(connection, sql, params![start, end, namespace])?;
    single.into_iter().for_each(&mut add);
    packs::between(connection, (start, end), namespace, add)
}

fn row(key: UsageKey, sums: Sums) -> UsageRow {
    UsageRow {
        tenant: key.tenant,
        namespace: key.namespace,
        name: key.name,
        memory: Mebibytes(key.memory),
        scratch: Mebibytes(key.scratch),
        attempts: sums.attempts,
        errors: sums.errors,
        cold_starts: sums.cold_starts,
        duration_us: sums.duration_us,
        billed_ms: sums.billed_ms,
        response_bytes: sums.response_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_cut_at_full_hours() {
        let check = |from, to, hours, parts| {
            assert_eq!(split(from, to), Period { hours, parts }, "{from}..{to}");
        };
        check(0, HOUR, (0, 1), [None, None]);
        check(i64::MIN, i64::MAX, (i64::MIN, i64::MAX), [None, None]);
        check(1, HOUR, (1, 1), [Some((1, HOUR)), None]);
        check(1, 2, (0, 0), [Some((1, 2)), None]);
        check(0, 5, (0, 0), [None, Some((0, 5))]);
        check(
            5,
            3 * HOUR + 7,
            (1, 3),
            [Some((5, HOUR)), Some((3 * HOUR, 3 * HOUR + 7))],
        );
        check(-1, 1, (0, 0), [Some((-1, 0)), Some((0, 1))]);
        check(i64::MIN, 1, (i64::MIN, 0), [None, Some((0, 1))]);
    }
}
