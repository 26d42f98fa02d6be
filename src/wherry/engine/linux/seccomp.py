"""The system calls that a Linux program in a container may make (OCI config-linux.md, "Seccomp").

A list of what is allowed: anything else, and all that the kernel will get in future, fails with
EPERM. Left out is what reaches beyond the container or has no namespaces (keyrings, the clock,
modules, swap, kexec, io_uring, user faults, BPF), unless a capability allows just that. As
Docker's, with io_uring left out as Docker does since 25.
"""

from collections.abc import Collection, Iterable

import msgspec

from wherry.oci import HOST

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_ENOSYS, _EPERM = 38, 1
_AF_VSOCK = 40

_FILES = """
access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown
fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr file_getattr file_setattr flistxattr flock
fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listxattr listxattrat
llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat
name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2
read readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir
sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statx symlink symlinkat
sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
utimensat_time64 utimes vmsplice write writev cachestat
"""
_MEMORY = """
brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall
mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
remap_file_pages
"""
_PROCESSES = """
capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait
futex_waitv futex_wake get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid
getpriority getrlimit getrusage getsid gettid ioprio_get ioprio_set kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self pause pidfd_open pidfd_send_signal prctl prlimit64
process_mrelease process_vm_readv process_vm_writev ptrace restart_syscall rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
sched_yield seccomp set_robust_list set_thread_area set_tid_address setitimer setpgid setpriority
setrlimit setsid sigaltstack signalfd signalfd4 sigprocmask sigreturn tgkill tkill ugetrlimit uname
vfork wait4 waitid waitpid sysinfo getrandom
"""
_IDENTITIES = """
getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
setreuid32 setuid setuid32
"""
_TIME = """
adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep time
timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
times
"""
_WAITING_AND_TALKING = """
accept accept4 bind connect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 getpeername getsockname getsockopt io_cancel
io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ipc listen
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd _newselect pipe pipe2 poll ppoll
ppoll_time64 pselect6 pselect6_time64 recv recvfrom recvmmsg recvmmsg_time64 recvmsg select semctl
semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt
shmget shutdown socketcall socketpair
"""
_OF_ARCHITECTURES = {
    "amd64": "arch_prctl modify_ldt",
    "386": "modify_ldt",
    "arm64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    "arm": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    "ppc64le": "swapcontext sync_file_range2",
    "riscv64": "riscv_flush_icache riscv_hwprobe",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
}
_OF_CAPABILITIES = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
    "mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname "
    "sethostname setns syslog umount umount2 unshare",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, with 32 bits, with an old version's number, both; and the question which it is."""
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW* of clone(2): mount, cgroup, uts, ipc, user, pid, network."""

ARCHITECTURES = {
    "amd64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "386": ("SCMP_ARCH_X86",),
    "arm64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "arm": ("SCMP_ARCH_ARM",),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
}
"""What a kernel for an architecture runs: libseccomp's names, the architecture's own first."""


class Argument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A condition on one argument of a system call."""

    index: int
    value: int
    value_two: int = 0
    op: str


class Rule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What happens with some system calls; all of `args` must hold."""

    names: list[str]
    action: str
    args: list[Argument] | None = None
    errno_ret: int | None = None


class Seccomp(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`linux.seccomp` of a bundle."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    flags: list[str] | None = None
    listener_path: str = ""
    syscalls: list[Rule] | None = None


def default_profile(
    capabilities: Collection[str], architecture: str = HOST.architecture
) -> Seccomp:
    """The profile of a container that has `capabilities`, on a machine of `architecture`."""
    names = [
        *(_FILES + _MEMORY + _PROCESSES + _IDENTITIES + _TIME + _WAITING_AND_TALKING).split(),
        *_OF_ARCHITECTURES.get(architecture, "").split(),
        *(name for one in capabilities for name in _OF_CAPABILITIES.get(one, "").split()),
    ]
    rules = [
        Rule(names=sorted(set(names)), action=ALLOW),
        _if("socket", 0, "SCMP_CMP_NE", _AF_VSOCK),
        *(_if("personality", 0, "SCMP_CMP_EQ", value) for value in _PERSONALITIES),
    ]
    if "CAP_SYS_ADMIN" not in capabilities:
        flags = 1 if architecture == "s390x" else 0
        rules += [
            _if("clone", flags, "SCMP_CMP_MASKED_EQ", _NEW_NAMESPACES),
            # Its flags are behind a pointer; who is told that there is none takes clone.
            Rule(names=["clone3"], action=ERRNO, errno_ret=_ENOSYS),
        ]
    return Seccomp(
        default_action=ERRNO,
        default_errno_ret=_EPERM,
        architectures=list(ARCHITECTURES.get(architecture, ())) or None,
        syscalls=rules,
    )


def _if(name: str, index: int, op: str, value: int) -> Rule:
    return Rule(names=[name], action=ALLOW, args=[Argument(index=index, value=value, op=op)])


def names_of(rules: Iterable[Rule]) -> set[str]:
    """Every system call that some rule is about."""
    return {name for rule in rules for name in rule.names}
