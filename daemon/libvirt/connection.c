/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/connection.h"

#include <string.h>

#include <libvirt/virterror.h>

#include "base/error.h"

#define MAX_MESSAGE_BYTES 400
#define MAX_DOMAINS       8192 /* remembered; more are forgotten, and looked up anew */

#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT      3

struct ApmigLibvirtConnection {
    char *uri;
    ApmigLibvirtAccess access;
    virConnectPtr handle; /* NULL: closed */
    GHashTable *domains;  /* uuid -> virDomainPtr, of @handle, which they keep from being closed */
};

char *
apmig_libvirt_error_message(void)
{
    g_autofree char *valid = g_utf8_make_valid(virGetLastErrorMessage(), -1);

    if (strlen(valid) > MAX_MESSAGE_BYTES) {
        char *end = g_utf8_find_prev_char(valid, valid + MAX_MESSAGE_BYTES + 1);
        *end = '\0';
    }
    for (char *p = valid, *next; *p != '\0'; p = next) {
        next = g_utf8_next_char(p);
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            memset(p, ' ', next - p);
    }
    return g_steal_pointer(&valid);
}

virConnectPtr
apmig_libvirt_open(const char *uri, ApmigLibvirtAccess access, GError **error)
{
    virConnectPtr handle =
        access == APMIG_LIBVIRT_READ_ONLY ? virConnectOpenReadOnly(uri) : virConnectOpen(uri);

    if (!handle) {
        g_autofree char *message = apmig_libvirt_error_message();
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                    "cannot connect to libvirt at %s: %s", uri, message);
        return NULL;
    }
    /* A driver without a daemon has no keepalive, nor a need for it. */
    virConnectSetKeepAlive(handle, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT);
    return handle;
}

static void
domain_free(gpointer data)
{
    virDomainFree(data);
}

ApmigLibvirtConnection *
apmig_libvirt_connection_new(const char *uri, ApmigLibvirtAccess access)
{
    ApmigLibvirtConnection *connection = g_new0(ApmigLibvirtConnection, 1);

    connection->uri = g_strdup(uri);
    connection->access = access;
    connection->domains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, domain_free);
    return connection;
}

static void
close_handle(ApmigLibvirtConnection *connection)
{
    apmig_libvirt_connection_forget_all(connection);
    g_clear_pointer(&connection->handle, virConnectClose);
}

void
apmig_libvirt_connection_free(ApmigLibvirtConnection *connection)
{
    if (!connection)
        return;
    close_handle(connection);
    g_hash_table_unref(connection->domains);
    g_free(connection->uri);
    g_free(connection);
}

gboolean
apmig_libvirt_connection_open(ApmigLibvirtConnection *connection, GError **error)
{
    if (connection->handle && virConnectIsAlive(connection->handle) == 0)
        close_handle(connection);
    if (!connection->handle)
        connection->handle = apmig_libvirt_open(connection->uri, connection->access, error);
    return connection->handle != NULL;
}

virConnectPtr
apmig_libvirt_connection_handle(const ApmigLibvirtConnection *connection)
{
    return connection->handle;
}

virDomainPtr
apmig_libvirt_connection_find(ApmigLibvirtConnection *connection, const char *uuid)
{
    virDomainPtr domain = g_hash_table_lookup(connection->domains, uuid);

    if (!domain) {
        domain = virDomainLookupByUUIDString(connection->handle, uuid);
        if (!domain)
            return NULL;
        if (g_hash_table_size(connection->domains) >= MAX_DOMAINS)
            apmig_libvirt_connection_forget_all(connection);
        g_hash_table_insert(connection->domains, g_strdup(uuid), domain);
    }
    virDomainRef(domain);
    return domain;
}

virDomainPtr
apmig_libvirt_connection_look_up(ApmigLibvirtConnection *connection, const char *guest, GError **error)
{
    virDomainPtr domain = g_uuid_string_is_valid(guest)
                              ? virDomainLookupByUUIDString(connection->handle, guest)
                              : virDomainLookupByName(connection->handle, guest);
    g_autofree char *message = NULL;

    if (domain)
        return domain;
    if (virGetLastErrorCode() == VIR_ERR_NO_DOMAIN) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_NO_SUCH_GUEST, "libvirt knows no guest '%s' on this host",
                    guest);
        return NULL;
    }
    message = apmig_libvirt_error_message();
    g_set_error_literal(error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, message);
    return NULL;
}

void
apmig_libvirt_connection_forget(ApmigLibvirtConnection *connection, const char *uuid)
{
    g_hash_table_remove(connection->domains, uuid);
}

void
apmig_libvirt_connection_forget_all(ApmigLibvirtConnection *connection)
{
    g_hash_table_remove_all(connection->domains);
}
