/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/no-exec.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__) && defined(__LP64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define FOREIGN_FROM 0x40000000u /* x32's calls have the architecture of the others, and this bit */
#elif defined(__s390x__)
#define ARCHITECTURE AUDIT_ARCH_S390X
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifndef FOREIGN_FROM
#define FOREIGN_FROM G_MAXUINT32 /* no call has this number, and -1 is none */
#endif

static gboolean
fail(int code, GError **error)
{
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(code), "cannot forbid to execute programs: %s",
                g_strerror(code));
    return FALSE;
}

#ifdef ARCHITECTURE

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
/* From each the way to the last line, which denies, is so many lines. */
#define DENY_IF(test, value, lines)     BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), (lines), 0)
#define DENY_UNLESS(test, value, lines) BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), 0, (lines))

gboolean
apmig_forbid_exec(GError **error)
{
    struct sock_filter lines[] = {
        LOAD(arch),
        DENY_UNLESS(BPF_JEQ, ARCHITECTURE, 5),
        LOAD(nr),
        DENY_IF(BPF_JGE, FOREIGN_FROM, 3),
        DENY_IF(BPF_JEQ, SYS_execve, 2),
        DENY_IF(BPF_JEQ, SYS_execveat, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    const struct sock_fprog program = {.len = G_N_ELEMENTS(lines), .filter = lines};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
        return fail(errno, error);
    return TRUE;
}

#else

gboolean
apmig_forbid_exec(GError **error)
{
    return fail(ENOSYS, error);
}

#endif
