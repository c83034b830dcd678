//! Writes zip archives field by field, lies included.

use std::io::Write;

use bytes::Bytes;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// One entry. What is `None` is as it should be.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    /// Mode with file type.
    pub mode: u32,
    pub flags: u16,
    pub method: u16,
    pub extra: Vec<u8>,
    pub local_name: Option<Vec<u8>>,
    pub local_flags: Option<u16>,
    pub local_size: Option<u32>,
    pub size: Option<u32>,
    pub crc: Option<u32>,
    pub offset: Option<u32>,
}

impl Entry {
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let (name, content) = (name.as_ref().to_vec(), content.as_ref().to_vec());
        Self {
            name,
            content,
            mode: 0o100_644,
            ..Self::default()
        }
    }

    pub fn of_mode(name: &str, content: &str, mode: u32) -> Self {
        Self {
            mode,
            ..Self::file(name, content)
        }
    }

    pub fn link(name: &str, target: &str) -> Self {
        Self::of_mode(name, target, 0o120_777)
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The fields that both headers have, from the needed version to the length of the extra field.
fn common(entry: &Entry, flags: u16, size: u32, name: &[u8], extra: &[u8]) -> Vec<u8> {
    let mut out = vec![20, 0];
    out.extend(flags.to_le_bytes());
    out.extend(entry.method.to_le_bytes());
    out.extend([0, 0, 0x21, 0]);
    out.extend(entry.crc.unwrap_or_else(|| crc32(&entry.content)).to_le_bytes());
    out.extend((entry.content.len() as u32).to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend((name.len() as u16).to_le_bytes());
    out.extend((extra.len() as u16).to_le_bytes());
    out
}

/// An archive of stored entries. Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16.
pub fn archive(entries: &[Entry]) -> Bytes {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let size = entry.size.unwrap_or(entry.content.len() as u32);
        let offset = entry.offset.unwrap_or(out.len() as u32);
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        let local_flags = entry.local_flags.unwrap_or(entry.flags);
        out.extend(b"PK\x03\x04");
        out.extend(common(
            entry,
            local_flags,
            entry.local_size.unwrap_or(size),
            local_name,
            &[],
        ));
        out.extend(local_name);
        out.extend(&entry.content);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(common(entry, entry.flags, size, &entry.name, &entry.extra));
        // Length of the comment, start disk, inner attributes.
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
        directory.extend(&entry.extra);
    }
    let start = out.len() as u32;
    out.extend(&directory);
    out.extend(end_record(entries.len() as u16, directory.len() as u32, start));
    out.into()
}

/// The record at the end of an archive.
pub fn end_record(entries: u16, size: u32, start: u32) -> Vec<u8> {
    let mut out = b"PK\x05\x06\0\0\0\0".to_vec();
    out.extend(entries.to_le_bytes());
    out.extend(entries.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// An archive as an ordinary program writes it, deflated.
pub fn deflated(files: &[(&str, &[u8], u32)]) -> Bytes {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content, mode) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(*mode);
        if name.ends_with('/') {
            writer.add_directory(name.trim_end_matches('/'), options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    writer.finish().unwrap().into_inner().into()
}
