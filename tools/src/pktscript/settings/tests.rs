use super::*;
use crate::pktscript::parser::parse;

fn set(name: &str, value: &str) -> Command {
    Command::Set {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

#[test]
fn commands_are_understood_not_run() {
    let text = "../common/defaults.sh\n ../common/set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0 \\\n  /proc/sys/a=b";
    assert_eq!(
        commands(text),
        [
            Command::SuiteDefaults,
            set("net.ipv4.tcp_sack", "0"),
            set("a", "b")
        ]
    );
    assert_eq!(
        commands("sysctl -q net.ipv4.tcp_rmem=\"1 2 3\"  # three\n"),
        [set("net.ipv4.tcp_rmem", "1 2 3")]
    );
    assert_eq!(
        commands("sockstat -4 -P tcp -s | grep packetdril | grep -c TIME_WAIT | grep 1"),
        [Command::CountSockets {
            state: "TIME_WAIT".to_owned(),
            count: "1".to_owned()
        }]
    );
    assert_eq!(
        commands("rm -rf /"),
        [Command::Unknown("rm -rf".to_owned())]
    );
    assert_eq!(commands("nstat > /dev/null"), [Command::Nothing]);
}

#[test]
fn settings_are_applied_or_named() {
    let mut settings = Settings::default();
    settings.apply("net.inet.tcp.sack.enable", "0");
    settings.apply("net.inet.tcp.recvspace", "65536");
    settings.apply("kern.ipc.maxsockbuf", "4294967295");
    settings.apply("net.inet.tcp.insecure_rst", "1");
    settings.apply("net.inet.tcp.unheard_of", "1");
    assert_eq!(settings.profile, Profile::FreeBsd);
    let config = settings.final_config();
    assert!(!config.tcp.sack);
    assert_eq!(config.tcp.recv_buffer_initial, 65_700);
    assert_eq!(config.tcp.recv_buffer_max, 1 << 30);
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(
        settings.missing,
        ["net.inet.tcp.insecure_rst=1", "net.inet.tcp.unheard_of=1"]
    );
    settings.apply("net.inet.tcp.insecure_rst", "0");
    assert_eq!(settings.missing, ["net.inet.tcp.unheard_of=1"]);
}

#[test]
fn options_at_the_top() {
    let of = |text: &str| Settings::of(&parse(&format!("{text}\n0 close(3) = 0")).unwrap().options);
    let settings = of("--ip_version=ipv6 --tolerance_usecs=10 --mtu=1280 --bind_port=7").unwrap();
    assert!(settings.v6 && settings.local.is_ipv6());
    assert_eq!((settings.mtu, settings.bind_port), (1_280, 7));
    assert_eq!((settings.tolerance(0), settings.tolerance(800)), (10, 100));
    for option in [
        "--udp_encapsulation=tcp",
        "--ip_version=ipv7",
        "--mtu=70000",
        "--new",
    ] {
        assert_eq!(of(option).unwrap_err(), option);
    }
}
