//! Records of attempts under load, many in one row.
//!
//! A row of its own for each record, found by three indexes and pruned again some seconds later, costs a busy platform a
//! tenth of its time. So whatever comes in large batches is kept as it comes: one row for a batch, its records as lines
//! of JSON, compressed (LZ4: a tenth of the bytes), with the span of time that they cover. Looking something up reads the
//! few packs that can have it.

use std::cmp::Reverse;
use std::time::Duration;

use memchr::memmem;
use rusqlite::{Connection, params};
use sonagi_model::{InvocationId, RunRecord, RunStatus, Timestamp};
use sonagi_ports::{RunFilter, StoreError};

use super::runs::{FORMAT, KeptRun, decode};
use super::{Doing, signed, unreadable};

/// Records from which on a batch is packed.
pub(super) const WORTH_PACKING: usize = 512;
/// Invocations get their number, which has the time in it, at most this long before or after their attempt begins: both
/// are read from the clock within one request, and the clock may have been set in between.
const SLACK: Duration = Duration::from_secs(10);

const READ: &str = "read packed runs";

/// Largest pack that is opened, bytes: many times what a ring holds.
const LARGEST: usize = 256 * 1024 * 1024;

/// A pack without its records.
struct Pack {
    sequence: i64,
    last: i64,
}

/// Keeps a batch, and forgets the oldest packs while the others have `keep` records. Says until when records were
/// forgotten.
pub(super) fn keep(connection: &Connection, runs: &[KeptRun], keep: u64) -> rusqlite::Result<Option<i64>> {
    let moments = || runs.iter().map(|run| run.record.started.as_micros());
    let failed = runs.iter().any(|run| run.record.status != RunStatus::Success);
    let mut records = Vec::with_capacity(runs.iter().map(|run| run.text.len() + 1).sum());
    for run in runs {
        records.extend_from_slice(run.text.as_bytes());
        records.push(b'\n');
    }
    connection
        .prepare_cached(
            "INSERT INTO run_packs (first, last, runs, failed, format, records) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            moments().min(),
            moments().max(),
            signed(runs.len() as u64),
            failed,
            FORMAT,
            lz4_flex::compress_prepend_size(&records)
        ])?;
    prune(connection, signed(keep))
}

fn prune(connection: &Connection, keep: i64) -> rusqlite::Result<Option<i64>> {
    let mut statement =
        connection.prepare_cached("SELECT sequence, runs, last FROM run_packs ORDER BY sequence DESC")?;
    let mut rows = statement.query([])?;
    let mut kept = 0;
    while let Some(row) = rows.next()? {
        if kept >= keep {
            let newest_forgotten: i64 = row.get(0)?;
            let forgotten = connection
                .prepare_cached("SELECT max(last) FROM run_packs WHERE sequence <= ?1")?
                .query_row([newest_forgotten], |row| row.get(0))?;
            connection
                .prepare_cached("DELETE FROM run_packs WHERE sequence <= ?1")?
                .execute([newest_forgotten])?;
            return Ok(forgotten);
        }
        kept += row.get::<_, i64>(1)?;
    }
    Ok(None)
}

/// Packs that overlap a span of time, those that reach closest to now first.
fn packs(connection: &Connection, (from, to): (i64, i64), failed: bool) -> Result<Vec<Pack>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT sequence, last FROM run_packs WHERE last >= ?1 AND first <= ?2 AND failed >= ?3 ORDER BY last DESC",
        )
        .doing(READ)?;
    let rows = statement
        .query_map(params![from, to, failed], |row| {
            Ok(Pack {
                sequence: row.get(0)?,
                last: row.get(1)?,
            })
        })
        .doing(READ)?;
    rows.collect::<rusqlite::Result<_>>().doing(READ)
}

/// Records of a pack whose text has all these parts, in any order.
fn records(connection: &Connection, pack: &Pack, parts: &[String]) -> Result<Vec<RunRecord>, StoreError> {
    let (format, compressed): (i64, Vec<u8>) = connection
        .prepare_cached("SELECT format, records FROM run_packs WHERE sequence = ?1")
        .and_then(|mut statement| statement.query_row([pack.sequence], |row| Ok((row.get(0)?, row.get(1)?))))
        .doing(READ)?;
    let text = opened(&compressed)?;
    // The rarest part first finds out quickly that there is nothing.
    if parts
        .iter()
        .any(|part| memmem::find(text.as_bytes(), part.as_bytes()).is_none())
    {
        return Ok(Vec::new());
    }
    text.lines()
        .filter(|line| {
            parts
                .iter()
                .all(|part| memmem::find(line.as_bytes(), part.as_bytes()).is_some())
        })
        .map(|line| decode(format, line))
        .collect()
}

/// The lines of a pack.
fn opened(compressed: &[u8]) -> Result<String, StoreError> {
    let broken = |error: &dyn std::fmt::Display| unreadable("pack of run records", error);
    let (size, block) = lz4_flex::block::uncompressed_size(compressed).map_err(|error| broken(&error))?;
    if size > LARGEST {
        return Err(broken(&format_args!("{size} bytes, more than {LARGEST}")));
    }
    let text = lz4_flex::block::decompress(block, size).map_err(|error| broken(&error))?;
    String::from_utf8(text).map_err(|error| broken(&error))
}

/// `"name":"value"`, as it is in the text of a record.
fn member(name: &str, value: &str) -> String {
    format!("\"{name}\":{}", serde_json::Value::from(value))
}

/// Attempts of one invocation.
pub(super) fn attempts(connection: &Connection, invocation: InvocationId) -> Result<Vec<RunRecord>, StoreError> {
    let begun = invocation.as_uuid().get_timestamp().map(|stamp| {
        let (seconds, nanos) = stamp.to_unix();
        signed(seconds)
            .saturating_mul(1_000_000)
            .saturating_add(i64::from(nanos) / 1000)
    });
    let slack = i64::try_from(SLACK.as_micros()).unwrap_or(i64::MAX);
    let span = begun.map_or((i64::MIN, i64::MAX), |begun| {
        (begun.saturating_sub(slack), begun.saturating_add(slack))
    });
    let parts = [member("invocation", &invocation.to_string())];
    let within = |span| -> Result<Vec<RunRecord>, StoreError> {
        let mut found = Vec::new();
        for pack in packs(connection, span, false)? {
            found.extend(records(connection, &pack, &parts)?);
        }
        Ok(found)
    };
    let found = within(span)?;
    if found.is_empty() {
        // A clock that was set, or an invocation that nobody knows: a look at everything, some hundred megabytes at most.
        return within((i64::MIN, i64::MAX));
    }
    Ok(found)
}

/// The newest records, at most `limit`.
pub(super) fn recent(connection: &Connection, filter: &RunFilter, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
    let mut parts = Vec::new();
    parts.extend(
        filter
            .function
            .map(|function| member("function", &function.to_string())),
    );
    let namespace = filter.namespace.as_ref();
    parts.extend(namespace.map(|namespace| member("namespace", namespace.as_str())));
    let since = filter.since.map_or(i64::MIN, Timestamp::as_micros);
    let wanted =
        |run: &RunRecord| run.started.as_micros() >= since && (!filter.failed || run.status != RunStatus::Success);
    let mut found: Vec<RunRecord> = Vec::new();
    for pack in packs(connection, (since, i64::MAX), filter.failed)? {
        // What is left is older than everything found.
        if found.len() == limit
            && found
                .last()
                .is_some_and(|oldest| pack.last < oldest.started.as_micros())
        {
            break;
        }
        found.extend(
            records(connection, &pack, &parts)?
                .into_iter()
                .filter(|run| wanted(run)),
        );
        newest_first(&mut found);
        found.truncate(limit);
    }
    Ok(found)
}

/// Puts records in the order in which they are listed.
pub(super) fn newest_first(runs: &mut [RunRecord]) {
    runs.sort_by_key(|run| Reverse((run.started, run.invocation, run.attempt)));
}

/// Records begun within `start..end`, of one namespace or of all.
pub(super) fn between(
    connection: &Connection,
    (start, end): (i64, i64),
    namespace: Option<&str>,
    mut each: impl FnMut(RunRecord),
) -> Result<(), StoreError> {
    let parts: Vec<String> = namespace
        .map(|namespace| member("namespace", namespace))
        .into_iter()
        .collect();
    for pack in packs(connection, (start, end), false)? {
        let within = records(connection, &pack, &parts)?
            .into_iter()
            .filter(|run| (start..end).contains(&run.started.as_micros()));
        within.for_each(&mut each);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::sample;

    use super::*;

    #[test]
    fn a_pack_is_a_fraction_of_its_records_and_damage_is_an_error() {
        let function = sample::function("packed");
        let mut lines = String::new();
        for i in 0..WORTH_PACKING as u64 {
            let run = sample::run(&function, sample::NOW.plus(Duration::from_micros(i * 731)));
            lines += &KeptRun::new(run).unwrap().text;
            lines.push('\n');
        }
        let pack = lz4_flex::compress_prepend_size(lines.as_bytes());
        println!("{} bytes become {}", lines.len(), pack.len());
        assert!(pack.len() * 3 < lines.len(), "{} of {}", pack.len(), lines.len());
        assert_eq!(opened(&pack).unwrap(), lines);
        for damaged in [&pack[..3], &pack[..pack.len() / 2], &[0xff; 8][..]] {
            assert!(matches!(opened(damaged), Err(StoreError::Unreadable { .. })));
        }
    }
}
