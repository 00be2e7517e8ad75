/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/host-identity.h"

#include <string.h>
#include <systemd/sd-id128.h>

/* Of apmigd's stamps; never to be changed, for then no stamp would be known again. */
static const sd_id128_t stamps =
    SD_ID128_MAKE(3d, 5e, 0c, 61, 9a, 1f, 4b, 7c, 8d, 52, a4, 07, be, 13, 66, f9);

/* Those of /proc/sysinfo that stay, and that no two of them share. VM00 is the innermost guest that this system is. */
static const char *const sysinfo_keys[] = {
    "Manufacturer", "Type", "Sequence Code", "Plant", "LPAR Number", "LPAR UUID", "VM00 Name", "VM00 UUID",
};

static gboolean
is_listed(const char *line)
{
    for (guint i = 0; i < G_N_ELEMENTS(sysinfo_keys); i++)
        if (g_str_has_prefix(line, sysinfo_keys[i]) && line[strlen(sysinfo_keys[i])] == ':')
            return TRUE;
    return FALSE;
}

/* Returns: (transfer full) (nullable) */
static char *
read_sysinfo(const char *proc_root)
{
    g_autofree char *path = g_build_filename(proc_root, "sysinfo", NULL);
    g_autofree char *text = NULL;
    g_autoptr(GString) machine = g_string_new(NULL);
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return NULL;
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (is_listed(*line))
            g_string_append_printf(machine, "%s\n", g_strchomp(*line));
    return machine->len > 0 ? g_string_free(g_steal_pointer(&machine), FALSE) : NULL;
}

/* Firmware that knows none says so with one digit over and over. Returns: (transfer full) (nullable) */
static char *
read_dmi(const char *sysfs_root)
{
    g_autofree char *path = g_build_filename(sysfs_root, "class", "dmi", "id", "product_uuid", NULL);
    g_autofree char *text = NULL;
    g_autofree char *uuid = NULL;
    char digit[] = "-x";

    if (!g_file_get_contents(path, &text, NULL, NULL) || !g_uuid_string_is_valid(g_strstrip(text)))
        return NULL;
    uuid = g_ascii_strdown(text, -1);
    digit[1] = uuid[0];
    return strspn(uuid, digit) == strlen(uuid) ? NULL : g_steal_pointer(&uuid);
}

/* The first half of an HMAC, as sd_id128_get_machine_app_specific() does it. */
static sd_id128_t
mix(sd_id128_t key, const char *machine)
{
    g_autoptr(GHmac) hmac = g_hmac_new(G_CHECKSUM_SHA256, key.bytes, sizeof key.bytes);
    guint8 digest[32];
    gsize length = sizeof digest;
    sd_id128_t id;

    g_hmac_update(hmac, (const guchar *)machine, (gssize)strlen(machine));
    g_hmac_get_digest(hmac, digest, &length);
    memcpy(id.bytes, digest, sizeof id.bytes);
    id.bytes[6] = (id.bytes[6] & 0x0f) | 0x40;
    id.bytes[8] = (id.bytes[8] & 0x3f) | 0x80;
    return id;
}

static char *
format(sd_id128_t id)
{
    return g_strdup_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                           SD_ID128_FORMAT_VAL(id));
}

ApmigHostIdentity *
apmig_host_identity_new(const char *sysfs_root, const char *proc_root)
{
    ApmigHostIdentity *identity = g_new0(ApmigHostIdentity, 1);
    char *sysinfo = read_sysinfo(proc_root);
    g_autofree char *machine = sysinfo ? sysinfo : read_dmi(sysfs_root);
    sd_id128_t id;
    gboolean has_machine_id = sd_id128_get_machine_app_specific(stamps, &id) >= 0;

    identity->name = g_strdup(g_get_host_name());
    identity->basis = "none";
    if (machine) {
        identity->basis = "hardware";
        identity->id = format(mix(has_machine_id ? id : stamps, machine));
    } else if (has_machine_id) {
        identity->basis = "machine-id";
        identity->id = format(id);
    } else {
        identity->no_id =
            "This host has no id, so guests carry no stamps: make one with systemd-machine-id-setup.";
    }
    return identity;
}

void
apmig_host_identity_free(ApmigHostIdentity *identity)
{
    if (!identity)
        return;
    g_free(identity->id);
    g_free(identity->name);
    g_free(identity);
}
