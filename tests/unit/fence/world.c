/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/world.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the world ------------------------------------------------------------------------------------ */

char *
path_of(const Fixture *f, const char *format, ...)
{
    g_autofree char *name = NULL;
    va_list args;

    va_start(args, format);
    name = g_strdup_vprintf(format, args);
    va_end(args);
    return g_build_filename(f->root, name, NULL);
}

static void
make_folder_of(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
}

void
write_file(const char *path, const char *content)
{
    make_folder_of(path);
    g_assert_true(g_file_set_contents(path, content, -1, NULL));
}

static void
make_link(const char *path, const char *target)
{
    make_folder_of(path);
    unlink(path);
    g_assert_cmpint(symlink(target, path), ==, 0);
}

void
set_descriptor(const Fixture *f, int number, const char *target, const char *info)
{
    g_autofree char *link = path_of(f, "proc/%d/fd/%d", f->guest.pid, number);
    g_autofree char *file = path_of(f, "proc/%d/fdinfo/%d", f->guest.pid, number);

    make_link(link, target);
    write_file(file, info);
}

void
unset_descriptor(const Fixture *f, int number)
{
    g_autofree char *link = path_of(f, "proc/%d/fd/%d", f->guest.pid, number);

    g_assert_cmpint(unlink(link), ==, 0);
}

void
set_pid_file(const Fixture *f, int pid)
{
    g_autofree char *path = path_of(f, "run/g1.pid");
    g_autofree char *content = g_strdup_printf("%d\n", pid);

    write_file(path, content);
}

static void
make_proc(const Fixture *f)
{
    static const char *const names[] = {"stat", "cmdline", "task", "status"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *link = path_of(f, "proc/%d/%s", f->guest.pid, names[i]);
        g_autofree char *target = g_strdup_printf("/proc/%d/%s", f->guest.pid, names[i]);

        make_link(link, target);
    }
    set_descriptor(f, 0, "/dev/null", SAVING);
    set_descriptor(f, 5, "anon_inode:[eventfd]", LOADING);
    set_descriptor(f, 6, "anon_inode:kvm-vcpu:0", LOADING);
    set_descriptor(f, 7, "/dev/vfio/vfio", LOADING);
    set_descriptor(f, 8, "/dev/vfio/12", LOADING);
    set_descriptor(f, GUEST_DEVICE_FD, "anon_inode:[vfio-device]", LOADING);
}

static void
make_sys(const Fixture *f)
{
    g_autofree char *group = path_of(f, "sys/bus/mdev/devices/" MDEV "/iommu_group");
    g_autofree char *api = path_of(f, "sys/bus/mdev/devices/" MDEV "/mdev_type/device_api");

    make_link(group, "../../../../kernel/iommu_groups/12");
    write_file(api, "vfio-pci\n");
}

static void
make_device(Fixture *f, int i)
{
    f->device_fd[i] = memfd_create("fake-device", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(f->device_fd[i], sizeof(FakeDevice)), ==, 0);
    f->device[i] = mmap(NULL, sizeof(FakeDevice), PROT_READ | PROT_WRITE, MAP_SHARED, f->device_fd[i], 0);
    *f->device[i] = (FakeDevice){.magic = FAKE_DEVICE_MAGIC,
                                 .info_flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
                                 .migration_flags = VFIO_MIGRATION_STOP_COPY,
                                 .state = VFIO_DEVICE_STATE_RUNNING};
}

void
set_up_with(Fixture *f, const char *const *args)
{
    static const GuestPage page = {0};
    int fds[8], n = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC);

    *f = (Fixture){.peer = (uid_t)-1, .connection = -1};
    f->root = g_dir_make_tmp("fence-helper-XXXXXX", NULL);
    for (int i = 0; i < 2; i++) {
        make_device(f, i);
        fds[n++] = f->device_fd[i];
        fds[n++] = GUEST_DEVICE_FD + i;
    }
    fds[n++] = null;
    fds[n++] = GUEST_SESSION_FD;
    fds[n] = -1;
    guest_start(&f->guest, 6, &page, args, fds);
    close(null);
    make_proc(f);
    make_sys(f);
    set_pid_file(f, f->guest.pid);
    f->request = (ApmigFenceRequest){.header = {APMIG_FENCE_REQUEST_MAGIC, APMIG_FENCE_VERSION},
                                     .verb = APMIG_FENCE_FENCE,
                                     .uuid = UUID,
                                     .name = "g1",
                                     .pid = f->guest.pid,
                                     .start_time = f->guest.start_time,
                                     .device = MDEV,
                                     .direction = APMIG_FENCE_IN};
}

void
set_up(Fixture *f)
{
    static const char *const args[] = {"-name", "guest=g1", "-uuid", UUID, "-S", "-incoming", "defer", NULL};

    set_up_with(f, args);
}

static void
remove_tree(const char *path)
{
    g_autoptr(GDir) folder = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;

    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        remove_tree(child);
    }
    g_remove(path);
}

void
tear_down(Fixture *f)
{
    guest_end(&f->guest);
    for (int i = 0; i < 2; i++) {
        munmap(f->device[i], sizeof(FakeDevice));
        close(f->device_fd[i]);
    }
    remove_tree(f->root);
    g_free(f->root);
    g_free(f->cdev);
}

/* --- the helper ----------------------------------------------------------------------------------- */

static void
run_helper(const Fixture *f, int connection)
{
    g_autofree char *proc = g_strconcat("--proc-root=", f->root, "/proc", NULL);
    g_autofree char *sys = g_strconcat("--sysfs-root=", f->root, "/sys", NULL);
    g_autofree char *run = g_strconcat("--pid-dir=", f->root, "/run", NULL);
    g_autofree char *locks = g_strconcat("--lock-dir=", f->root, NULL);
    g_autofree char *pid = g_strdup_printf("%d", f->guest.pid);
    g_autofree char *end = path_of(f, "end");

    if (f->failpoint) {
        g_setenv("APMIGD_FAILPOINT", f->failpoint, TRUE);
        g_setenv("APMIGD_FAILPOINT_END", end, TRUE);
    }
    if (f->cdev)
        g_setenv(FAKE_CDEV_FILE, f->cdev, TRUE);
    g_setenv(FAKE_GUEST, pid, TRUE);
    g_unsetenv("JOURNAL_STREAM");
    dup2(connection, STDIN_FILENO);
    execl(HELPER_PROGRAM, HELPER_PROGRAM, proc, sys, run, locks, NULL);
    _exit(127);
}

/* A socket pair carries the credentials of whoever made it. */
static void
make_pair(const Fixture *f, int pair[2])
{
    if (f->peer != (uid_t)-1)
        g_assert_cmpint(seteuid(f->peer), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
    if (f->peer != (uid_t)-1)
        g_assert_cmpint(seteuid(0), ==, 0);
}

void
start_helper(Fixture *f)
{
    int pair[2];

    make_pair(f, pair);
    f->helper = fork();
    if (f->helper == 0)
        run_helper(f, pair[1]);
    close(pair[1]);
    f->connection = pair[0];
}

int
end_helper(Fixture *f)
{
    int status;

    g_assert_cmpint(waitpid(f->helper, &status, 0), ==, f->helper);
    close(f->connection);
    f->connection = -1;
    return status;
}

int
send_packet(Fixture *f, gconstpointer packet, gsize length)
{
    g_autoptr(GError) error = NULL;
    ssize_t n;

    start_helper(f);
    g_assert_cmpint(send(f->connection, packet, length, MSG_NOSIGNAL), ==, (gssize)length);
    n = recv(f->connection, &f->reply, sizeof f->reply, MSG_TRUNC);
    g_assert_cmpint(n, >, 0);
    g_assert_true(apmig_fence_reply_check(&f->reply, (gsize)n, &error));
    g_assert_no_error(error);
    g_assert_true(g_str_has_suffix(f->reply.message, "."));
    g_assert_cmpint(recv(f->connection, &(char){0}, 1, 0), ==, 0); /* one reply, then the end */
    return end_helper(f);
}

void
ask(Fixture *f)
{
    send_packet(f, &f->request, sizeof f->request);
    if (f->reply.result == APMIG_FENCE_FAILED && f->reply.error_number == ETIMEDOUT) {
        g_test_message("asked again: %s", f->reply.message); /* a loaded test machine */
        for (int i = 0; i < 2; i++)
            f->device[i]->n_gets = 0;
        send_packet(f, &f->request, sizeof f->request);
    }
}

void
assert_reply(const Fixture *f, ApmigFenceResult result, ApmigVfioState before, ApmigVfioState after)
{
    g_test_message("%s", f->reply.message);
    g_assert_cmpint(f->reply.result, ==, result);
    g_assert_cmpint(f->reply.before, ==, before);
    g_assert_cmpint(f->reply.after, ==, after);
}

void
assert_untouched(const Fixture *f)
{
    g_assert_cmpuint(f->device[0]->n_sets + f->device[1]->n_sets, ==, 0);
    g_assert_true(guest_comes_back(&f->guest));
}

void
assert_refused(Fixture *f, const char *words)
{
    ask(f);
    assert_reply(f, APMIG_FENCE_REFUSED, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
    g_assert_nonnull(strstr(f->reply.message, words));
    g_assert_cmpint(f->reply.frozen_usec, ==, 0);
    assert_untouched(f);
}

void
be_loading(Fixture *f)
{
    f->device[0]->state = VFIO_DEVICE_STATE_RESUMING;
    set_descriptor(f, GUEST_SESSION_FD, "anon_inode:vfio_ap_mig_file", LOADING);
}

void
be_vfio_ap(Fixture *f)
{
    g_autofree char *api = path_of(f, "sys/bus/mdev/devices/" MDEV "/mdev_type/device_api");

    write_file(api, "vfio-ap\n");
    for (int i = 0; i < 2; i++)
        f->device[i]->info_flags = VFIO_DEVICE_FLAGS_AP | VFIO_DEVICE_FLAGS_RESET;
}
