/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/guest.h"

#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void
run_guest(const char *const *args, const int *fds)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    g_ptr_array_add(argv, (gpointer)GUEST_PROGRAM);
    for (guint i = 0; args && args[i]; i++)
        g_ptr_array_add(argv, (gpointer)args[i]);
    g_ptr_array_add(argv, NULL);
    for (guint i = 0; fds[i] != -1; i += 2)
        if (dup2(fds[i], fds[i + 1]) < 0)
            _exit(1);
    execv(GUEST_PROGRAM, (char **)argv->pdata);
    _exit(1);
}

static void
await_ready(const Guest *guest, int wanted)
{
    for (int i = 0; i < 5000 && __atomic_load_n(&guest->page->ready, __ATOMIC_SEQ_CST) < wanted; i++)
        usleep(1000);
    g_assert_cmpint(guest->page->ready, >=, wanted);
}

void
guest_start(Guest *guest, int n_threads, const GuestPage *set_up, const char *const *args, const int *fds)
{
    int all[32] = {0};
    guint n = 0;
    g_autofree char *stat = NULL;
    char letter;

    guest->page_fd = memfd_create("guest-page", MFD_CLOEXEC);
    g_assert_cmpint(guest->page_fd, >=, 0);
    g_assert_cmpint(ftruncate(guest->page_fd, sizeof(GuestPage)), ==, 0);
    guest->page = mmap(NULL, sizeof(GuestPage), PROT_READ | PROT_WRITE, MAP_SHARED, guest->page_fd, 0);
    g_assert_true(guest->page != MAP_FAILED);
    if (set_up)
        *guest->page = *set_up;
    guest->page->n_threads = n_threads;
    all[n++] = guest->page_fd;
    all[n++] = GUEST_PAGE_FD;
    for (guint i = 0; fds && fds[i] != -1; i++)
        all[n++] = fds[i];
    all[n] = -1;
    guest->pid = fork();
    if (guest->pid == 0)
        run_guest(args, all);
    await_ready(guest, set_up && set_up->sleeping ? 2 : 1);
    stat = g_strdup_printf("/proc/%d/stat", guest->pid);
    g_assert_true(apmig_proc_read_stat(AT_FDCWD, stat, &letter, &guest->start_time));
    g_assert_true(guest_runs(guest, 100));
}

void
guest_end(Guest *guest)
{
    if (guest->pid > 0) {
        kill(guest->pid, SIGKILL);
        waitpid(guest->pid, NULL, 0);
    }
    munmap(guest->page, sizeof(GuestPage));
    close(guest->page_fd);
    *guest = (Guest){0};
}

static gint64
count(const Guest *guest)
{
    gint64 sum = __atomic_load_n(&guest->page->made, __ATOMIC_SEQ_CST);

    for (int i = 0; i < GUEST_MAX_THREADS; i++)
        sum += __atomic_load_n(&guest->page->beats[i], __ATOMIC_SEQ_CST);
    return sum;
}

gboolean
guest_runs(const Guest *guest, guint msec)
{
    gint64 before = count(guest);

    g_usleep(msec * 1000);
    return count(guest) != before;
}

gboolean
guest_comes_back(const Guest *guest)
{
    for (int i = 0; i < 100; i++)
        if (guest_runs(guest, 10))
            return TRUE;
    return FALSE;
}

char
guest_letter(const Guest *guest)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", guest->pid);
    guint64 start_time;
    char letter = '?';

    g_assert_true(apmig_proc_read_stat(AT_FDCWD, path, &letter, &start_time));
    return letter;
}

static gboolean
tracing_works(void)
{
    pid_t child = fork();
    gboolean works;

    if (child == 0)
        for (;;)
            pause();
    works = ptrace(PTRACE_SEIZE, child, NULL, NULL) == 0 || errno != ENOSYS;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return works;
}

static void
skip(void)
{
    g_test_skip("there is no ptrace() here, as under QEMU's user-mode emulation");
}

void
guest_add_traced_test(const char *path, GTestFunc test)
{
    g_test_add_func(path, tracing_works() ? test : skip);
}

void
guest_add_traced_data_test(const char *path, gconstpointer data, GTestDataFunc test)
{
    if (tracing_works())
        g_test_add_data_func(path, data, test);
    else
        g_test_add_func(path, skip);
}
