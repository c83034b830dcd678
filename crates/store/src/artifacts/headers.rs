//! Reads the headers of a zip archive, strictly: what two readers could understand differently is refused.
//!
//! Source: PKWARE APPNOTE 6.3.10, sections 4.3 (layout), 4.4 (fields), 4.5.3 (zip64), 4.5.7 (Unix extra field), 4.6.9
//! (Unicode path). Names come from the central directory; each local header has to agree with its central one, and no
//! byte may belong to two entries.

use std::ops::Range;

use sonagi_ports::ArchiveProblem;

const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const END_64: &[u8] = b"PK\x06\x06";
const END_64_SIZE: usize = 56;
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const LOCATOR_64_SIZE: usize = 20;
const CENTRAL: &[u8] = b"PK\x01\x02";
const CENTRAL_SIZE: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_SIZE: usize = 30;

/// General purpose bits: encrypted, strongly encrypted, masked headers.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Sizes and checksum follow the data.
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// The name is UTF-8.
const FLAG_UTF8: u16 = 1 << 11;

const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_UNIX: u16 = 0x000d;
const EXTRA_UNICODE_PATH: u16 = 0x7075;

/// Compression: stored, deflated.
const METHODS: [u16; 2] = [0, 8];

/// One entry, as both of its headers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    /// Mode and file type as Unix has them, 0 where the archive says nothing.
    pub(super) unix_mode: u32,
    /// A hard link to another file.
    pub(super) hard_link: bool,
    /// Unpacked bytes, as claimed.
    pub(super) size: u64,
    /// Where its local header begins.
    pub(super) offset: usize,
    /// Where its packed bytes are.
    pub(super) data: Range<usize>,
}

impl Header {
    /// The name, as far as it can be shown.
    pub(super) fn shown(&self) -> String {
        shown(&self.name)
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn unreadable(why: impl Into<String>) -> ArchiveProblem {
    ArchiveProblem::Unreadable(why.into())
}

fn conflict(name: &[u8], reason: &'static str) -> ArchiveProblem {
    ArchiveProblem::Conflict {
        entry: shown(name),
        reason,
    }
}

/// Little-endian fields of a byte string; whatever is outside it is a broken archive.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn slice(self, at: usize, length: usize) -> Result<&'a [u8], ArchiveProblem> {
        let end = at.checked_add(length).filter(|end| *end <= self.0.len());
        end.map(|end| &self.0[at..end])
            .ok_or_else(|| unreadable("it is cut short"))
    }

    fn u16(self, at: usize) -> Result<u16, ArchiveProblem> {
        self.slice(at, 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(self, at: usize) -> Result<u32, ArchiveProblem> {
        self.slice(at, 4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(self, at: usize) -> Result<u64, ArchiveProblem> {
        Ok(u64::from(self.u32(at)?) | u64::from(self.u32(at + 4)?) << 32)
    }

    fn signed(self, at: usize, signature: &[u8], size: usize, what: &str) -> Result<Self, ArchiveProblem> {
        let fields = self.slice(at, size)?;
        if fields.starts_with(signature) {
            Ok(Self(fields))
        } else {
            Err(unreadable(format!("no {what} at byte {at}")))
        }
    }
}

/// Where the central directory is.
struct Directory {
    entries: u64,
    start: usize,
    end: usize,
}

/// Every entry of an archive, in the order of its central directory.
///
/// # Errors
/// [`ArchiveProblem`], also when there are more than `limit` entries.
pub(super) fn read(archive: &[u8], limit: usize) -> Result<Vec<Header>, ArchiveProblem> {
    let directory = directory(archive)?;
    let count = usize::try_from(directory.entries).unwrap_or(usize::MAX);
    if count > limit {
        return Err(ArchiveProblem::Entries { actual: count, limit });
    }
    if count == 0 {
        return Err(unreadable("archive is empty"));
    }
    let mut headers = Vec::with_capacity(count);
    let mut at = directory.start;
    for _ in 0..count {
        let (central, size) = central(archive, at, directory.end)?;
        at += size;
        headers.push(local(archive, central, directory.start)?);
    }
    if at != directory.end {
        return Err(unreadable("the central directory has more in it than its entries"));
    }
    check_overlaps(&headers)?;
    Ok(headers)
}

fn directory(archive: &[u8]) -> Result<Directory, ArchiveProblem> {
    let all = Fields(archive);
    let at = end_record(archive)?;
    let end = all.signed(at, END, END_SIZE, "end record")?;
    if end.u16(4)? != 0 || end.u16(6)? != 0 || end.u16(8)? != end.u16(10)? {
        return Err(unreadable("it is one part of several"));
    }
    let (entries, size, offset) = (end.u16(10)?, end.u32(12)?, end.u32(16)?);
    let has_locator = at >= LOCATOR_64_SIZE && archive[at - LOCATOR_64_SIZE..].starts_with(LOCATOR_64);
    if !has_locator {
        return bounded(u64::from(entries), u64::from(offset), u64::from(size), at);
    }
    let directory = directory_64(all, at - LOCATOR_64_SIZE)?;
    // Readers that find the small numbers large enough use them, so they have to be the same.
    let same = (entries == u16::MAX || u64::from(entries) == directory.entries)
        && (offset == u32::MAX || offset as usize == directory.start)
        && (size == u32::MAX || size as usize == directory.end - directory.start);
    if same {
        Ok(directory)
    } else {
        Err(unreadable("its two end records differ"))
    }
}

/// The last record of the archive: nothing but its own comment may follow it, and only one may fit.
fn end_record(archive: &[u8]) -> Result<usize, ArchiveProblem> {
    let last = archive
        .len()
        .checked_sub(END_SIZE)
        .ok_or_else(|| unreadable("it is too short"))?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    let fits = |at: &usize| {
        let comment = usize::from(archive[at + 20]) | usize::from(archive[at + 21]) << 8;
        archive[*at..].starts_with(END) && at + END_SIZE + comment == archive.len()
    };
    let mut found = (first..=last).rev().filter(fits);
    let at = found.next().ok_or_else(|| unreadable("no end record"))?;
    if found.next().is_some() {
        return Err(unreadable("it has two end records"));
    }
    Ok(at)
}

fn directory_64(all: Fields<'_>, locator_at: usize) -> Result<Directory, ArchiveProblem> {
    let locator = all.signed(locator_at, LOCATOR_64, LOCATOR_64_SIZE, "zip64 locator")?;
    let at = usize::try_from(locator.u64(8)?).map_err(|_| unreadable("it is cut short"))?;
    let end = all.signed(at, END_64, END_64_SIZE, "zip64 end record")?;
    let whole = locator.u32(4)? == 0 && locator.u32(16)? <= 1 && end.u32(16)? == 0 && end.u32(20)? == 0;
    if !whole || end.u64(24)? != end.u64(32)? {
        return Err(unreadable("it is one part of several"));
    }
    // The size of the record leaves out its first twelve bytes.
    if end.u64(4)?.checked_add(12 + at as u64) != Some(locator_at as u64) {
        return Err(unreadable("the zip64 end record has another size than it says"));
    }
    bounded(end.u64(32)?, end.u64(48)?, end.u64(40)?, at)
}

fn bounded(entries: u64, offset: u64, size: u64, end: usize) -> Result<Directory, ArchiveProblem> {
    if offset.checked_add(size) != Some(end as u64) {
        return Err(unreadable("the central directory is not where the end record says"));
    }
    Ok(Directory {
        entries,
        start: end - size as usize,
        end,
    })
}

/// What a central header says.
struct Central<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
    unix_mode: u32,
    hard_link: bool,
}

/// Sizes that a header gives in 32 bits, or says are in its zip64 field.
fn sizes(extra: &[u8], claimed: [u32; 3]) -> Result<[u64; 3], ArchiveProblem> {
    let mut real = claimed.map(u64::from);
    let Some(field) = extra_field(extra, EXTRA_ZIP64)? else {
        return Ok(real);
    };
    let mut at = 0;
    for (real, claimed) in real.iter_mut().zip(claimed) {
        if claimed == u32::MAX {
            *real = Fields(field).u64(at)?;
            at += 8;
        }
    }
    Ok(real)
}

fn extra_field(extra: &[u8], wanted: u16) -> Result<Option<&[u8]>, ArchiveProblem> {
    let fields = Fields(extra);
    let mut at = 0;
    // A few bytes that are no field end it: some writers align data with them.
    while at + 4 <= extra.len() {
        let (id, length) = (fields.u16(at)?, usize::from(fields.u16(at + 2)?));
        let content = fields.slice(at + 4, length)?;
        if id == wanted {
            return Ok(Some(content));
        }
        at += 4 + length;
    }
    Ok(None)
}

/// A central header, and how many bytes it has.
fn central(archive: &[u8], at: usize, end: usize) -> Result<(Central<'_>, usize), ArchiveProblem> {
    let all = Fields(&archive[..end]);
    let fields = all.signed(at, CENTRAL, CENTRAL_SIZE, "central header")?;
    let [name, extra, comment] = [28, 30, 32].map(|at| fields.u16(at).map(usize::from));
    let (name_length, extra_length, comment_length) = (name?, extra?, comment?);
    let name = all.slice(at + CENTRAL_SIZE, name_length)?;
    let extra = all.slice(at + CENTRAL_SIZE + name_length, extra_length)?;
    let [size, packed, offset] = sizes(extra, [fields.u32(24)?, fields.u32(20)?, fields.u32(42)?])?;
    check_second_name(name, extra)?;
    if fields.u16(34)? != 0 {
        return Err(unreadable("it is one part of several"));
    }
    let central = Central {
        name,
        flags: fields.u16(8)?,
        method: fields.u16(10)?,
        crc: fields.u32(16)?,
        packed,
        size,
        offset,
        // Whatever system is said to have made it: what is there is meant, and writers say wrong systems.
        unix_mode: fields.u32(38)? >> 16,
        // After two times and two ids comes the name of what it links to.
        hard_link: extra_field(extra, EXTRA_UNIX)?.is_some_and(|field| field.len() > 12),
    };
    Ok((central, CENTRAL_SIZE + name_length + extra_length + comment_length))
}

/// Readers that know the Unicode path field use it in place of the name, so the two have to be the same.
fn check_second_name(name: &[u8], extra: &[u8]) -> Result<(), ArchiveProblem> {
    match extra_field(extra, EXTRA_UNICODE_PATH)? {
        Some(field) if field.get(5..) != Some(name) => Err(conflict(name, "has two different names")),
        Some(_) | None => Ok(()),
    }
}

/// The local header that belongs to a central one.
fn local(archive: &[u8], central: Central<'_>, end: usize) -> Result<Header, ArchiveProblem> {
    check_readable(&central)?;
    let all = Fields(&archive[..end]);
    let offset = usize::try_from(central.offset).map_err(|_| unreadable("it is cut short"))?;
    let fields = all.signed(offset, LOCAL, LOCAL_SIZE, "local header")?;
    let (name_length, extra_length) = (usize::from(fields.u16(26)?), usize::from(fields.u16(28)?));
    let name = all.slice(offset + LOCAL_SIZE, name_length)?;
    let extra = all.slice(offset + LOCAL_SIZE + name_length, extra_length)?;
    if name != central.name {
        return Err(conflict(central.name, "has another name in its local header"));
    }
    check_second_name(name, extra)?;
    check_agreement(&central, fields, extra)?;
    let start = offset + LOCAL_SIZE + name_length + extra_length;
    let packed = usize::try_from(central.packed).map_err(|_| unreadable("it is cut short"))?;
    all.slice(start, packed)?;
    Ok(Header {
        name: central.name.to_vec(),
        unix_mode: central.unix_mode,
        hard_link: central.hard_link,
        size: central.size,
        offset,
        data: start..start + packed,
    })
}

fn check_readable(central: &Central<'_>) -> Result<(), ArchiveProblem> {
    if central.flags & FLAGS_ENCRYPTED != 0 {
        return Err(ArchiveProblem::Kind {
            entry: shown(central.name),
            kind: "encrypted entry",
        });
    }
    if !METHODS.contains(&central.method) {
        let name = shown(central.name);
        return Err(unreadable(format!(
            "entry {name:?} is compressed by method {}",
            central.method
        )));
    }
    if central.method == 0 && central.packed != central.size {
        return Err(conflict(central.name, "is stored with two sizes"));
    }
    Ok(())
}

fn check_agreement(central: &Central<'_>, local: Fields<'_>, extra: &[u8]) -> Result<(), ArchiveProblem> {
    let flags = local.u16(6)?;
    let mask = FLAGS_ENCRYPTED | FLAG_UTF8;
    if flags & mask != central.flags & mask || local.u16(8)? != central.method {
        return Err(conflict(central.name, "is described differently by its local header"));
    }
    let [size, packed, _] = sizes(extra, [local.u32(22)?, local.u32(18)?, 0])?;
    let found = [u64::from(local.u32(14)?), size, packed];
    let expected = [u64::from(central.crc), central.size, central.packed];
    // With a descriptor behind the data, the local header need not know them yet.
    let unknown = |value: u64| flags & FLAG_DESCRIPTOR != 0 && (value == 0 || value == u64::from(u32::MAX));
    if found
        .iter()
        .zip(expected)
        .any(|(found, expected)| *found != expected && !unknown(*found))
    {
        return Err(conflict(
            central.name,
            "has another size or checksum in its local header",
        ));
    }
    Ok(())
}

fn check_overlaps(headers: &[Header]) -> Result<(), ArchiveProblem> {
    let mut by_offset: Vec<&Header> = headers.iter().collect();
    by_offset.sort_by_key(|header| header.offset);
    match by_offset.windows(2).find(|pair| pair[1].offset < pair[0].data.end) {
        Some(pair) => Err(conflict(&pair[1].name, "shares bytes with another entry")),
        None => Ok(()),
    }
}
