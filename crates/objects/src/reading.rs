//! Reading the bytes of an object, across its bodies.

use std::collections::VecDeque;
use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::bodies::Bodies;
use crate::error::{Error, of_file};
use crate::model::{Object, Segment};
use crate::pins::Pin;

/// Bytes read at once.
const CHUNK: usize = 128 * 1024;

/// An object whose bytes stay until this is dropped, whatever becomes of the object.
#[derive(Debug)]
pub struct Found {
    /// The object.
    pub object: Object,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) pin: Pin,
}

/// The bytes of an object, or of a stretch of it.
#[derive(Debug)]
pub struct Reading {
    bodies: Arc<Bodies>,
    left: VecDeque<Segment>,
    open: Option<(File, u64)>,
    _pin: Pin,
}

/// The parts of segments that make up a stretch of the whole.
pub(crate) fn stretch(segments: &[Segment], range: Range<u64>) -> Vec<Segment> {
    let (mut at, mut found) = (0_u64, Vec::new());
    for segment in segments {
        let end = at + segment.length;
        let (from, to) = (range.start.max(at), range.end.min(end));
        if from < to {
            found.push(Segment {
                body: segment.body.clone(),
                offset: segment.offset + (from - at),
                length: to - from,
            });
        }
        at = end;
    }
    found
}

impl Found {
    /// The segments that make up a stretch of the object, for an object or part that is to share them.
    #[must_use]
    pub fn share(&self, range: Range<u64>) -> Vec<Segment> {
        stretch(&self.object.segments, range)
    }

    /// Reads a stretch; beyond the object's end there is nothing.
    #[must_use]
    pub fn read(self, range: Range<u64>) -> Reading {
        Reading::of(self.bodies, stretch(&self.object.segments, range), self.pin)
    }
}

impl Reading {
    pub(crate) fn of(bodies: Arc<Bodies>, segments: Vec<Segment>, pin: Pin) -> Self {
        Self {
            bodies,
            left: segments.into(),
            open: None,
            _pin: pin,
        }
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`Error::File`]: the disk failed, or a file is shorter than it was.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(segment) = self.left.front() else {
                return Ok(None);
            };
            let path = self.bodies.path(&segment.body);
            let (file, left) = match &mut self.open {
                Some(open) => open,
                None => {
                    let mut file = File::open(&path).await.map_err(of_file("open", &path))?;
                    if segment.offset > 0 {
                        let at = file.seek(SeekFrom::Start(segment.offset)).await;
                        at.map_err(of_file("read", &path))?;
                    }
                    self.open.insert((file, segment.length))
                }
            };
            if *left == 0 {
                self.left.pop_front();
                self.open = None;
                continue;
            }
            let wanted = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK);
            let mut chunk = BytesMut::with_capacity(wanted);
            let read = file.take(wanted as u64).read_buf(&mut chunk).await;
            let read = read.map_err(of_file("read", &path))?;
            if read == 0 {
                return Err(of_file("read", &path)(std::io::ErrorKind::UnexpectedEof.into()));
            }
            *left -= read as u64;
            return Ok(Some(chunk.freeze()));
        }
    }
}
