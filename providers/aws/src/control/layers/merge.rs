//! Several archives as one. Contents are copied as they are packed; where two have the same path, the later one wins.

use std::collections::HashMap;
use std::io::Cursor;

use bytes::Bytes;
use zip::result::ZipError;
use zip::{ZipArchive, ZipWriter};

/// Joins archives, each of which was checked when it was stored; the result is checked again like any other.
///
/// # Errors
/// What the archives are that cannot be joined.
pub(super) fn merge(archives: &[Bytes]) -> Result<Bytes, ZipError> {
    let mut opened = Vec::with_capacity(archives.len());
    for archive in archives {
        opened.push(ZipArchive::new(Cursor::new(archive.clone()))?);
    }
    let mut last: HashMap<String, usize> = HashMap::new();
    for (index, archive) in opened.iter().enumerate() {
        for name in archive.file_names() {
            last.insert(place(&name?), index);
        }
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (index, archive) in opened.iter_mut().enumerate() {
        for entry in 0..archive.len() {
            let file = archive.by_index_raw(entry)?;
            if last.get(&place(&file.name()?)) == Some(&index) {
                writer.raw_copy_file(file)?;
            }
        }
    }
    Ok(Bytes::from(writer.finish()?.into_inner()))
}

/// The place below the root that a name means, however it is written: `./a//b` is `a/b`. A folder's has a slash at its end.
fn place(name: &str) -> String {
    let parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
    let mut place = parts.collect::<Vec<_>>().join("/");
    if name.ends_with('/') {
        place.push('/');
    }
    place
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(files: &[(&str, &str)]) -> Bytes {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            writer
                .start_file(*name, SimpleFileOptions::default().unix_permissions(0o755))
                .unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        Bytes::from(writer.finish().unwrap().into_inner())
    }

    #[test]
    fn later_files_win_and_modes_stay() {
        let joined = merge(&[
            archive(&[("python/a.py", "1"), ("bin/x", "one")]),
            archive(&[("python/b.py", "2")]),
            archive(&[("./bin/x", "three")]),
        ]);
        let mut joined = ZipArchive::new(Cursor::new(joined.unwrap())).unwrap();
        let mut names: Vec<String> = joined.file_names().map(|name| name.unwrap().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["./bin/x", "python/a.py", "python/b.py"]);
        let mut file = joined.by_name("./bin/x").unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(
            (content.as_str(), file.unix_mode().map(|mode| mode & 0o777)),
            ("three", Some(0o755))
        );
    }
}
