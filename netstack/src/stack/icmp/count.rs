//! Messages of ICMP by their types, as the MIB counts them.

use packet::ip::IpVersion;

use crate::base::mib::Tally;
use crate::base::mib::objects::IcmpObject as Object;

/// Returns the object of received messages of a type, if there is one.
fn received(version: IpVersion, kind: u8) -> Option<Object> {
    Some(match (version, kind) {
        (IpVersion::V4, 3) | (IpVersion::V6, 1) => Object::InDestUnreachs,
        (IpVersion::V6, 2) => Object::InPktTooBigs,
        (IpVersion::V4, 11) | (IpVersion::V6, 3) => Object::InTimeExcds,
        (IpVersion::V4, 12) | (IpVersion::V6, 4) => Object::InParmProbs,
        (IpVersion::V4, 5) | (IpVersion::V6, 137) => Object::InRedirects,
        (IpVersion::V4, 8) | (IpVersion::V6, 128) => Object::InEchos,
        (IpVersion::V4, 0) | (IpVersion::V6, 129) => Object::InEchoReps,
        (IpVersion::V6, 130) => Object::InGroupQueries,
        _ => return None,
    })
}

/// Returns the object of sent messages of a type, if there is one.
fn sent(version: IpVersion, kind: u8) -> Option<Object> {
    Some(match (version, kind) {
        (IpVersion::V4, 3) | (IpVersion::V6, 1) => Object::OutDestUnreachs,
        (IpVersion::V4, 11) | (IpVersion::V6, 3) => Object::OutTimeExcds,
        (IpVersion::V4, 12) | (IpVersion::V6, 4) => Object::OutParmProbs,
        (IpVersion::V4, 8) | (IpVersion::V6, 128) => Object::OutEchos,
        (IpVersion::V4, 0) | (IpVersion::V6, 129) => Object::OutEchoReps,
        (IpVersion::V6, 143) => Object::OutMldV2Reports,
        _ => return None,
    })
}

/// Counts a valid message that was received.
pub(in crate::stack) fn count_received(tally: &mut Tally, version: IpVersion, kind: Option<u8>) {
    if let Some(object) = kind.and_then(|kind| received(version, kind)) {
        tally.icmp(version, object, 1);
    }
}

/// Counts a message that is sent.
pub(in crate::stack) fn count_sent(tally: &mut Tally, version: IpVersion, kind: u8) {
    tally.icmp(version, Object::OutMsgs, 1);
    if let Some(object) = sent(version, kind) {
        tally.icmp(version, object, 1);
    }
}
