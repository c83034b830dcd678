//! Between an action's code as it is sent and returned (text, or base64 of an archive or file) and the artifact in which
//! it is kept: a zip archive.
//! Source: apache/openwhisk (commit 1fae641), `Exec.scala` (`isBinaryCode`); the forms are those that the action proxies
//! of apache/openwhisk-runtime-nodejs and -go take.

use std::io::Read as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use sonagi_model::ArchiveLimits;

use crate::entities::Form;
use crate::errors::WhiskError;

/// Name of the one file of an action that is no archive.
pub(crate) const FILE: &str = "exec";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Code on its way into the store.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) archive: Bytes,
    pub(crate) form: Form,
    pub(crate) binary: bool,
}

/// What archives may hold.
pub(crate) fn archive_limits(code: usize) -> ArchiveLimits {
    ArchiveLimits {
        packed: code as u64 + 1024,
        entries: 100_000,
        unpacked: 512 * 1024 * 1024,
        ..ArchiveLimits::default()
    }
}

/// Whether upstream takes this text for binary: base64 of the right length. A source that happens to have only such
/// characters is taken for binary too; that is copied, because clients see it.
fn is_binary(code: &str) -> bool {
    let code = code.trim();
    !code.is_empty() && code.len().is_multiple_of(4) && {
        let body = code.trim_end_matches('=');
        code.len() - body.len() <= 2
            && body
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    }
}

/// Packs code as it was sent.
///
/// # Errors
/// 413 over the limit; 400 for an archive that cannot be read.
pub(crate) fn pack(code: Option<&str>, limit: usize) -> Result<Packed, WhiskError> {
    let Some(code) = code else {
        return Ok(Packed {
            archive: zip(&[(FILE, b"", 0o644)]),
            form: Form::None,
            binary: false,
        });
    };
    if code.len() > limit {
        return Err(WhiskError::too_large("exec", code.len(), limit));
    }
    if !is_binary(code) {
        return Ok(Packed {
            archive: zip(&[(FILE, code.as_bytes(), 0o755)]),
            form: Form::Source,
            binary: false,
        });
    }
    let bytes = BASE64
        .decode(code.trim())
        .map_err(|error| WhiskError::malformed(format!("the code is not base64: {error}")))?;
    let (archive, form) = if bytes.starts_with(b"PK") {
        (Bytes::from(bytes), Form::Archive)
    } else if bytes.starts_with(&[0x1f, 0x8b]) {
        (zip_of_tar(&bytes, limit)?, Form::Archive)
    } else {
        (zip(&[(FILE, &bytes, 0o755)]), Form::File)
    };
    Ok(Packed {
        archive,
        form,
        binary: true,
    })
}

/// The code as it was sent; of an archive that came as tar, a zip with the same files.
pub(crate) fn unpack(form: Form, archive: &[u8]) -> Option<String> {
    match form {
        Form::None => None,
        Form::Archive => Some(BASE64.encode(archive)),
        Form::Source => Some(String::from_utf8_lossy(only_file(archive)?).into_owned()),
        Form::File => Some(BASE64.encode(only_file(archive)?)),
    }
}

/// The bytes of the first entry of an archive that [`zip`] made.
fn only_file(archive: &[u8]) -> Option<&[u8]> {
    let number = |at: usize, size: usize| {
        let bytes = archive.get(at..at + size)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    };
    let (size, name, extra) = (number(22, 4)?, number(26, 2)?, number(28, 2)?);
    archive.get(30 + name + extra..30 + name + extra + size)
}

/// A zip archive of these files, not compressed: names, contents, permissions.
/// Source: PKWARE APPNOTE 6.3.10, 4.3.7, 4.3.12, 4.3.16.
pub(crate) fn zip(files: &[(&str, &[u8], u32)]) -> Bytes {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content, mode) in files {
        let offset = len32(out.len());
        let common = |out: &mut Vec<u8>| {
            // Version 2.0, names in UTF-8, stored, 1 January 1980.
            for field in [20_u16, 1 << 11, 0, 0, 0x21] {
                out.extend(field.to_le_bytes());
            }
            for field in [crc32fast::hash(content), len32(content.len()), len32(content.len())] {
                out.extend(field.to_le_bytes());
            }
            out.extend(len16(name.len()).to_le_bytes());
            out.extend(0_u16.to_le_bytes());
        };
        out.extend(b"PK\x03\x04");
        common(&mut out);
        out.extend(name.as_bytes());
        out.extend_from_slice(content);
        directory.extend(b"PK\x01\x02");
        // Made by Unix.
        directory.extend((3_u16 << 8 | 20).to_le_bytes());
        common(&mut directory);
        directory.extend([0; 6]);
        directory.extend(((mode | 0o100_000) << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, size, count) = (len32(out.len()), len32(directory.len()), len16(files.len()));
    out.append(&mut directory);
    out.extend(b"PK\x05\x06");
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out.into()
}

/// Code is far below 4 GiB; the store refuses what does not fit.
fn len32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn len16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// A zip archive with the files of a compressed tar archive. Links and devices are left out.
/// Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's long names.
fn zip_of_tar(bytes: &[u8], limit: usize) -> Result<Bytes, WhiskError> {
    let wrong = |why: &str| WhiskError::malformed(format!("the tar archive cannot be read: {why}"));
    let mut tar = Vec::new();
    let bound = limit as u64 * 4;
    flate2::read::MultiGzDecoder::new(bytes)
        .take(bound + 1)
        .read_to_end(&mut tar)
        .map_err(|error| wrong(&error.to_string()))?;
    if tar.len() as u64 > bound {
        return Err(wrong("it unpacks to too many bytes"));
    }
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    let octal = |field: &[u8]| usize::from_str_radix(text(field).trim(), 8).ok();
    let mut files: Vec<(String, &[u8], u32)> = Vec::new();
    let (mut at, mut long_name) = (0, None);
    while let Some(header) = tar.get(at..at + 512) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let size = octal(&header[124..136]).ok_or_else(|| wrong("a size is no number"))?;
        let content = tar
            .get(at + 512..at + 512 + size)
            .ok_or_else(|| wrong("it is cut off"))?;
        at += 512 + size.next_multiple_of(512);
        match header[156] {
            b'L' => long_name = Some(text(content)),
            b'0' | 0 => {
                let prefix = text(&header[345..500]);
                let short = match (&header[257..262], prefix.as_str()) {
                    (b"ustar", prefix) if !prefix.is_empty() => format!("{prefix}/{}", text(&header[..100])),
                    _ => text(&header[..100]),
                };
                let name = long_name.take().unwrap_or(short);
                let mode = octal(&header[100..108]).unwrap_or(0o644) as u32 & 0o777;
                files.push((name.trim_start_matches("./").to_owned(), content, mode));
            }
            _ => long_name = None,
        }
    }
    if files.len() > usize::from(u16::MAX) {
        return Err(wrong("it has too many files"));
    }
    let files: Vec<(&str, &[u8], u32)> = files
        .iter()
        .map(|(name, content, mode)| (&**name, *content, *mode))
        .collect();
    Ok(zip(&files))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn round(code: &str) -> (Form, bool, Option<String>) {
        let packed = pack(Some(code), 1 << 20).unwrap();
        (packed.form, packed.binary, unpack(packed.form, &packed.archive))
    }

    #[test]
    fn what_is_base64_counts_as_binary() {
        for (code, expected) in [
            ("", false),
            ("abcd", true),
            (" abcd\n", true),
            ("ab==", true),
            ("a===", false),
            ("abc", false),
            ("main()", false),
        ] {
            assert_eq!(is_binary(code), expected, "{code:?}");
        }
    }

    #[test]
    fn code_comes_back_as_it_was_sent() {
        let source = "function main() { return {❄: 1} }";
        assert_eq!(round(source), (Form::Source, false, Some(source.to_owned())));
        assert_eq!(round(""), (Form::Source, false, Some(String::new())));
        let file = BASE64.encode(b"\x7fELF and so on");
        assert_eq!(round(&file), (Form::File, true, Some(file.clone())));
        let archive = BASE64.encode(zip(&[("index.js", b"x", 0o644)]));
        assert_eq!(round(&archive), (Form::Archive, true, Some(archive.clone())));
        assert_eq!(pack(Some("aaaaa"), 4).unwrap_err().status, 413);
    }

    #[test]
    fn a_tar_becomes_a_zip() {
        let mut tar = vec![0_u8; 1024];
        tar[..9].copy_from_slice(b"./main.js");
        tar[100..107].copy_from_slice(b"0000755");
        tar[124..135].copy_from_slice(b"00000000003");
        tar[156] = b'0';
        tar[512..515].copy_from_slice(b"abc");
        tar.extend([0; 1024]);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&tar).unwrap();
        let code = BASE64.encode(packer.finish().unwrap());
        let packed = pack(Some(&code), 1 << 20).unwrap();
        assert_eq!(packed.archive, zip(&[("main.js", b"abc", 0o755)]));
        let cut = BASE64.encode([0x1f, 0x8b, 8, 0, 0, 0]);
        assert_eq!(pack(Some(&cut), 1 << 20).unwrap_err().status, 400);
    }
}
