/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/listing.h"

#include <stdlib.h>
#include <string.h>

#include <libvirt/virterror.h>

#include "libvirt/domain.h"

#define SUFFIX    ".xml"
#define MAX_FILES 65536 /* in the folder, of whatever kind; it is libvirt's, and has four for each guest */

/* libvirt lets go of a guest that stops for a moment between taking it from the list and removing its file
 * (qemuProcessStop()); and one may stop and start again while the list is made. */
#define ATTEMPTS   4
#define PAUSE_USEC (100 * G_TIME_SPAN_MILLISECOND)

/* --- the status folder --------------------------------------------------------------------------- */

/* Returns: (transfer full) (nullable): a set of names; NULL: not known */
static GHashTable *
read_names(const char *status_dir)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GDir) dir = status_dir ? g_dir_open(status_dir, 0, NULL) : NULL;
    const char *file;

    if (!dir)
        return NULL;
    for (guint i = 0; (file = g_dir_read_name(dir)); i++) {
        if (i == MAX_FILES)
            return NULL;
        if (g_str_has_suffix(file, SUFFIX))
            g_hash_table_add(names, g_strndup(file, strlen(file) - strlen(SUFFIX)));
    }
    return g_steal_pointer(&names);
}

/* @before, @after: (nullable). Returns: (transfer full) (nullable): a name that is in both, and not in @guests. */
static char *
find_missing(GHashTable *before, GHashTable *after, const GArray *guests)
{
    GHashTableIter iter;
    char *name;

    if (!before || !after)
        return NULL;
    for (guint i = 0; i < guests->len; i++)
        g_hash_table_remove(after, g_array_index(guests, ApmigGuestName, i).name);
    g_hash_table_iter_init(&iter, after);
    while (g_hash_table_iter_next(&iter, (gpointer *)&name, NULL))
        if (g_hash_table_contains(before, name))
            return g_strdup(name);
    return NULL;
}

static void
set_missing(const char *name, const char *status_dir, GError **error)
{
    g_autofree char *valid = g_utf8_make_valid(name, -1);

    g_set_error(
        error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
        "libvirt does not list guest '%s', which runs here by %s/%s" SUFFIX
        ": let libvirt's access driver (access_drivers in libvirtd.conf or virtqemud.conf) show every "
        "guest to apmigd, or restart libvirt's daemon if the guest does not run",
        valid, status_dir, valid);
}

/* --- libvirt's list ------------------------------------------------------------------------------ */

static void
guest_name_clear(gpointer data)
{
    ApmigGuestName *guest = data;

    g_free((char *)guest->uuid);
    g_free((char *)guest->name);
}

static GArray *
ask_list(ApmigLibvirtConnection *connection, GError **error)
{
    virDomainPtr *domains = NULL;
    int n_domains = virConnectListAllDomains(apmig_libvirt_connection_handle(connection), &domains,
                                             VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    GArray *guests;

    if (n_domains < 0) {
        apmig_domain_set_unavailable(error);
        return NULL;
    }
    guests = g_array_sized_new(FALSE, FALSE, sizeof(ApmigGuestName), n_domains);
    g_array_set_clear_func(guests, guest_name_clear);
    for (int i = 0; i < n_domains; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN] = "";
        ApmigGuestName guest;

        virDomainGetUUIDString(domains[i], uuid);
        guest.uuid = g_strdup(uuid);
        guest.name = g_strdup(virDomainGetName(domains[i]));
        g_array_append_val(guests, guest);
        virDomainFree(domains[i]);
    }
    free(domains); /* libvirt's, from malloc() */
    return guests;
}

/* @ret_missing: (out) (transfer full): a name, with a list in which it is not */
static GArray *
try_list(ApmigLibvirtConnection *connection, const char *status_dir, char **ret_missing, GError **error)
{
    g_autoptr(GHashTable) before = read_names(status_dir);
    GArray *guests = ask_list(connection, error);
    g_autoptr(GHashTable) after = guests ? read_names(status_dir) : NULL;

    *ret_missing = guests ? find_missing(before, after, guests) : NULL;
    return guests;
}

GArray *
apmig_libvirt_list(ApmigLibvirtConnection *connection, const char *status_dir, GError **error)
{
    for (guint attempt = 1;; attempt++) {
        g_autofree char *missing = NULL;
        g_autoptr(GArray) guests = try_list(connection, status_dir, &missing, error);

        if (!missing)
            return g_steal_pointer(&guests);
        if (attempt == ATTEMPTS) {
            set_missing(missing, status_dir, error);
            return NULL;
        }
        g_usleep(PAUSE_USEC);
    }
}
