//! Processors for what is measured and for what measures it.
//!
//! A process takes the processors of the thread that starts it, and hands them to all its children: so a server is pinned
//! by pinning the thread that starts it for that moment, which leaves no moment in which it runs elsewhere.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Error;

/// Keeps this thread on some processors as long as it lives.
#[derive(Debug)]
#[must_use = "the thread is free again when this goes"]
pub struct Pinned {
    before: CpuSet,
    /// Not to be sent: it is about the thread that made it.
    _here: std::marker::PhantomData<*const ()>,
}

impl Pinned {
    /// Pins the calling thread.
    ///
    /// # Errors
    /// There is none of these processors here.
    pub fn to(cores: &[usize]) -> Result<Self, Error> {
        let failed = |source| Error::Pin {
            cores: cores.to_vec(),
            source,
        };
        let before = sched_getaffinity(None).map_err(failed)?;
        let mut wanted = CpuSet::new();
        for core in cores {
            wanted.set(*core);
        }
        sched_setaffinity(None, &wanted).map_err(failed)?;
        Ok(Self {
            before,
            _here: std::marker::PhantomData,
        })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Processors that were allowed a moment ago; if they went, staying where we are is the best answer.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// Processors that the calling thread may use, in order.
///
/// # Errors
/// The kernel does not say.
pub fn allowed() -> Result<Vec<usize>, Error> {
    let set = sched_getaffinity(None).map_err(|source| Error::Pin {
        cores: Vec::new(),
        source,
    })?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// How processors are shared out: those of what is measured, and those of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// For the server and everything that it starts.
    pub server: Vec<usize>,
    /// For the client.
    pub client: Vec<usize>,
}

impl Shares {
    /// One processor for the server, the others for the client; with one processor, both share it.
    ///
    /// # Errors
    /// As [`allowed`].
    pub fn of_this_machine() -> Result<Self, Error> {
        Ok(Self::of(&allowed()?))
    }

    fn of(cores: &[usize]) -> Self {
        match cores {
            [server, client @ ..] if !client.is_empty() => Self {
                server: vec![*server],
                client: client.to_vec(),
            },
            one => Self {
                server: one.to_vec(),
                client: one.to_vec(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_as_long_as_it_is_asked_for() {
        let before = allowed().unwrap();
        {
            let _pinned = Pinned::to(&before[..1]).unwrap();
            assert_eq!(allowed().unwrap(), before[..1]);
        }
        assert_eq!(allowed().unwrap(), before);
        assert!(Pinned::to(&[CpuSet::MAX_CPU - 1]).is_err());
    }

    #[test]
    fn the_client_has_its_own_processors_where_there_are_several() {
        let check = |cores: &[usize], server: &[usize], client: &[usize]| {
            let shares = Shares::of(cores);
            assert_eq!((&shares.server[..], &shares.client[..]), (server, client));
        };
        check(&[0], &[0], &[0]);
        check(&[0, 1], &[0], &[1]);
        check(&[2, 3, 5], &[2], &[3, 5]);
    }
}
