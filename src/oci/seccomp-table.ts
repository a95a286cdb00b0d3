/**
 * What the default seccomp profile lets through, as data. In effect the profile that Kubernetes users know as RuntimeDefault: the same
 * system calls as containerd 2.4's, grouped by purpose. Everything not named fails with EPERM.
 *
 * Names the kernel or libseccomp at hand does not know are skipped by the runtime, so the list can be newer than both.
 */
const FOR_EVERYBODY: Record<string, string> = {
  files: `access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
    fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync flock fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch ioctl lchown lchown32 link linkat listmount _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat
    name_to_handle_at newfstatat open openat openat2 pipe pipe2 read readahead readlink readlinkat readv rename renameat renameat2 rmdir
    sendfile sendfile64 splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs tee truncate
    truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev pread64 preadv preadv2 pwrite64 pwritev
    pwritev2`,
  attributes: `fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr lremovexattr
    lsetxattr removexattr removexattrat setxattr setxattrat`,
  asyncIo: "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit",
  waiting: `epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
    _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4`,
  sockets: `accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send
    sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair`,
  memory: `brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal
    msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages`,
  processes: `capget capset execve execveat exit exit_group fork getcpu getitimer getpgid getpgrp getpid getppid getpriority getrlimit
    get_robust_list getrusage getsid get_thread_area gettid kill pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq
    sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setitimer setpgid setpriority
    setrlimit set_robust_list setsid set_thread_area set_tid_address sysinfo tgkill times tkill ugetrlimit uname uretprobe vfork wait4
    waitid waitpid`,
  identity: `getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid getresuid32 getuid
    getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32
    setresuid setresuid32 setreuid setreuid32 setuid setuid32`,
  signals: `rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn`,
  locks: "futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake",
  sysvAndMqueue: `ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink
    msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget`,
  // The clock itself stays protected by CAP_SYS_TIME in the kernel: adjtimex and clock_adjtime also read.
  time: `adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 gettimeofday nanosleep time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64`,
  confinement: `getrandom landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr seccomp`,
  // Safe since kernel 4.8 made ptrace respect seccomp; crid needs a newer kernel anyway (pidfd, openat2).
  debugging: "process_vm_readv process_vm_writev ptrace",
};

/** Machine-specific calls that every process may make. */
const BY_ARCHITECTURE: Record<string, { architectures: string[]; calls: string }> = {
  x64: { architectures: ["X86_64", "X86", "X32"], calls: "arch_prctl modify_ldt" },
  arm64: {
    architectures: ["ARM", "AARCH64"],
    calls: "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
  },
  ppc64: { architectures: [], calls: "sync_file_range2 swapcontext" },
  s390x: { architectures: ["S390", "S390X"], calls: "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr" },
  riscv64: { architectures: ["RISCV64"], calls: "riscv_flush_icache riscv_hwprobe" },
  loong64: { architectures: ["LOONGARCH64"], calls: "" },
};

/** Calls that a capability in the bounding set opens. */
const BY_CAPABILITY: Record<string, string> = {
  CAP_BPF: "bpf",
  CAP_DAC_READ_SEARCH: "open_by_handle_at",
  CAP_PERFMON: "perf_event_open",
  CAP_SYS_ADMIN: `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree
    perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare`,
  CAP_SYS_BOOT: "reboot",
  CAP_SYS_CHROOT: "chroot",
  CAP_SYS_MODULE: "delete_module finit_module init_module",
  CAP_SYS_NICE: "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
  CAP_SYS_PACCT: "acct",
  CAP_SYS_PTRACE: "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
  CAP_SYS_RAWIO: "ioperm iopl",
  CAP_SYS_TIME: "clock_settime clock_settime64 settimeofday stime",
  CAP_SYS_TTY_CONFIG: "vhangup",
  CAP_SYSLOG: "syslog",
};

/**
 * Address families that socket(2) refuses: AF_ALG (38: the kernel's crypto, a needless attack surface) and AF_VSOCK (40: reaches the hypervisor past
 * every network namespace). All others up to AF_MCTP are let through. socketcall(2) of 32-bit programs cannot be filtered by family.
 */
export const REFUSED_ADDRESS_FAMILIES: readonly number[] = [38, 40];
/** AF_MCTP, the highest family let through. */
export const LAST_ADDRESS_FAMILY = 45;

/** personality(2) values let through: PER_LINUX, PER_LINUX32, with UNAME26, and the query. */
export const PERSONALITIES: readonly number[] = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

/** Flags that clone(2) may not carry without CAP_SYS_ADMIN: every CLONE_NEW* namespace but the time one. */
export const NAMESPACE_FLAGS = 0x7e020000;

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");

export function generalCalls(): string[] {
  return Object.values(FOR_EVERYBODY).flatMap(words);
}

/** @param arch as `process.arch` has it */
export function architectureCalls(arch: string): { architectures: string[]; calls: string[] } {
  const entry = BY_ARCHITECTURE[arch];
  return {
    architectures: (entry?.architectures ?? []).map((name) => `SCMP_ARCH_${name}`),
    calls: words(entry?.calls ?? ""),
  };
}

export function capabilityCalls(capability: string): string[] {
  return words(BY_CAPABILITY[capability] ?? "");
}
