/* no-chroot PROGRAM [ARGUMENT...]: executes PROGRAM. Neither it nor its children can then use chroot(2); the call fails with
 * EPERM. It is for pbs_mom of TORQUE with a privileged job starter, which would otherwise make a directory of the user's its
 * root directory, and execute the starter there as root.
 *
 * chos does not need this call to enter an environment. Programs that need it, such as chroot(8), fail in these jobs.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define NATIVE AUDIT_ARCH_S390X
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE AUDIT_ARCH_RISCV64
#else
#error "say which architecture this is"
#endif

/* CHROOT_32 is the number for 32-bit programs on i386, arm, ppc and s390. riscv32 has another one, but pbs_mom does not exist
 * for it. */
enum { CHROOT_32 = 61, X32 = 0x40000000, FAILED = 125, NOT_EXECUTABLE = 126 };

static int forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 2, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CHROOT_32, 3, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(unsigned)X32),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_chroot & ~X32, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fputs("usage: no-chroot PROGRAM [ARGUMENT...]\n", stderr);
        return FAILED;
    }
    if (forbid() != 0 || chroot("/") == 0 || errno != EPERM) {
        (void)fprintf(stderr, "chos: no-chroot: the kernel does not forbid it, so %s was not started\n", argv[1]);
        return FAILED;
    }
    /* This variable shows `chosctl check` (mom.py) that the filter is ours. */
    if (setenv("CHOS_NO_CHROOT", "1", 1) != 0)
        return FAILED;
    execvp(argv[1], argv + 1);
    (void)fprintf(stderr, "chos: %s: %s\n", argv[1], strerror(errno));
    return NOT_EXECUTABLE;
}
