//! The segment that is chosen to be sent next, and how long it may be.

use crate::tcp::seq::SeqNum;

/// The next segment to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pick {
    /// `len` bytes for the first time, perhaps with our FIN, perhaps as a tail loss probe.
    Fresh { len: u32, fin: bool, probe: bool },
    /// `len` bytes again, perhaps with our FIN.
    Again {
        seq: SeqNum,
        len: u32,
        fin: bool,
        why: Why,
    },
    /// `len` bytes for the first time, in one segment that is larger than others, to find out if it arrives.
    MtuProbe { len: u32, mss: u16 },
    /// A zero window probe: the next byte, although the window is closed.
    Probe,
}

/// The reason for sending something again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// It is lost.
    Lost,
    /// The last segment of a recovery may be lost (RFC 6675 NextSeg rule 4).
    Rescue,
    /// Acknowledgments ceased (RFC 8985 section 7).
    TailProbe,
}

impl Pick {
    /// Returns the pick of new bytes.
    pub(super) fn fresh(len: u32, fin: bool) -> Self {
        Self::Fresh {
            len,
            fin,
            probe: false,
        }
    }

    /// Returns true if it waits for its departure: a probe that ends a silence does not.
    pub(super) fn is_paced(self) -> bool {
        match self {
            Self::Fresh { probe, .. } => !probe,
            Self::Again { why, .. } => why != Why::TailProbe,
            Self::MtuProbe { .. } => true,
            Self::Probe => false,
        }
    }

    /// Returns the same bytes, sent again for another reason.
    pub(super) fn because(self, why: Why) -> Self {
        match self {
            Self::Again { seq, len, fin, .. } => Self::Again { seq, len, fin, why },
            other => other,
        }
    }
}

/// Segment sizes for one pick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Payload of a full wire segment.
    pub(super) segment: u32,
    /// Maximum payload of a pick.
    pub(super) most: u32,
    /// Pacing makes it as short as that.
    pub(super) is_paced: bool,
    /// The pacing rate in bytes a second, if there is one.
    pub(super) rate: Option<u64>,
}

impl Size {
    /// Returns `len` cut down to whole segments.
    pub(super) fn whole(self, len: u32) -> u32 {
        len - len % self.segment
    }
}
