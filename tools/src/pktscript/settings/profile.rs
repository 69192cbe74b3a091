//! The systems that scripts are written for.

use std::time::Duration;

use netstack::base::Config;

/// The system that a script was written for, as its commands tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// This stack as it is by default.
    #[default]
    Own,
    /// Linux as `defaults.sh` of packetdrill's own suite sets it.
    LinuxSuite,
    /// FreeBSD.
    FreeBsd,
}

impl Profile {
    /// Changes `config` to what the scripts of this system take for granted.
    pub(super) fn apply(self, config: &mut Config) {
        let tcp = &mut config.tcp;
        match self {
            Self::Own => {}
            Self::LinuxSuite => {
                tcp.recv_buffer_initial = 540_000;
                tcp.recv_buffer_max = 15 << 20;
                tcp.send_buffer = 4 << 20;
                tcp.syn_retries = 5;
                tcp.ecn = false;
                tcp.ecn_offer = false;
                // A queue that sends at once, and no memory of earlier connections.
                tcp.pacing = false;
                tcp.path_metrics = false;
            }
            Self::FreeBsd => {
                tcp.pacing = false;
                tcp.path_metrics = false;
                tcp.quick_acks = 0;
                tcp.delayed_ack = Duration::from_millis(40);
                tcp.ecn_offer = false;
                tcp.accurate_ecn = false;
                tcp.recv_buffer_max = 2 << 20;
            }
        }
    }
}
