/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a process that has forbidden itself to execute programs can still do, and cannot. Each case is a child. */
#include "base/no-exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child's exit status. */
enum {
    DENIED,
    DONE,
    FAILED,
    UNSUPPORTED = 77
};

static char *const arguments[] = {(char *)"true", NULL};

static int
execute(void)
{
    execve("/bin/true", arguments, NULL);
    return errno == EPERM ? DENIED : FAILED;
}

static int
execute_at(void)
{
    syscall(SYS_execveat, AT_FDCWD, "/bin/true", arguments, NULL, 0);
    return errno == EPERM ? DENIED : FAILED;
}

static gpointer
execute_in_thread(gpointer data)
{
    return GINT_TO_POINTER(execute());
}

static int
execute_in_later_thread(void)
{
    return GPOINTER_TO_INT(g_thread_join(g_thread_new("later", execute_in_thread, NULL)));
}

/* Whatever is no program is let through. */
static int
open_and_fork(void)
{
    pid_t child;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || (child = fork()) < 0)
        return FAILED;
    if (child == 0)
        _exit(0);
    return waitpid(child, NULL, 0) == child ? DONE : FAILED;
}

#if defined(__x86_64__) && defined(__LP64__)
/* getpid() in the numbering of i386. A kernel that has none denies it as well, by a signal: which is not the sanitizers'. */
static int
call_as_i386(void)
{
    long result = 20;

    signal(SIGSEGV, SIG_DFL);
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result == -EPERM ? DENIED : FAILED;
}

static int
call_as_x32(void)
{
    return syscall(0x40000000 | SYS_getpid) < 0 && errno == EPERM ? DENIED : FAILED;
}
#endif

/* Returns: the wait status. */
static int
run_child(int (*func)(void))
{
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(apmig_forbid_exec(NULL) ? func() : UNSUPPORTED);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    return status;
}

typedef struct {
    int (*func)(void);
    int expected;
    gboolean may_end; /* by the kernel's own signal */
} Case;

static void
test_case(gconstpointer data)
{
    const Case *one = data;
    int status = run_child(one->func);

    if (WIFEXITED(status) && WEXITSTATUS(status) == UNSUPPORTED)
        g_test_skip("the kernel has no seccomp filters");
    else if (one->may_end && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
        g_test_message("the kernel has no system calls of i386");
    else
        g_assert_cmpint(WIFEXITED(status) ? WEXITSTATUS(status) : -1, ==, one->expected);
}

int
main(int argc, char **argv)
{
    static const Case cases[] = {
        {execute, DENIED},
        {execute_at, DENIED},
        {execute_in_later_thread, DENIED},
        {open_and_fork, DONE},
#if defined(__x86_64__) && defined(__LP64__)
        {call_as_i386, DENIED, TRUE},
        {call_as_x32, DENIED},
#endif
    };
    static const char *const names[] = {"execve", "execveat", "later-thread", "others", "i386", "x32"};

    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strconcat("/no-exec/", names[i], NULL);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    return g_test_run();
}
