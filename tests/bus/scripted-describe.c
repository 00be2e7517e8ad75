/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scripted-private.h"

#include <string.h>

/* Nothing is read there: the stamps of scripted guests tell of locks alone. */
#define NO_SYSFS "/nonexistent"

static char *
make_xml(const ApmigGuestFacts *facts, const char *uuid, const char *name)
{
    GString *xml = g_string_new(NULL);
    g_autofree char *head = g_markup_printf_escaped("<domain><name>%s</name><uuid>%s</uuid>", name, uuid);

    g_string_append(xml, head);
    if (facts->affected == APMIG_AFFECTED_YES && !facts->devices[0])
        g_string_append_printf(
            xml, "<metadata><apmigd:keys xmlns:apmigd='" APMIG_KEYS_NAMESPACE "' scope='%s'/></metadata>",
            apmig_scope_to_string(facts->scope));
    g_string_append(xml, "<devices>");
    for (guint i = 0; facts->devices[i]; i++)
        g_string_append_printf(xml,
                               "<hostdev mode='subsystem' type='mdev' model='vfio-ap'><source>"
                               "<address uuid='%s'/></source></hostdev>",
                               facts->devices[i]);
    g_string_append(xml, "</devices></domain>");
    return g_string_free(xml, FALSE);
}

char *
apmig_scripted_describe(const ApmigGuestFacts *facts, const char *uuid, const char *name,
                        const ApmigStampOrder *order, GError **error)
{
    g_autofree char *xml = make_xml(facts, uuid, name);
    g_autoptr(ApmigGuest) guest = apmig_guest_parse(xml, strlen(xml), error);
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(NO_SYSFS);
    g_autoptr(ApmigStampHost) host = apmig_stamp_host_new(sysfs);

    return guest ? apmig_stamp_describe(xml, guest, host, order, error) : NULL;
}
