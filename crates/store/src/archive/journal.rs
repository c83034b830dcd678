//! The archive's journal: records one after the other, each with its length and a checksum, so that one whose writing
//! was cut off is recognized.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use bytes::Bytes;
use sonagi_model::Timestamp;
use sonagi_ports::Filing;

/// Length and checksum before each record.
const HEADER: usize = 8;
/// The fields of a record, each with its length before it.
const FIELDS: usize = 6;

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens it and reads what it holds.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Filing>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (filings, good) = read(&bytes);
        // What follows the last whole record would hide later ones.
        file.set_len(good as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok((
            Self {
                file,
                buffer: Vec::new(),
            },
            filings,
        ))
    }

    /// Adds a record: one system call.
    pub(super) fn append(&mut self, filing: &Filing) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend([0; HEADER]);
        let at = filing.at.as_micros().to_le_bytes();
        let fields: [&[u8]; FIELDS] = [
            filing.scope.as_bytes(),
            filing.id.as_bytes(),
            &at,
            filing.label.as_bytes(),
            &filing.summary,
            &filing.body,
        ];
        for field in fields {
            let length = u32::try_from(field.len()).map_err(|_| io::Error::other("a field has more than 4 GiB"))?;
            self.buffer.extend(length.to_le_bytes());
            self.buffer.extend_from_slice(field);
        }
        let record = &self.buffer[HEADER..];
        let length = u32::try_from(record.len()).map_err(|_| io::Error::other("a record has more than 4 GiB"))?;
        let checksum = crc32fast::hash(record);
        self.buffer[..4].copy_from_slice(&length.to_le_bytes());
        self.buffer[4..HEADER].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all(&self.buffer)?;
        if self.buffer.capacity() > 64 * 1024 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0)).map(|_| ())
    }
}

fn number(bytes: &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

/// The whole records at the front of these bytes, and where they end.
fn read(bytes: &[u8]) -> (Vec<Filing>, usize) {
    let (mut filings, mut at) = (Vec::new(), 0);
    while let Some(filing) = record(&bytes[at..]) {
        at += filing.1;
        filings.push(filing.0);
    }
    (filings, at)
}

fn record(bytes: &[u8]) -> Option<(Filing, usize)> {
    let length = number(bytes)?;
    let checksum = number(bytes.get(4..)?)?;
    let mut rest = bytes.get(HEADER..HEADER.checked_add(length)?)?;
    if crc32fast::hash(rest) as usize != checksum {
        return None;
    }
    let mut fields = [&[][..]; FIELDS];
    for field in &mut fields {
        let length = number(rest)?;
        *field = rest.get(4..4_usize.checked_add(length)?)?;
        rest = &rest[4 + length..];
    }
    let [scope, id, at, label, summary, body] = fields;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let filing = Filing {
        scope: text(scope)?,
        id: text(id)?,
        at: Timestamp::from_micros(i64::from_le_bytes(at.try_into().ok()?)),
        label: text(label)?,
        summary: Bytes::copy_from_slice(summary),
        body: Bytes::copy_from_slice(body),
    };
    Some((filing, HEADER + length))
}
