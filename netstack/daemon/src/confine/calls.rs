//! The system calls that a confined thread can make: seccomp. Any other fails with "operation not permitted".

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The calls of workers, runtimes, timers, logs and the allocator, with whatever arguments.
const CALLS: &[c_long] = &[
    // Descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_splice,
    libc::SYS_sendfile,
    libc::SYS_copy_file_range,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // Files: which ones is landlock's matter.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_unlinkat,
    // Sockets that are there already.
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads and the end of the program.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, and who this is.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_capget,
];

/// The older names of some of them, which not every architecture has.
#[cfg(target_arch = "x86_64")]
const OLDER_CALLS: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_arch_prctl,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_CALLS: &[c_long] = &[];

/// Requests about descriptors that a runtime makes. None of them concerns a device.
const IOCTLS: [u64; 5] = [
    libc::FIONBIO,
    libc::FIONREAD,
    libc::FIOCLEX,
    libc::TCGETS,
    libc::TIOCGWINSZ,
];

/// Names of threads and of memory, and the end with the parent.
const PRCTLS: [i32; 4] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_SET_PDEATHSIG,
];

/// Families of the sockets that every daemon makes (the supervisor's), and of those that jobs with sockets make.
const FAMILIES: [i32; 1] = [libc::AF_UNIX];
const FAMILIES_OF_JOBS: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// Puts the filter in force for the calling thread and those that it starts. With `sockets` it can make sockets of the
/// machine, and load the libraries that look names up.
///
/// # Errors
/// The kernel has no filters, or the program runs on an architecture that has none here.
pub(super) fn enforce(sockets: bool) -> Result<(), String> {
    let program = compile(sockets).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

fn compile(sockets: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in CALLS.iter().chain(OLDER_CALLS) {
        // No condition: every argument will do.
        rules.insert(*call, Vec::new());
    }
    let families: &[i32] = if sockets {
        &FAMILIES_OF_JOBS
    } else {
        &FAMILIES
    };
    let number = |number: i32| u64::from(number.unsigned_abs());
    let families = families.iter().copied().map(number);
    rules.insert(libc::SYS_socket, one_of(0, families)?);
    rules.insert(libc::SYS_ioctl, one_of(1, IOCTLS.into_iter())?);
    rules.insert(libc::SYS_prctl, one_of(0, PRCTLS.into_iter().map(number))?);
    // A signal to another process is no business of the daemon's.
    let this = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, one_of(0, std::iter::once(this))?);
    // Memory becomes code only where libraries are loaded.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let no_code = SeccompCmpOp::MaskedEq(number(libc::PROT_EXEC));
        let no_code = SeccompCondition::new(2, SeccompCmpArgLen::Dword, no_code, 0)?;
        let rule = match sockets {
            true => Vec::new(),
            false => vec![SeccompRule::new(vec![no_code])?],
        };
        rules.insert(call, rule);
    }
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(number(libc::EPERM) as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

/// Returns the rules for a call one of whose arguments is one of `values`.
fn one_of(
    argument: u8,
    values: impl Iterator<Item = u64>,
) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    values
        .map(|value| {
            let equal = SeccompCmpOp::Eq;
            let is_value = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equal, value)?;
            SeccompRule::new(vec![is_value])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, ErrorKind};
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;
    use std::thread;

    use super::*;

    fn refused<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    fn confined(sockets: bool, work: impl FnOnce() + Send + 'static) {
        thread::spawn(move || {
            enforce(sockets).expect("this test needs a kernel with seccomp");
            work();
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn a_confined_thread_starts_no_program_and_makes_no_socket() {
        confined(false, || {
            assert!(refused(Command::new("true").spawn()));
            assert!(refused(UdpSocket::bind("127.0.0.1:0")));
            assert!(refused(TcpListener::bind("127.0.0.1:0")));
            assert!(UnixDatagram::unbound().is_ok());
            assert!(refused(std::os::unix::fs::symlink(
                "a",
                "/tmp/netstackd-link"
            )));
            assert!(refused(std::fs::create_dir("/tmp/netstackd-directory")));
            let no_mount = nix::mount::umount("/proc");
            assert_eq!(no_mount, Err(nix::errno::Errno::EPERM));
            // Nothing of this is changed for the threads of tests.
            let sum = thread::spawn(|| {
                vec![1_u8; 1 << 20]
                    .iter()
                    .map(|one| u64::from(*one))
                    .sum::<u64>()
            });
            assert_eq!(sum.join().expect("threads start"), 1_u64 << 20);
            assert!(File::open("/dev/null").is_ok());
        });
        assert!(Command::new("true").status().is_ok());
    }

    #[test]
    fn a_job_with_sockets_makes_them_and_looks_names_up() {
        confined(true, || {
            assert!(refused(Command::new("true").spawn()));
            assert!(UdpSocket::bind("127.0.0.1:0").is_ok());
            use std::net::ToSocketAddrs as _;
            assert!(("localhost", 80).to_socket_addrs().is_ok());
        });
    }
}
