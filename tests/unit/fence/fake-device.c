/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/fake-device.h"

#include "base/proc.h"
#include "fence/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Returns: 0, or errno: ENOTTY when @fd is no device. */
static int
load(int fd, FakeDevice *device)
{
    g_autofree char *content = NULL;
    const char *file = g_getenv(FAKE_CDEV_FILE);
    struct stat st;
    ssize_t n = 0;

    if (fstat(fd, &st) < 0)
        return errno;
    if (S_ISCHR(st.st_mode) && file)
        n = g_file_get_contents(file, &content, NULL, NULL) ? sizeof *device : 0;
    else if (S_ISREG(st.st_mode))
        n = pread(fd, device, sizeof *device, 0);
    if (content)
        *device = *(FakeDevice *)(gpointer)content;
    return n == sizeof *device && device->magic == FAKE_DEVICE_MAGIC ? 0 : ENOTTY;
}

static void
save(int fd, const FakeDevice *device)
{
    const char *file = g_getenv(FAKE_CDEV_FILE);
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode))
        fd = open(file, O_WRONLY | O_CLOEXEC);
    if (pwrite(fd, device, sizeof *device, 0) != sizeof *device)
        abort();
}

static gboolean
is_a_task_stopped(void)
{
    const char *pid = g_getenv(FAKE_GUEST);
    g_autofree char *folder = g_strdup_printf("/proc/%s/task", pid ? pid : "0");
    g_autoptr(GArray) tids = apmig_proc_read_numbers(AT_FDCWD, folder, 1000);

    for (guint i = 0; tids && i < tids->len; i++) {
        g_autofree char *path = g_strdup_printf("%s/%d/stat", folder, g_array_index(tids, int, i));
        guint64 start_time;
        char letter;

        if (apmig_proc_read_stat(AT_FDCWD, path, &letter, &start_time) && letter == 't')
            return TRUE;
    }
    return FALSE;
}

int
apmig_vfio_get_info(int fd, guint32 *ret_flags)
{
    FakeDevice device;
    int error = load(fd, &device);

    if (error != 0)
        return error;
    *ret_flags = device.info_flags;
    return device.info_errno;
}

int
apmig_vfio_get_migration(int fd, guint64 *ret_flags)
{
    FakeDevice device;
    int error = load(fd, &device);

    if (error != 0)
        return error;
    *ret_flags = device.migration_flags;
    return device.migration_errno;
}

int
apmig_vfio_get_state(int fd, ApmigVfioState *ret_state)
{
    FakeDevice device;
    int error = load(fd, &device);

    if (error != 0)
        return error;
    device.n_gets++;
    device.stopped |= is_a_task_stopped();
    save(fd, &device);
    g_usleep(device.get_msec * 1000);
    *ret_state = apmig_vfio_state_from_kernel(device.state);
    return device.get_errno;
}

int
apmig_vfio_set_state(int fd, ApmigVfioState state)
{
    FakeDevice device;
    int error = load(fd, &device);

    if (error != 0)
        return error;
    device.n_sets++;
    device.last_set = state;
    device.stopped |= is_a_task_stopped();
    device.in_set = 1;
    save(fd, &device);
    g_usleep(device.set_msec * 1000);
    device.in_set = 0;
    if (device.set_errno != 0)
        device.state = device.state_after_failure;
    else if (!device.ignores_set)
        device.state = state;
    save(fd, &device);
    return device.set_errno;
}
