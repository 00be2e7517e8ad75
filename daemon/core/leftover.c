/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/leftover.h"

#include <sys/syslog.h>

#include "ap/find.h"
#include "ap/leftover.h"
#include "base/log.h"

/* A device into which something may be loaded, or was. */
typedef struct {
    char *migration_id;
    char *guest;
    ApmigApDevice *before; /* NULL: not known yet */
    gint64 failed_at;      /* monotonic: when the migration was over; 0: it goes on */
    char *trouble;         /* NULL: nothing was left, or it is not known yet */
} Load;

struct ApmigLeftovers {
    GHashTable *loads; /* UUID of a mediated device -> its Load */
};

static void
load_free(gpointer data)
{
    Load *load = data;

    g_free(load->migration_id);
    g_free(load->guest);
    apmig_ap_device_free(load->before);
    g_free(load->trouble);
    g_free(load);
}

ApmigLeftovers *
apmig_leftovers_new(void)
{
    ApmigLeftovers *leftovers = g_new0(ApmigLeftovers, 1);

    leftovers->loads = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, load_free);
    return leftovers;
}

void
apmig_leftovers_free(ApmigLeftovers *leftovers)
{
    if (!leftovers)
        return;
    g_hash_table_unref(leftovers->loads);
    g_free(leftovers);
}

static void
learn_before(Load *load, const ApmigApDevice *device)
{
    if (!load->before && device && device->has_config == APMIG_YES)
        load->before = apmig_ap_device_copy(device);
}

/* What was left by an earlier one is not what the device is to have. Returns: whether a reading is due. */
static gboolean
expect_load(ApmigLeftovers *leftovers, const ApmigMigration *migration, const char *uuid,
            const ApmigApHost *host)
{
    Load *load = g_hash_table_lookup(leftovers->loads, uuid);

    if (load && g_str_equal(load->migration_id, migration->id))
        return FALSE;
    if (!load) {
        load = g_new0(Load, 1);
        g_hash_table_insert(leftovers->loads, g_strdup(uuid), load);
    }
    g_free(load->migration_id);
    g_free(load->guest);
    load->migration_id = g_strdup(migration->id);
    load->guest = g_strdup(migration->guest);
    load->failed_at = 0;
    if (host)
        learn_before(load, apmig_ap_find_device(host, uuid));
    return !load->before;
}

/* A guest that has come has what was loaded. Returns: whether a reading is due. */
static gboolean
end_loads(ApmigLeftovers *leftovers, const ApmigMigration *migration)
{
    gboolean failed = g_str_equal(migration->result, "aborted") || g_str_equal(migration->result, "failed");
    gboolean any = FALSE;
    GHashTableIter iter;
    Load *load;

    g_hash_table_iter_init(&iter, leftovers->loads);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&load)) {
        if (load->failed_at || !g_str_equal(load->migration_id, migration->id))
            continue;
        if (failed)
            load->failed_at = g_get_monotonic_time();
        else
            g_hash_table_iter_remove(&iter);
        any |= failed;
    }
    return any;
}

gboolean
apmig_leftovers_follow(ApmigLeftovers *leftovers, const ApmigMigration *migration, const ApmigApHost *host)
{
    gboolean due = FALSE;

    if (migration->outgoing)
        return FALSE;
    if (migration->phase == APMIG_MIGRATION_ENDED)
        return end_loads(leftovers, migration);
    for (guint i = 0; migration->devices[i]; i++)
        due |= expect_load(leftovers, migration, migration->devices[i], host);
    return due;
}

/* Returns: whether there is nothing more to be told of it. */
static gboolean
compare(Load *load, const ApmigApDevice *device)
{
    g_autofree char *trouble =
        load->before && device ? apmig_leftover_describe(load->before, device, load->guest) : NULL;

    if (!trouble)
        return TRUE;
    if (!load->trouble)
        apmig_log_entry(
            &(ApmigLogEntry){.log = APMIG_LOG_CONFIG_CHANGED, .priority = LOG_WARNING, .message = trouble});
    g_free(load->trouble);
    load->trouble = g_steal_pointer(&trouble);
    return FALSE;
}

void
apmig_leftovers_read(ApmigLeftovers *leftovers, const ApmigApHost *host, gint64 began_at)
{
    GHashTableIter iter;
    const char *uuid;
    Load *load;

    g_hash_table_iter_init(&iter, leftovers->loads);
    while (g_hash_table_iter_next(&iter, (gpointer *)&uuid, (gpointer *)&load)) {
        const ApmigApDevice *device = apmig_ap_find_device(host, uuid);

        if (!load->failed_at)
            learn_before(load, device);
        else if (began_at >= load->failed_at && compare(load, device))
            g_hash_table_iter_remove(&iter);
    }
}

char *
apmig_leftovers_describe(const ApmigLeftovers *leftovers)
{
    GString *text = g_string_new(NULL);
    GHashTableIter iter;
    const Load *load;

    g_hash_table_iter_init(&iter, leftovers->loads);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&load))
        if (load->trouble && load->failed_at)
            g_string_append_printf(text, "%s%s", text->len > 0 ? " " : "", load->trouble);
    return g_string_free(text, FALSE);
}
