/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/device.h"

#include "base/proc.h"
#include "fence/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAX_DESCRIPTORS 65536
#define ANON_INODE      "anon_inode:"
#define GROUP_DEVICE    ANON_INODE "[vfio-device]"
#define CDEV_FOLDER     "/dev/vfio/devices/"

/* --- what sysfs says of the mediated device ------------------------------------------------------ */

typedef struct {
    int folder;      /* /sys/bus/mdev/devices/UUID */
    char *uuid;      /* in lower case, as sysfs has it */
    char *group;     /* (nullable): "/dev/vfio/N" */
    guint32 api_bit; /* VFIO_DEVICE_FLAGS_* of its device_api */
} Mdev;

static void
mdev_clear(Mdev *mdev)
{
    if (mdev->folder >= 0)
        close(mdev->folder);
    g_free(mdev->uuid);
    g_free(mdev->group);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Mdev, mdev_clear)

static gboolean
read_api(Mdev *mdev, ApmigFenceReply *reply)
{
    g_autofree char *content = apmig_proc_read(mdev->folder, "mdev_type/device_api", 64, NULL);
    const char *api = content ? g_strchomp(content) : "";

    if (strcmp(api, VFIO_DEVICE_API_AP_STRING) == 0)
        mdev->api_bit = VFIO_DEVICE_FLAGS_AP;
    else if (strcmp(api, VFIO_DEVICE_API_PCI_STRING) == 0)
        mdev->api_bit = VFIO_DEVICE_FLAGS_PCI;
    else
        return apmig_fence_reply_set(
            reply, APMIG_FENCE_REFUSED, 0,
            "The mediated device %s is of the kind \"%s\", which apmigd does not deal with.", mdev->uuid,
            api);
    return TRUE;
}

static gboolean
mdev_read(const ApmigFencePaths *paths, const char *uuid, Mdev *mdev, ApmigFenceReply *reply)
{
    g_autofree char *path = NULL, *group = NULL, *number = NULL;

    mdev->uuid = g_ascii_strdown(uuid, -1);
    path = g_build_filename(paths->sysfs_root, "bus/mdev/devices", mdev->uuid, NULL);
    mdev->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mdev->folder < 0)
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, errno,
                                     "There is no mediated device %s on this host: %s.", mdev->uuid,
                                     g_strerror(errno));
    group = apmig_proc_read_link(mdev->folder, "iommu_group");
    if (group) {
        number = g_path_get_basename(group);
        mdev->group = g_strconcat("/dev/vfio/", number, NULL);
    }
    return read_api(mdev, reply);
}

/* --- finding the device's descriptor ------------------------------------------------------------- */

typedef struct {
    const ApmigProcess *process;
    const Mdev *mdev;
    gboolean holds_group;
    int fd; /* of the one that was found; -1: none yet */
    guint n_found;
} Search;

static gboolean
same_device(int fd, const char *number)
{
    g_autofree char *own = NULL;
    struct stat st;

    if (!number || fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
        return FALSE;
    own = g_strdup_printf("%u:%u", major(st.st_rdev), minor(st.st_rdev));
    return strcmp(own, number) == 0;
}

/* QEMU's /dev may be its own: what counts is that the character device is the one sysfs names. */
static gboolean
is_cdev_of(const Mdev *mdev, const char *target, int fd)
{
    g_autofree char *name = g_path_get_basename(target);
    g_autofree char *path = g_build_filename("vfio-dev", name, "dev", NULL);
    g_autofree char *number = apmig_proc_read(mdev->folder, path, 64, NULL);

    return g_str_has_prefix(name, "vfio") && same_device(fd, number ? g_strchomp(number) : NULL);
}

/* Of any kernel: the kind of the device. Where fdinfo has it: which one it is. */
static gboolean
is_group_device_of(const Search *search, int number, int fd)
{
    g_autofree char *path = g_strdup_printf("fdinfo/%d", number);
    g_autofree char *syspath = apmig_proc_read_field(search->process->proc, path, "vfio-device-syspath");
    g_autofree char *name = syspath ? g_path_get_basename(syspath) : NULL;
    guint32 flags = 0;

    if (name && strcmp(name, search->mdev->uuid) != 0)
        return FALSE;
    return apmig_vfio_get_info(fd, &flags) == 0 && (flags & search->mdev->api_bit);
}

static void
try_descriptor(Search *search, int number, const char *target)
{
    gboolean cdev = g_str_has_prefix(target, CDEV_FOLDER);
    int fd = -1;

    if (cdev || strcmp(target, GROUP_DEVICE) == 0)
        fd = apmig_process_duplicate(search->process, number);
    if (fd < 0)
        return;
    if (!(cdev ? is_cdev_of(search->mdev, target, fd) : is_group_device_of(search, number, fd)) ||
        ++search->n_found > 1)
        close(fd);
    else
        search->fd = fd;
}

static GArray *
list_descriptors(const ApmigProcess *process, ApmigFenceReply *reply)
{
    GArray *numbers = apmig_proc_read_numbers(process->proc, "fd", MAX_DESCRIPTORS);

    if (!numbers)
        apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, errno,
                              "The descriptors of process %d could not be listed: %s.", process->pid,
                              g_strerror(errno));
    return numbers;
}

static char *
descriptor_target(const ApmigProcess *process, int number)
{
    g_autofree char *path = g_strdup_printf("fd/%d", number);
    char *target = apmig_proc_read_link(process->proc, path);

    return target ? target : g_strdup(""); /* it was closed just now */
}

static gboolean
check_found(const Search *search, gboolean through_group, ApmigFenceReply *reply)
{
    const char *uuid = search->mdev->uuid;

    if (search->n_found == 0)
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, 0,
                                     "Process %d holds no descriptor of the mediated device %s.",
                                     search->process->pid, uuid);
    if (search->n_found > 1)
        return apmig_fence_reply_set(
            reply, APMIG_FENCE_REFUSED, 0,
            "Process %d holds %u VFIO devices of the same kind, and this kernel does not tell "
            "which of them is %s.",
            search->process->pid, search->n_found, uuid);
    if (through_group && !search->holds_group)
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, 0,
                                     "Process %d holds a VFIO device, but not the IOMMU group of %s.",
                                     search->process->pid, uuid);
    return TRUE;
}

static gboolean
check_migration(int fd, const char *uuid, ApmigFenceReply *reply)
{
    guint64 flags = 0;
    int error = apmig_vfio_get_migration(fd, &flags);

    if (error == ENOTTY || (error == 0 && !(flags & VFIO_MIGRATION_STOP_COPY)))
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, error,
                                     "The driver of the mediated device %s does not support migration.",
                                     uuid);
    if (error != 0)
        return apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, error,
                                     "Whether the mediated device %s can migrate could not be read: %s.",
                                     uuid, g_strerror(error));
    return TRUE;
}

gboolean
apmig_device_open(const ApmigProcess *process, const ApmigFencePaths *paths, const char *uuid, int *ret_fd,
                  ApmigFenceReply *reply)
{
    g_auto(Mdev) mdev = {.folder = -1};
    Search search = {.process = process, .mdev = &mdev, .fd = -1};
    g_autoptr(GArray) numbers = NULL;
    gboolean through_group = FALSE;

    if (!mdev_read(paths, uuid, &mdev, reply) || !(numbers = list_descriptors(process, reply)))
        return FALSE;
    for (guint i = 0; i < numbers->len; i++) {
        int number = g_array_index(numbers, int, i);
        g_autofree char *target = descriptor_target(process, number);
        guint before = search.n_found;

        search.holds_group |= mdev.group && strcmp(target, mdev.group) == 0;
        try_descriptor(&search, number, target);
        through_group |= search.n_found > before && strcmp(target, GROUP_DEVICE) == 0;
    }
    if (!check_found(&search, through_group, reply) || !check_migration(search.fd, mdev.uuid, reply)) {
        if (search.fd >= 0)
            close(search.fd);
        return FALSE;
    }
    *ret_fd = search.fd;
    return TRUE;
}

/* --- looking ------------------------------------------------------------------------------------- */

gboolean
apmig_device_is_session_name(const char *name)
{
    g_auto(GStrv) words = g_strsplit_set(name, "_-", -1);
    guint n = g_strv_length(words);

    if (strchr(name, '['))
        return FALSE;
    for (guint i = 1; i < n; i++)
        if (g_str_has_prefix(words[i], "mig"))
            return TRUE;
    return n > 1 && strcmp(words[n - 1], "lm") == 0;
}

/* Returns: whether it is one of the kinds without brackets that have nothing to do with VFIO. */
static gboolean
is_other_name(const char *name)
{
    return name[0] == '[' || strcmp(name, "inotify") == 0 || g_str_has_prefix(name, "kvm") ||
           g_str_has_prefix(name, "bpf") || strcmp(name, "btf") == 0 || strcmp(name, "sync_file") == 0;
}

static ApmigSession
session_kind(const ApmigProcess *process, int number)
{
    g_autofree char *path = g_strdup_printf("fdinfo/%d", number);
    g_autofree char *flags = apmig_proc_read_field(process->proc, path, "flags");
    guint64 value;

    if (!flags || !g_ascii_string_to_unsigned(flags, 8, 0, G_MAXUINT32, &value, NULL))
        return APMIG_SESSION_UNCLEAR;
    switch (value & O_ACCMODE) {
    case O_RDONLY:
        return APMIG_SESSION_SAVING;
    case O_WRONLY:
        return APMIG_SESSION_LOADING;
    default:
        return APMIG_SESSION_UNCLEAR;
    }
}

static void
look_at_descriptor(const ApmigProcess *process, int number, ApmigLook *look)
{
    g_autofree char *target = descriptor_target(process, number);
    const char *name = target + strlen(ANON_INODE);
    ApmigSession kind;

    if (!g_str_has_prefix(target, ANON_INODE))
        return;
    if (apmig_device_is_session_name(name)) {
        kind = session_kind(process, number);
        look->session =
            look->session == APMIG_SESSION_NONE || look->session == kind ? kind : APMIG_SESSION_UNCLEAR;
    } else if (!look->unknown && !is_other_name(name)) {
        look->unknown = g_strdup(name);
    }
}

gboolean
apmig_device_look(const ApmigProcess *process, int fd, ApmigLook *look, ApmigFenceReply *reply)
{
    g_autoptr(GArray) numbers = list_descriptors(process, reply);
    int error;

    apmig_look_clear(look);
    if (!numbers)
        return FALSE;
    error = apmig_vfio_get_state(fd, &look->state);
    if (error != 0)
        return apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, error,
                                     "The device's migration state could not be read: %s.",
                                     g_strerror(error));
    for (guint i = 0; i < numbers->len; i++)
        look_at_descriptor(process, g_array_index(numbers, int, i), look);
    return TRUE;
}

void
apmig_look_clear(ApmigLook *look)
{
    g_free(look->unknown);
    *look = (ApmigLook){.state = APMIG_VFIO_UNKNOWN};
}
