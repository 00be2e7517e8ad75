/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/ap-sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "ap/text.h"
#include "base/proc.h"

#define AP_BUS         "bus/ap"
#define AP_DEVICES     "bus/ap/devices"
#define MDEV_DEVICES   "bus/mdev/devices"
#define VFIO_AP_MATRIX "devices/vfio_ap/matrix"

/* --- folders and files --------------------------------------------------------------------------- */

static void
close_folder(int *folder)
{
    if (*folder >= 0)
        close(*folder);
}

/* A descriptor that is closed when it goes out of scope; -1: there is no such folder, with errno set. */
#define Folder __attribute__((cleanup(close_folder))) int

static int
open_folder(const char *sysfs_root, const char *path, const char *name)
{
    g_autofree char *full = g_build_filename(sysfs_root, path, name, NULL);

    return open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Returns: (transfer full) (nullable): NULL with errno set. */
static char *
read_text(int folder, const char *name)
{
    gsize length;
    g_autofree char *text = apmig_proc_read(folder, name, APMIG_AP_TEXT_MAX, &length);

    if (text && strlen(text) != length) {
        errno = EBADMSG;
        return NULL;
    }
    return g_steal_pointer(&text);
}

static char *
read_word(int folder, const char *name)
{
    g_autofree char *text = read_text(folder, name);

    return text ? apmig_ap_parse_word(text) : g_strdup("");
}

static ApmigKnown
read_switch(int folder, const char *name)
{
    g_autofree char *text = read_text(folder, name);

    return text ? apmig_ap_parse_switch(text) : APMIG_UNKNOWN;
}

static guint
read_number(int folder, const char *name)
{
    g_autofree char *text = read_text(folder, name);
    guint number = 0;

    return text && apmig_ap_parse_number(text, &number) ? number : 0;
}

static ApmigKnown
read_functions(int folder, guint32 *ret_functions)
{
    g_autofree char *text = read_text(folder, "ap_functions");

    return text && apmig_ap_parse_functions(text, ret_functions) ? APMIG_YES : APMIG_UNKNOWN;
}

static ApmigKnown
read_mask(int folder, const char *name, ApmigApMask *ret_mask)
{
    g_autofree char *text = read_text(folder, name);

    return text ? apmig_ap_parse_mask(text, ret_mask) : APMIG_UNKNOWN;
}

/* The link to the driver that a device is bound to. */
static char *
read_driver(int folder)
{
    g_autofree char *target = apmig_proc_read_link(folder, "driver");

    return target ? g_path_get_basename(target) : g_strdup("");
}

static char *
read_override(int folder)
{
    g_autofree char *text = read_text(folder, "driver_override");

    return text ? apmig_ap_parse_driver_override(text) : g_strdup("");
}

/* --- cards and queues ---------------------------------------------------------------------------- */

static ApmigApCard *
read_card(int folder, guint adapter)
{
    ApmigApCard *card = apmig_ap_card_new(adapter);

    g_free(card->type);
    card->type = read_word(folder, "type");
    card->hwtype = read_number(folder, "hwtype");
    card->raw_hwtype = read_number(folder, "raw_hwtype");
    card->has_functions = read_functions(folder, &card->functions);
    card->online = read_switch(folder, "online");
    card->config = read_switch(folder, "config");
    card->chkstop = read_switch(folder, "chkstop");
    return card;
}

static ApmigApQueue *
read_queue(int folder, const ApmigApqn *number)
{
    ApmigApQueue *queue = apmig_ap_queue_new(number->adapter, number->domain);
    g_autofree char *status = read_text(folder, "status");

    g_free(queue->driver);
    queue->driver = read_driver(folder);
    g_free(queue->driver_override);
    queue->driver_override = read_override(folder);
    queue->has_functions = read_functions(folder, &queue->functions);
    queue->online = read_switch(folder, "online");
    queue->config = read_switch(folder, "config");
    queue->chkstop = read_switch(folder, "chkstop");
    if (status)
        queue->status = apmig_ap_parse_status(status);
    return queue;
}

static gpointer
read_card_named(const char *sysfs_root, const char *name)
{
    Folder folder = open_folder(sysfs_root, AP_DEVICES, name);
    guint adapter;

    return folder >= 0 && apmig_ap_parse_card_name(name, &adapter) ? read_card(folder, adapter) : NULL;
}

static gpointer
read_queue_named(const char *sysfs_root, const char *name)
{
    Folder folder = open_folder(sysfs_root, AP_DEVICES, name);
    ApmigApqn number;

    return folder >= 0 && apmig_ap_parse_queue_name(name, &number) ? read_queue(folder, &number) : NULL;
}

/* --- mediated devices ---------------------------------------------------------------------------- */

/* Only a UUID becomes a path. Returns: a descriptor; -1 with errno set. */
static int
open_device(const char *sysfs_root, const char *uuid)
{
    g_autofree char *lower = NULL;

    if (!g_uuid_string_is_valid(uuid)) {
        errno = ENOENT;
        return -1;
    }
    lower = g_ascii_strdown(uuid, -1);
    return open_folder(sysfs_root, MDEV_DEVICES, lower);
}

/* What @error means for the question whether something is there. */
static ApmigKnown
known_from_errno(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ENODEV ? APMIG_NO : APMIG_UNKNOWN;
}

static ApmigKnown
is_ap_device(int folder)
{
    return faccessat(folder, "matrix", F_OK, 0) == 0 ? APMIG_YES : known_from_errno(errno);
}

static ApmigScope *
read_device_scope(int folder)
{
    g_autofree char *text = read_text(folder, "guest_matrix");

    if (!text && errno == ENOENT)
        text = read_text(folder, "matrix");
    return text ? apmig_ap_parse_matrix(text, NULL, NULL) : NULL;
}

static gboolean
read_device_config(int folder, ApmigApDevice *device)
{
    g_autofree char *config = read_text(folder, "ap_config");
    g_autofree char *matrix = read_text(folder, "matrix");
    g_autofree char *control_domains = read_text(folder, "control_domains");
    g_autoptr(ApmigScope) queues = NULL;

    if (config)
        return apmig_ap_parse_config(config, &device->adapters, &device->domains, &device->control_domains);
    if (!matrix || !control_domains ||
        !apmig_ap_parse_control_domains(control_domains, &device->control_domains))
        return FALSE;
    queues = apmig_ap_parse_matrix(matrix, &device->adapters, &device->domains);
    return queues != NULL;
}

static gpointer
read_device(const char *sysfs_root, const char *name)
{
    Folder folder = open_device(sysfs_root, name);
    g_autofree char *uuid = g_ascii_strdown(name, -1);
    ApmigApDevice *device;

    if (folder < 0 || is_ap_device(folder) != APMIG_YES)
        return NULL;
    device = apmig_ap_device_new(uuid);
    device->queues = read_device_scope(folder);
    if (read_device_config(folder, device))
        device->has_config = APMIG_YES;
    return device;
}

static gpointer
read_scope(const char *sysfs_root, const char *uuid)
{
    Folder folder = open_device(sysfs_root, uuid);

    return folder >= 0 && is_ap_device(folder) == APMIG_YES ? read_device_scope(folder) : NULL;
}

ApmigKnown
apmig_ap_is_device(const char *sysfs_root, const char *uuid)
{
    Folder folder = open_device(sysfs_root, uuid);

    return folder >= 0 ? is_ap_device(folder) : known_from_errno(errno);
}

ApmigScope *
apmig_ap_device_scope(ApmigSysfs *sysfs, const char *uuid)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autoptr(GPtrArray) scopes = NULL;

    g_ptr_array_add(names, (char *)uuid);
    scopes = apmig_sysfs_read(sysfs, names, read_scope, (GDestroyNotify)apmig_scope_unref, NULL);
    return scopes->len ? g_ptr_array_steal_index(scopes, 0) : NULL;
}

/* --- the host ------------------------------------------------------------------------------------ */

static gint
compare_cards(gconstpointer a, gconstpointer b)
{
    const ApmigApCard *first = *(ApmigApCard *const *)a, *second = *(ApmigApCard *const *)b;

    return (gint)first->adapter - (gint)second->adapter;
}

static gint
compare_queues(gconstpointer a, gconstpointer b)
{
    const ApmigApQueue *first = *(ApmigApQueue *const *)a, *second = *(ApmigApQueue *const *)b;
    gint adapters = (gint)first->adapter - (gint)second->adapter;

    return adapters != 0 ? adapters : (gint)first->domain - (gint)second->domain;
}

static gint
compare_devices(gconstpointer a, gconstpointer b)
{
    const ApmigApDevice *first = *(ApmigApDevice *const *)a, *second = *(ApmigApDevice *const *)b;

    return strcmp(first->uuid, second->uuid);
}

static void
read_bus(int folder, ApmigApHost *host)
{
    ApmigKnown usage = read_mask(folder, "ap_usage_domain_mask", &host->usage_domains);
    ApmigKnown control = read_mask(folder, "ap_control_domain_mask", &host->control_domains);

    if (usage == control)
        host->has_masks = usage;
    if (read_mask(folder, "apmask", &host->adapters_default) == APMIG_YES &&
        read_mask(folder, "aqmask", &host->domains_default) == APMIG_YES)
        host->has_default_masks = APMIG_YES;
}

static gboolean
read_can_migrate(const char *sysfs_root)
{
    Folder folder = open_folder(sysfs_root, VFIO_AP_MATRIX, NULL);
    g_autofree char *features = folder >= 0 ? read_text(folder, "features") : NULL;

    return features && apmig_ap_has_feature(features, "migratable");
}

/* Returns: (transfer full): the names of a folder's entries; one that is not there has none. */
static GPtrArray *
list_entries(const char *sysfs_root, const char *path)
{
    g_autofree char *full = g_build_filename(sysfs_root, path, NULL);
    g_autoptr(GDir) folder = g_dir_open(full, 0, NULL);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (folder && (name = g_dir_read_name(folder)) != NULL)
        g_ptr_array_add(names, g_strdup(name));
    return names;
}

static void
take_all(GPtrArray *into, GPtrArray *from)
{
    while (from->len)
        g_ptr_array_add(into, g_ptr_array_steal_index_fast(from, from->len - 1));
}

static void
read_devices(ApmigSysfs *sysfs, ApmigApHost *host)
{
    g_autoptr(GPtrArray) names = list_entries(apmig_sysfs_root(sysfs), MDEV_DEVICES);
    g_autoptr(GPtrArray) unread = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) devices =
        apmig_sysfs_read(sysfs, names, read_device, (GDestroyNotify)apmig_ap_device_free, unread);

    take_all(host->devices, devices);
    for (guint i = 0; i < unread->len; i++) {
        const char *name = g_ptr_array_index(unread, i);
        g_autofree char *uuid = g_ascii_strdown(name, -1);

        if (apmig_ap_is_device(apmig_sysfs_root(sysfs), name) != APMIG_NO)
            g_ptr_array_add(host->devices, apmig_ap_device_new(uuid));
    }
    g_ptr_array_sort(host->devices, compare_devices);
}

static void
read_cards(ApmigSysfs *sysfs, const GPtrArray *names, ApmigApHost *host)
{
    g_autoptr(GPtrArray) unread = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) cards =
        apmig_sysfs_read(sysfs, names, read_card_named, (GDestroyNotify)apmig_ap_card_free, unread);
    guint adapter;

    take_all(host->cards, cards);
    for (guint i = 0; i < unread->len; i++)
        if (apmig_ap_parse_card_name(g_ptr_array_index(unread, i), &adapter))
            g_ptr_array_add(host->cards, apmig_ap_card_new(adapter));
    g_ptr_array_sort(host->cards, compare_cards);
}

static void
add_unread_queue(ApmigApHost *host, const char *name)
{
    ApmigApqn number;
    ApmigApQueue *queue;

    if (!apmig_ap_parse_queue_name(name, &number))
        return;
    queue = apmig_ap_queue_new(number.adapter, number.domain);
    queue->hangs = TRUE;
    g_ptr_array_add(host->queues, queue);
}

static void
read_queues(ApmigSysfs *sysfs, const GPtrArray *names, ApmigApHost *host)
{
    g_autoptr(GPtrArray) unread = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) queues =
        apmig_sysfs_read(sysfs, names, read_queue_named, (GDestroyNotify)apmig_ap_queue_free, unread);

    take_all(host->queues, queues);
    for (guint i = 0; i < unread->len; i++)
        add_unread_queue(host, g_ptr_array_index(unread, i));
    g_ptr_array_sort(host->queues, compare_queues);
}

static void
read_cards_and_queues(ApmigSysfs *sysfs, ApmigApHost *host)
{
    g_autoptr(GPtrArray) names = list_entries(apmig_sysfs_root(sysfs), AP_DEVICES);
    g_autoptr(GPtrArray) cards = g_ptr_array_new();
    g_autoptr(GPtrArray) queues = g_ptr_array_new();

    for (guint i = 0; i < names->len; i++) {
        char *name = g_ptr_array_index(names, i);
        ApmigApqn number;

        g_ptr_array_add(apmig_ap_parse_queue_name(name, &number) ? queues : cards, name);
    }
    read_cards(sysfs, cards, host);
    read_queues(sysfs, queues, host);
}

ApmigApHost *
apmig_ap_read_host(ApmigSysfs *sysfs)
{
    ApmigApHost *host = apmig_ap_host_new();
    Folder bus = open_folder(apmig_sysfs_root(sysfs), AP_BUS, NULL);

    read_devices(sysfs, host);
    if (bus < 0)
        return host;
    host->present = TRUE;
    read_bus(bus, host);
    read_cards_and_queues(sysfs, host);
    host->can_migrate = read_can_migrate(apmig_sysfs_root(sysfs));
    return host;
}

char *
apmig_ap_read_serial(const char *sysfs_root, guint adapter)
{
    g_autofree char *name = apmig_ap_card_name(adapter);
    Folder folder = open_folder(sysfs_root, AP_DEVICES, name);

    return folder >= 0 ? read_word(folder, "serialnr") : g_strdup("");
}

/* --- master-key verification patterns ------------------------------------------------------------ */

static gboolean G_GNUC_PRINTF(3, 4) fail(GError **error, GIOErrorEnum code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(G_IO_ERROR, (int)code, format, args);
    va_end(args);
    return FALSE;
}

static gboolean
fail_to_read(GError **error, const char *queue)
{
    int saved = errno;

    if (saved == ENOENT)
        return fail(
            error, G_IO_ERROR_NOT_FOUND,
            "Queue %s shows no master-key verification patterns: it is not there, is an accelerator, or "
            "is not bound to cex4queue.",
            queue);
    return fail(error, g_io_error_from_errno(saved),
                "The master-key verification patterns of queue %s could not be read: %s.", queue,
                g_strerror(saved));
}

static gboolean
check_online(int folder, const char *queue, GError **error)
{
    g_autofree char *text = read_text(folder, "online");

    if (!text)
        return fail_to_read(error, queue);
    if (apmig_ap_parse_switch(text) == APMIG_YES)
        return TRUE;
    return fail(
        error, G_IO_ERROR_NOT_CONNECTED,
        "Queue %s is not online, so its master-key verification patterns may be outdated: set it online "
        "with chzcrypt -e %s.",
        queue, queue);
}

static char *
read_between(int folder, const char *queue, GError **error)
{
    g_autofree char *text = NULL;

    if (!check_online(folder, queue, error))
        return NULL;
    text = read_text(folder, "mkvps");
    if (!text) {
        fail_to_read(error, queue);
        return NULL;
    }
    return check_online(folder, queue, error) ? g_steal_pointer(&text) : NULL;
}

char *
apmig_ap_read_mkvps_text(const char *sysfs_root, guint adapter, guint domain, GError **error)
{
    g_autofree char *queue = apmig_ap_queue_name(adapter, domain);
    Folder folder = open_folder(sysfs_root, AP_DEVICES, queue);
    sigset_t all, before;
    char *text;

    if (folder < 0) {
        fail_to_read(error, queue);
        return NULL;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    text = read_between(folder, queue, error);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return text;
}

/* --- what there is at all ------------------------------------------------------------------------ */

gboolean
apmig_ap_has_guest_driver(const char *sysfs_root)
{
    g_autofree char *full = g_build_filename(sysfs_root, AP_BUS, "drivers/vfio_ap", NULL);

    return g_file_test(full, G_FILE_TEST_IS_DIR);
}
