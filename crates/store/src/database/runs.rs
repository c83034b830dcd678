//! Records of attempts, of which the newest are kept. A record that is there already changes nothing; a new one is added
//! to the usage of its hour in the same transaction.

use rusqlite::{Connection, params};
use sonagi_model::{FunctionId, InvocationId, Namespace, RunRecord, RunStatus, Timestamp};
use sonagi_ports::{RunFilter, StoreError, UsageFilter, UsageRow};

use super::packs::{self, WORTH_PACKING};
use super::usage::{HourlyUsage, usage};
use super::{Bounds, Database, Doing, signed, unreadable, unsigned};

/// Version of the format of a record: the JSON form of [`RunRecord`].
pub(super) const FORMAT: i64 = 1;

const KEEP: &str = "keep run records";
const READ: &str = "read runs";

/// A record and the text under which it is stored.
#[derive(Debug, Clone)]
pub(crate) struct KeptRun {
    pub(super) record: RunRecord,
    pub(super) text: String,
}

impl KeptRun {
    pub(crate) fn new(record: RunRecord) -> Result<Self, StoreError> {
        let text = serde_json::to_string(&record).map_err(|error| unreadable("run record", error))?;
        Ok(Self { record, text })
    }

    /// From the text that a ring holds.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, StoreError> {
        let record = serde_json::from_slice(text).map_err(|error| unreadable("run record", error))?;
        let text = String::from_utf8(text.to_vec()).map_err(|error| unreadable("run record", error))?;
        Ok(Self { record, text })
    }
}

/// How far a ring has been taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RingPosition {
    /// Which ring.
    pub(crate) shard: usize,
    /// Bytes ever written before the next record.
    pub(crate) position: u64,
    /// Number of the next record.
    pub(crate) sequence: u64,
}

// === writing ===

/// Keeps records, within the caller's transaction.
pub(crate) fn keep_runs(connection: &Connection, runs: &[KeptRun], bounds: Bounds) -> Result<(), StoreError> {
    let mut usage = HourlyUsage::default();
    let mut newest = None;
    for run in runs {
        if insert(connection, run).doing(KEEP)? {
            newest = Some(connection.last_insert_rowid());
            usage.add(&run.record);
        }
    }
    usage.keep(connection).doing(KEEP)?;
    newest.map_or(Ok(()), |newest| {
        prune(connection, newest - signed(bounds.runs)).doing(KEEP)
    })
}

/// Keeps records out of a ring, and how far that ring has been taken over, within the caller's transaction: whatever
/// happens, a record is counted once.
pub(crate) fn keep_runs_of_ring(
    connection: &Connection,
    runs: &[KeptRun],
    reached: RingPosition,
    bounds: Bounds,
) -> Result<(), StoreError> {
    if runs.len() >= WORTH_PACKING {
        keep_packed(connection, runs, bounds).doing(KEEP)?;
    } else {
        keep_runs(connection, runs, bounds)?;
    }
    let shard = signed(reached.shard as u64);
    connection
        .prepare_cached("INSERT OR REPLACE INTO ring_positions (shard, position, sequence) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.execute(params![shard, signed(reached.position), signed(reached.sequence)]))
        .doing(KEEP)
        .map(drop)
}

/// Keeps many records in one row. Attempts that are metered through a ring have one record each, so none can be there
/// already.
fn keep_packed(connection: &Connection, runs: &[KeptRun], bounds: Bounds) -> rusqlite::Result<()> {
    let mut usage = HourlyUsage::default();
    runs.iter().for_each(|run| usage.add(&run.record));
    usage.keep(connection)?;
    let forgotten = packs::keep(connection, runs, bounds.runs)?;
    forgotten.map_or(Ok(()), |until| pruned_until(connection, until))
}

/// `false`: this attempt has its record already.
fn insert(connection: &Connection, run: &KeptRun) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "INSERT OR IGNORE INTO runs (invocation, attempt, function, namespace, started, failed, format, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let record = &run.record;
    let inserted = statement.execute(params![
        record.invocation.as_uuid().as_bytes(),
        record.attempt,
        record.function.as_uuid().as_bytes(),
        record.namespace.as_str(),
        record.started.as_micros(),
        record.status != RunStatus::Success,
        FORMAT,
        run.text,
    ])?;
    Ok(inserted == 1)
}

/// Forgets records up to a number, and remembers the newest moment of which one was forgotten.
fn prune(connection: &Connection, last: i64) -> rusqlite::Result<()> {
    // The plus keeps SQLite from walking the index of moments, all of it when nothing is to be forgotten yet.
    let forgotten: Option<i64> = connection
        .prepare_cached("SELECT max(+started) FROM runs WHERE sequence <= ?1")?
        .query_row([last], |row| row.get(0))?;
    let Some(forgotten) = forgotten else { return Ok(()) };
    connection
        .prepare_cached("DELETE FROM runs WHERE sequence <= ?1")?
        .execute([last])?;
    pruned_until(connection, forgotten)
}

fn pruned_until(connection: &Connection, forgotten: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE counters SET value = max(value, ?1) WHERE name = 'runs_pruned_until'")?
        .execute([forgotten])
        .map(drop)
}

// === reading ===

/// How far each ring has been taken over.
pub(crate) fn ring_positions(connection: &Connection) -> Result<Vec<RingPosition>, StoreError> {
    let read = || {
        let mut statement = connection.prepare("SELECT shard, position, sequence FROM ring_positions")?;
        let rows = statement.query_map([], |row| {
            Ok(RingPosition {
                shard: usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX),
                position: unsigned(row.get(1)?),
                sequence: unsigned(row.get(2)?),
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    read().doing("read ring positions")
}

pub(super) fn decode(format: i64, text: &str) -> Result<RunRecord, StoreError> {
    if format != FORMAT {
        return Err(unreadable(
            "run record",
            format!("format {format}, this program reads format {FORMAT}"),
        ));
    }
    serde_json::from_str(text).map_err(|error| unreadable("run record", error))
}

/// Records by a query that gives their format and text.
pub(super) fn query_runs(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<RunRecord>, StoreError> {
    let mut statement = connection.prepare_cached(sql).doing(READ)?;
    let mut rows = statement.query(parameters).doing(READ)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().doing(READ)? {
        let text = row.get_ref(1).and_then(|text| Ok(text.as_str()?)).doing(READ)?;
        records.push(decode(row.get(0).doing(READ)?, text)?);
    }
    Ok(records)
}

impl Database {
    pub(crate) async fn keep_run(&self, record: RunRecord) -> Result<(), StoreError> {
        let (bounds, run) = (self.bounds(), KeptRun::new(record)?);
        self.write(KEEP, move |connection| keep_runs(connection, &[run], bounds))
            .await
    }

    pub(crate) async fn attempts(&self, invocation: InvocationId) -> Result<Vec<RunRecord>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT format, record FROM runs WHERE invocation = ?1";
            let mut found = query_runs(connection, sql, [invocation.as_uuid().as_bytes()])?;
            found.extend(packs::attempts(connection, invocation)?);
            found.sort_by_key(|run| run.attempt);
            Ok(found)
        })
        .await
    }

    pub(crate) async fn recent(&self, filter: RunFilter) -> Result<Vec<RunRecord>, StoreError> {
        self.read(move |connection| recent(connection, &filter)).await
    }

    pub(crate) async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
        self.read(move |connection| usage(connection, &filter)).await
    }
}

fn recent(connection: &Connection, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreError> {
    let limit = if filter.limit == 0 { 50 } else { filter.limit.min(1000) };
    let sql = match filter.function {
        Some(_) => {
            "SELECT format, record FROM runs
             WHERE function = ?1 AND started >= ?2 AND failed >= ?3 AND (?4 IS NULL OR namespace = ?4)
             ORDER BY started DESC, invocation DESC, attempt DESC LIMIT ?5"
        }
        None => {
            "SELECT format, record FROM runs
             WHERE ?1 IS NULL AND started >= ?2 AND failed >= ?3 AND (?4 IS NULL OR namespace = ?4)
             ORDER BY started DESC, invocation DESC, attempt DESC LIMIT ?5"
        }
    };
    let function = filter
        .function
        .as_ref()
        .map(FunctionId::as_uuid)
        .map(uuid::Uuid::as_bytes);
    let since = filter.since.map_or(i64::MIN, Timestamp::as_micros);
    let namespace = filter.namespace.as_ref().map(Namespace::as_str);
    let mut found = query_runs(
        connection,
        sql,
        params![function, since, filter.failed, namespace, signed(limit as u64)],
    )?;
    found.extend(packs::recent(connection, filter, limit)?);
    packs::newest_first(&mut found);
    found.truncate(limit);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as format 1 was first written; it must stay readable for as long as the format is.
    const RUN_1: &str = r#"{"invocation":"0197e3c5-d4c8-7a1e-9f0a-3b2c1d0e4f5a","attempt":1,"function":"fn_0197e3c5d4c87a1e9f0a3b2c1d0e4f5a","namespace":"test/tenant","tenant":"tenant","name":"hello","revision":"rev_0197e3c5d4c87a1e9f0a3b2c1d0e4f5b","label":"1","instance":"ins_0197e3c5d4c87a1e9f0a3b2c1d0e4f5d","started":1767225600000000,"start":"cold","phases":{"queue_us":1,"artifact_us":2,"cell_us":3,"process_us":4,"init_us":5},"init_us":5,"duration_us":1500,"billed_ms":2,"memory":128,"memory_peak":30,"scratch":512,"response_bytes":11,"status":"out_of_memory","error_kind":null}"#;

    #[test]
    fn yesterdays_records_are_read_and_written_the_same() {
        let record = decode(1, RUN_1).unwrap();
        assert_eq!(KeptRun::new(record.clone()).unwrap().text, RUN_1);
        assert_eq!(KeptRun::parse(RUN_1.as_bytes()).unwrap().record, record);
        assert!(decode(2, RUN_1).is_err());
    }
}
