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

void
apmig_device_clear(ApmigDevice *device)
{
    if (device->folder >= 0)
        close(device->folder);
    g_free(device->uuid);
    g_free(device->group);
    g_clear_pointer(&device->descriptors, g_array_unref);
}

/* The types of mediated devices are named after the driver, as in "vfio_ap-passthrough" (mdev_type_add() in
 * drivers/vfio/mdev/mdev_sysfs.c). */
static gboolean
has_type_of_vfio_ap(const ApmigDevice *device)
{
    g_autofree char *type = apmig_proc_read_link(device->folder, "mdev_type");
    g_autofree char *name = type ? g_path_get_basename(type) : NULL;

    return name && g_str_has_prefix(name, "vfio_ap-");
}

static gboolean
read_api(ApmigDevice *device, ApmigFenceReply *reply)
{
    g_autofree char *content = apmig_proc_read(device->folder, "mdev_type/device_api", 64, NULL);
    const char *api = content ? g_strchomp(content) : "";

    if (strcmp(api, VFIO_DEVICE_API_AP_STRING) == 0)
        device->api_bit = VFIO_DEVICE_FLAGS_AP;
    else if (strcmp(api, VFIO_DEVICE_API_PCI_STRING) == 0)
        device->api_bit = VFIO_DEVICE_FLAGS_PCI;
    else
        return apmig_fence_reply_set(
            reply, APMIG_FENCE_REFUSED, 0,
            "The mediated device %s is of the kind \"%s\", which apmigd does not deal with.", device->uuid,
            api);
    if (device->api_bit == VFIO_DEVICE_FLAGS_AP || has_type_of_vfio_ap(device))
        device->driver = APMIG_DRIVER_VFIO_AP;
    return TRUE;
}

static gboolean
read_sysfs(const ApmigFencePaths *paths, const char *uuid, ApmigDevice *device, ApmigFenceReply *reply)
{
    g_autofree char *path = NULL, *group = NULL, *number = NULL;

    device->uuid = g_ascii_strdown(uuid, -1);
    path = g_build_filename(paths->sysfs_root, "bus/mdev/devices", device->uuid, NULL);
    device->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (device->folder < 0)
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, errno,
                                     "There is no mediated device %s on this host: %s.", device->uuid,
                                     g_strerror(errno));
    group = apmig_proc_read_link(device->folder, "iommu_group");
    if (group) {
        number = g_path_get_basename(group);
        device->group = g_strconcat("/dev/vfio/", number, NULL);
    }
    return read_api(device, reply);
}

/* --- finding the device's descriptor ------------------------------------------------------------- */

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

/* Where fdinfo has it: which one it is. */
static gboolean
is_another(const ApmigProcess *process, const ApmigDevice *device, int number)
{
    g_autofree char *path = g_strdup_printf("fdinfo/%d", number);
    g_autofree char *syspath = apmig_proc_read_field(process->proc, path, "vfio-device-syspath");
    g_autofree char *name = syspath ? g_path_get_basename(syspath) : NULL;

    return name && strcmp(name, device->uuid) != 0;
}

/* Returns: (transfer full) (nullable): "MAJOR:MINOR" of the character device of that name, if it is the device's. */
static char *
read_cdev_number(const ApmigDevice *device, const char *target)
{
    g_autofree char *name = g_path_get_basename(target);
    g_autofree char *path = g_build_filename("vfio-dev", name, "dev", NULL);
    char *number =
        g_str_has_prefix(target, CDEV_FOLDER "vfio") ? apmig_proc_read(device->folder, path, 64, NULL) : NULL;

    return number ? g_strchomp(number) : NULL;
}

static gboolean
may_be_it(const ApmigProcess *process, const ApmigDevice *device, int number, const char *target)
{
    g_autofree char *cdev = read_cdev_number(device, target);

    return cdev || (strcmp(target, GROUP_DEVICE) == 0 && !is_another(process, device, number));
}

static gboolean
check_found(const ApmigProcess *process, const ApmigDevice *device, gboolean through_group,
            gboolean holds_group, ApmigFenceReply *reply)
{
    if (device->descriptors->len == 0)
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, 0,
                                     "Process %d holds no descriptor of the mediated device %s.",
                                     process->pid, device->uuid);
    if (through_group && !holds_group)
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, 0,
                                     "Process %d holds a VFIO device, but not the IOMMU group of %s.",
                                     process->pid, device->uuid);
    return TRUE;
}

gboolean
apmig_device_find(const ApmigProcess *process, const ApmigFencePaths *paths, const char *uuid,
                  ApmigDevice *device, ApmigFenceReply *reply)
{
    g_autoptr(GArray) numbers = NULL;
    gboolean through_group = FALSE, holds_group = FALSE;

    if (!read_sysfs(paths, uuid, device, reply) || !(numbers = list_descriptors(process, reply)))
        return FALSE;
    device->descriptors = g_array_new(FALSE, FALSE, sizeof(int));
    for (guint i = 0; i < numbers->len; i++) {
        int number = g_array_index(numbers, int, i);
        g_autofree char *target = descriptor_target(process, number);

        holds_group |= device->group && strcmp(target, device->group) == 0;
        if (!may_be_it(process, device, number, target))
            continue;
        through_group |= strcmp(target, GROUP_DEVICE) == 0;
        g_array_append_val(device->descriptors, number);
    }
    return check_found(process, device, through_group, holds_group, reply);
}

/* --- opening it ---------------------------------------------------------------------------------- */

static gboolean
is_character_device(int fd, const char *number)
{
    g_autofree char *own = NULL;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
        return FALSE;
    own = g_strdup_printf("%u:%u", major(st.st_rdev), minor(st.st_rdev));
    return strcmp(own, number) == 0;
}

/* QEMU's /dev may be its own: what counts is that the character device is the one sysfs names. Of any other the kind is
 * what there is to see. */
static gboolean
is_it(const ApmigProcess *process, const ApmigDevice *device, int number, int fd, guint32 *ret_flags)
{
    g_autofree char *target = descriptor_target(process, number);
    g_autofree char *cdev = read_cdev_number(device, target);
    guint32 flags = 0;

    if ((cdev && !is_character_device(fd, cdev)) || apmig_vfio_get_info(fd, &flags) != 0 ||
        !(flags & device->api_bit))
        return FALSE;
    *ret_flags = flags;
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

static gboolean
check_opened(const ApmigProcess *process, const ApmigDevice *device, int fd, guint n, ApmigFenceReply *reply)
{
    if (n == 0)
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, 0,
                                     "Process %d holds no descriptor of the mediated device %s.",
                                     process->pid, device->uuid);
    if (n > 1)
        return apmig_fence_reply_set(
            reply, APMIG_FENCE_REFUSED, 0,
            "Process %d holds %u VFIO devices of the same kind, and this kernel does not tell "
            "which of them is %s.",
            process->pid, n, device->uuid);
    return check_migration(fd, device->uuid, reply);
}

gboolean
apmig_device_open(const ApmigProcess *process, const ApmigDevice *device, int *ret_fd, guint32 *ret_flags,
                  ApmigFenceReply *reply)
{
    int found = -1;
    guint n = 0;

    for (guint i = 0; i < device->descriptors->len; i++) {
        int number = g_array_index(device->descriptors, int, i);
        int fd = apmig_process_duplicate(process, number);

        if (fd < 0)
            continue;
        if (is_it(process, device, number, fd, ret_flags) && ++n == 1)
            found = fd;
        else
            close(fd);
    }
    if (!check_opened(process, device, found, n, reply)) {
        if (found >= 0)
            close(found);
        return FALSE;
    }
    *ret_fd = found;
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
apmig_device_look(const ApmigProcess *process, ApmigLook *look, ApmigFenceReply *reply)
{
    g_autoptr(GArray) numbers = list_descriptors(process, reply);

    apmig_look_clear(look);
    for (guint i = 0; numbers && i < numbers->len; i++)
        look_at_descriptor(process, g_array_index(numbers, int, i), look);
    return numbers != NULL;
}

void
apmig_look_clear(ApmigLook *look)
{
    g_free(look->unknown);
    *look = (ApmigLook){0};
}
