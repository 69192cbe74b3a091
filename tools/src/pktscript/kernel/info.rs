//! `tcp_info` of a connection of the kernel, as its netlink family `sock_diag` tells it: also of one whose socket the
//! script has closed.

use std::net::{IpAddr, SocketAddr};

use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use crate::live::eventually;
use crate::pktscript::code::Names;

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` of linux/netlink.h.
const REQUEST: u16 = 1;
/// `INET_DIAG_INFO` of linux/inet_diag.h.
const INFO: u16 = 2;
const TCP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Bytes of the headers: `nlmsghdr`, `inet_diag_msg`, `nlattr`.
const MESSAGE: usize = 16;
const SOCKET: usize = 72;
const ATTRIBUTE: usize = 4;

/// Longest wait for the kernel, in milliseconds.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// The fields of `struct tcp_info` of linux/tcp.h: name, offset and length. The structure only ever grows.
const FIELDS: &[(&str, usize, usize)] = &[
    ("tcpi_state", 0, 1),
    ("tcpi_ca_state", 1, 1),
    ("tcpi_retransmits", 2, 1),
    ("tcpi_probes", 3, 1),
    ("tcpi_backoff", 4, 1),
    ("tcpi_options", 5, 1),
    ("tcpi_rto", 8, 4),
    ("tcpi_ato", 12, 4),
    ("tcpi_snd_mss", 16, 4),
    ("tcpi_rcv_mss", 20, 4),
    ("tcpi_unacked", 24, 4),
    ("tcpi_sacked", 28, 4),
    ("tcpi_lost", 32, 4),
    ("tcpi_retrans", 36, 4),
    ("tcpi_fackets", 40, 4),
    ("tcpi_last_data_sent", 44, 4),
    ("tcpi_last_ack_sent", 48, 4),
    ("tcpi_last_data_recv", 52, 4),
    ("tcpi_last_ack_recv", 56, 4),
    ("tcpi_pmtu", 60, 4),
    ("tcpi_rcv_ssthresh", 64, 4),
    ("tcpi_rtt", 68, 4),
    ("tcpi_rttvar", 72, 4),
    ("tcpi_snd_ssthresh", 76, 4),
    ("tcpi_snd_cwnd", 80, 4),
    ("tcpi_advmss", 84, 4),
    ("tcpi_reordering", 88, 4),
    ("tcpi_rcv_rtt", 92, 4),
    ("tcpi_rcv_space", 96, 4),
    ("tcpi_total_retrans", 100, 4),
    ("tcpi_pacing_rate", 104, 8),
    ("tcpi_max_pacing_rate", 112, 8),
    ("tcpi_bytes_acked", 120, 8),
    ("tcpi_bytes_received", 128, 8),
    ("tcpi_segs_out", 136, 4),
    ("tcpi_segs_in", 140, 4),
    ("tcpi_notsent_bytes", 144, 4),
    ("tcpi_min_rtt", 148, 4),
    ("tcpi_data_segs_in", 152, 4),
    ("tcpi_data_segs_out", 156, 4),
    ("tcpi_delivery_rate", 160, 8),
    ("tcpi_busy_time", 168, 8),
    ("tcpi_rwnd_limited", 176, 8),
    ("tcpi_sndbuf_limited", 184, 8),
    ("tcpi_delivered", 192, 4),
    ("tcpi_delivered_ce", 196, 4),
    ("tcpi_bytes_sent", 200, 8),
    ("tcpi_bytes_retrans", 208, 8),
    ("tcpi_dsack_dups", 216, 4),
    ("tcpi_reord_seen", 220, 4),
    ("tcpi_rcv_ooopack", 224, 4),
    ("tcpi_snd_wnd", 228, 4),
    ("tcpi_rcv_wnd", 232, 4),
    ("tcpi_rehash", 236, 4),
    ("tcpi_total_rto", 240, 2),
    ("tcpi_total_rto_recoveries", 242, 2),
    ("tcpi_total_rto_time", 244, 4),
];

/// Returns the values of a connection.
///
/// # Errors
/// There is no such connection, or the kernel does not tell.
pub(super) fn of(local: SocketAddr, remote: SocketAddr) -> Result<Names, String> {
    let answer = ask(&request(local, remote))
        .map_err(|error| format!("tcp_info of the kernel, which does not tell it ({error})"))?;
    parse(&answer).ok_or_else(|| "tcp_info of a connection that is gone".to_owned())
}

/// Returns the request for a connection.
fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut bytes = vec![family, TCP, 1 << (INFO - 1), 0];
    bytes.extend(u32::MAX.to_ne_bytes()); // In any state.
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    for address in [local.ip(), remote.ip()] {
        let mut octets = [0; 16];
        match address {
            IpAddr::V4(ip) => octets[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => octets = ip.octets(),
        }
        bytes.extend(octets);
    }
    bytes.extend([0; 4]); // On any interface.
    bytes.extend([0xff; 8]); // No cookie.
    let mut message = Vec::new();
    let len = u32::try_from(MESSAGE + bytes.len()).unwrap_or_default();
    message.extend(len.to_ne_bytes());
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]); // Sequence number and port.
    message.extend(bytes);
    message
}

fn ask(request: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        Some(SOCK_DIAG),
    )?;
    send(&socket, request, SendFlags::empty())?;
    let mut answer = vec![0; 8_192];
    let received = eventually(PATIENCE, || {
        match recv(&socket, &mut answer[..], RecvFlags::empty()) {
            Err(rustix::io::Errno::AGAIN) => None,
            received => Some(received),
        }
    });
    let (len, _) = received.unwrap_or(Err(rustix::io::Errno::TIMEDOUT))?;
    answer.truncate(len);
    Ok(answer)
}

/// Returns the values in an answer; `None` if it is an error: there is no such connection.
fn parse(answer: &[u8]) -> Option<Names> {
    if number(answer, 4, 2)? != i64::from(BY_FAMILY) {
        return None;
    }
    // What has no more than a state: TIME-WAIT, and a handshake that is not complete.
    let state = number(answer, MESSAGE + 1, 1)?;
    let mut names = Names::from([("tcpi_state".to_owned(), state)]);
    let mut rest = answer.get(MESSAGE + SOCKET..)?;
    while let (Some(len), Some(kind)) = (number(rest, 0, 2), number(rest, 2, 2)) {
        let len = usize::try_from(len).ok().filter(|len| *len >= ATTRIBUTE)?;
        let value = rest.get(ATTRIBUTE..len)?;
        if kind == i64::from(INFO) {
            for (name, at, width) in FIELDS {
                if let Some(value) = number(value, *at, *width) {
                    names.insert((*name).to_owned(), value);
                }
            }
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(names)
}

/// Returns the number of `width` bytes at `at`, in the order of this machine.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<i64> {
    let field = bytes.get(at..at + width)?;
    let mut whole = [0; 8];
    if cfg!(target_endian = "big") {
        whole.get_mut(8 - width..)?.copy_from_slice(field);
    } else {
        whole.get_mut(..width)?.copy_from_slice(field);
    }
    let value = u64::from_ne_bytes(whole);
    Some(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_however_it_is_cut() {
        let mut answer = vec![0; MESSAGE + SOCKET];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[MESSAGE + 1] = 1;
        answer.extend((ATTRIBUTE as u16 + 84).to_ne_bytes());
        answer.extend(INFO.to_ne_bytes());
        let mut info = vec![0; 84];
        info[0] = 1;
        info[80..84].copy_from_slice(&10_u32.to_ne_bytes());
        answer.extend(info);
        let names = parse(&answer).expect("an answer");
        assert_eq!(names.get("tcpi_snd_cwnd"), Some(&10));
        assert_eq!(names.get("tcpi_state"), Some(&1));
        // A field that the kernel does not have is not there.
        assert_eq!(names.get("tcpi_advmss"), None);
        for len in 0..answer.len() {
            // No panic, and no value that was cut off.
            let cut = parse(&answer[..len]);
            assert!(cut.is_none_or(|names| !names.contains_key("tcpi_snd_cwnd")));
        }
    }
}
