/* Tries system calls that a container's program may or may not make, and prints how each ends.
 *
 * Arguments are such that nothing happens where a call is allowed: it fails for another reason.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *name, long result)
{
    printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ok");
}

#define TRY(name, ...) tell(#name, syscall(SYS_##name, __VA_ARGS__))

int main(void)
{
    TRY(add_key, 0, 0, 0, 0, -1);
    TRY(keyctl, -1, 0, 0, 0, 0);
    TRY(request_key, 0, 0, 0, 0);
    TRY(bpf, -1, 0, 0);
    TRY(perf_event_open, 0, 0, 0, -1, 0);
    TRY(userfaultfd, -1);
    TRY(kexec_load, 0, -1, 0, -1);
    TRY(init_module, 0, 0, 0);
    TRY(delete_module, 0, 0);
    TRY(open_by_handle_at, -1, 0, 0);
    TRY(mount, 0, 0, 0, 0, 0);
    TRY(umount2, 0, -1);
    TRY(move_mount, -1, 0, -1, 0, -1);
    TRY(fsopen, 0, -1);
    TRY(setns, -1, 0);
    TRY(unshare, 0);
    TRY(pivot_root, 0, 0);
    TRY(swapon, 0, -1);
    TRY(reboot, 0, 0, 0, 0);
    TRY(settimeofday, -1, 0);
    TRY(clock_settime, -1, 0);
    TRY(acct, -1);
    TRY(quotactl, -1, 0, 0, 0);
    TRY(syslog, 3, 0, 0);
    TRY(vhangup, 0);
    TRY(personality, 0x0040000);
    TRY(personality, 0xffffffff);
    TRY(clone, CLONE_NEWUSER | CLONE_SIGHAND, 0, 0, 0, 0);
    TRY(clone3, 0, 0);
    TRY(socket, 40, 1, 0);
    TRY(io_uring_setup, 0, 0);
    TRY(kcmp, 0, 0, 0, 0, 0);
    TRY(mbind, 0, 0, -1, 0, 0, 0);
    TRY(ptrace, -1, 0, 0, 0);
    TRY(chroot, 0);
    TRY(sethostname, 0, -1);
    TRY(memfd_create, 0, -1);
    TRY(statx, -1, 0, 0, 0, 0);
    TRY(openat2, -1, 0, 0, 0);
    TRY(unshare, CLONE_NEWUSER);
    return 0;
}
