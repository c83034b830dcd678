//! Writes an archive's tree into a fresh folder. What is counted is what comes out, whatever the headers claim.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use sha2::{Digest as _, Sha256};
use sonagi_model::{ArchiveLimits, Digest};
use sonagi_ports::{ArchiveProblem, ArtifactError};
use zip::ZipArchive;

use super::headers::{self, Header};
use super::manifest::{Content, FILE_MODE, FOLDER_MODE, Leaf, PROGRAM_MODE};
use super::plan::{Node, Plan, check_size, plan};

/// Bytes unpacked between two looks at the limits.
const BUFFER: usize = 64 * 1024;

/// Checks and unpacks an archive into the empty folder `root`. Every path below it, in order.
///
/// # Errors
/// [`ArtifactError::Refused`], [`ArtifactError::Io`]; the folder may then hold part of the tree.
pub(super) fn unpack(archive: &[u8], root: &Path, limits: &ArchiveLimits) -> Result<Vec<Leaf>, ArtifactError> {
    let packed = archive.len() as u64;
    if packed > limits.packed {
        return Err(ArchiveProblem::PackedSize {
            actual: packed,
            limit: limits.packed,
        }
        .into());
    }
    let headers = headers::read(archive, limits.entries)?;
    let plan = plan(&headers, packed, limits)?;
    let entries = Entries::open(archive, &headers)?;
    Unpacking {
        entries,
        root: Root::open(root)?,
        limits,
        packed,
        unpacked: 0,
    }
    .run(&plan)
}

/// The content of entries, from a second reader that has to agree with the first.
struct Entries<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    headers: &'a [Header],
}

fn unreadable(error: impl ToString) -> ArchiveProblem {
    ArchiveProblem::Unreadable(error.to_string())
}

impl<'a> Entries<'a> {
    fn open(archive: &'a [u8], headers: &'a [Header]) -> Result<Self, ArchiveProblem> {
        let archive = ZipArchive::new(Cursor::new(archive)).map_err(unreadable)?;
        if archive.len() != headers.len() {
            return Err(unreadable("two readers find different numbers of entries"));
        }
        Ok(Self { archive, headers })
    }

    /// Hands the content of an entry to `take`, piece by piece. Its checksum is checked at its end.
    fn read(
        &mut self,
        index: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), ArtifactError>,
    ) -> Result<(), ArtifactError> {
        let header = &self.headers[index];
        let mut entry = self.archive.by_index(index).map_err(unreadable)?;
        let same = entry.name_raw() == header.name
            && entry.header_start() == header.offset as u64
            && entry.data_start() == Some(header.data.start as u64)
            && entry.compressed_size() == header.data.len() as u64;
        if !same {
            return Err(unreadable(format!("two readers find different entries at {:?}", header.shown())).into());
        }
        let mut buffer = [0; BUFFER];
        let mut left = header.size;
        loop {
            let count = match entry.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(format!("entry {:?}: {error}", header.shown())).into()),
            };
            if count == 0 {
                break;
            }
            let within = left.checked_sub(count as u64);
            left =
                within.ok_or_else(|| unreadable(format!("entry {:?} has more bytes than it says", header.shown())))?;
            take(&buffer[..count])?;
        }
        if left != 0 {
            return Err(unreadable(format!("entry {:?} has fewer bytes than it says", header.shown())).into());
        }
        Ok(())
    }
}

struct Unpacking<'a> {
    entries: Entries<'a>,
    root: Root,
    limits: &'a ArchiveLimits,
    packed: u64,
    /// Bytes that came out so far.
    unpacked: u64,
}

impl Unpacking<'_> {
    fn run(mut self, plan: &Plan) -> Result<Vec<Leaf>, ArtifactError> {
        let mut leaves = Vec::with_capacity(plan.nodes.len());
        // In the order of paths a folder comes before what is in it. Links come last: until then no path has one.
        for (path, node) in &plan.nodes {
            match *node {
                Node::Folder { .. } => {
                    self.root.create_folder(path)?;
                    leaves.push(Leaf {
                        path: path.clone(),
                        mode: FOLDER_MODE,
                        content: Content::Folder,
                    });
                }
                Node::File { index, executable } => {
                    let mode = if executable { PROGRAM_MODE } else { FILE_MODE };
                    let content = self.file(path, index, mode)?;
                    leaves.push(Leaf {
                        path: path.clone(),
                        mode,
                        content,
                    });
                }
                Node::Link { .. } => {}
            }
        }
        let targets = self.targets(plan)?;
        plan.check_links(&targets)?;
        for (path, target) in targets {
            self.root.create_link(&path, &target)?;
            leaves.push(Leaf::link(path, target));
        }
        leaves.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(leaves)
    }

    fn file(&mut self, path: &str, index: usize, mode: u32) -> Result<Content, ArtifactError> {
        let mut file = self.root.create_file(path, mode)?;
        let mut hash = Sha256::new();
        let mut size = 0;
        let Self {
            entries,
            root,
            limits,
            packed,
            unpacked,
        } = self;
        entries.read(index, |piece| {
            size += piece.len() as u64;
            *unpacked += piece.len() as u64;
            check_size(*unpacked, *packed, limits)?;
            hash.update(piece);
            file.write_all(piece).map_err(root.error("write", path))
        })?;
        Ok(Content::File {
            size,
            sha256: Digest::from_bytes(hash.finalize().into()),
        })
    }

    fn targets(&mut self, plan: &Plan) -> Result<BTreeMap<String, String>, ArtifactError> {
        let mut targets = BTreeMap::new();
        for (path, node) in &plan.nodes {
            if let Node::Link { index } = *node {
                targets.insert(path.clone(), self.target(path, index)?);
            }
        }
        Ok(targets)
    }

    fn target(&mut self, path: &str, index: usize) -> Result<String, ArtifactError> {
        let refuse = |reason| {
            ArtifactError::from(ArchiveProblem::Path {
                entry: path.to_owned(),
                reason,
            })
        };
        let limit = self.limits.path_bytes;
        let mut target = Vec::new();
        self.entries.read(index, |piece| {
            if target.len() + piece.len() > limit {
                return Err(refuse("its target is too long"));
            }
            target.extend(piece);
            Ok(())
        })?;
        String::from_utf8(target).map_err(|_| refuse("its target is not UTF-8"))
    }
}

/// The folder that is written into. Nothing is reached from it but what lies below it, and never through a link.
struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

impl Root {
    fn open(path: &Path) -> Result<Self, ArtifactError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(io::Error::from)
            .map_err(|source| ArtifactError::Io {
                action: "open",
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            folder,
        })
    }

    fn error<E: Into<io::Error>>(&self, action: &'static str, path: &str) -> impl FnOnce(E) -> ArtifactError {
        let path = self.path.join(path);
        move |error| ArtifactError::Io {
            action,
            path,
            source: error.into(),
        }
    }

    fn open_below(&self, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(
            &self.folder,
            path,
            flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            mode,
            resolve,
        )
    }

    fn create_file(&self, path: &str, mode: u32) -> Result<File, ArtifactError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = self
            .open_below(path, flags, Mode::from_raw_mode(0o600))
            .map_err(self.error("create", path))?;
        // Set apart from creation, so that the umask has no say.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(self.error("protect", path))?;
        Ok(file.into())
    }

    /// The folder that holds a path, and its name there.
    fn parent<'p>(&self, path: &'p str) -> rustix::io::Result<(OwnedFd, &'p str)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
        Ok((
            self.open_below(folder, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?,
            name,
        ))
    }

    fn create_folder(&self, path: &str) -> Result<(), ArtifactError> {
        let (parent, name) = self.parent(path).map_err(self.error("open the folder of", path))?;
        let mode = Mode::from_raw_mode(FOLDER_MODE);
        rustix::fs::mkdirat(&parent, name, mode).map_err(self.error("create", path))?;
        rustix::fs::chmodat(&parent, name, mode, AtFlags::empty()).map_err(self.error("protect", path))
    }

    fn create_link(&self, path: &str, target: &str) -> Result<(), ArtifactError> {
        let (parent, name) = self.parent(path).map_err(self.error("open the folder of", path))?;
        rustix::fs::symlinkat(target, &parent, name).map_err(self.error("create", path))
    }
}
