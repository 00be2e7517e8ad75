/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether libvirt's events and hints are alive. What an answer shows first, and no event tells within a second, was missed:
 * from then on, for the rest of this connection, the view says so.
 */
#include "engine/private.h"

#define GRACE_USEC G_USEC_PER_SEC /* how long an event may come after an answer */
/* QEMU tells of each pass over the memory, the first of them at its start. */
#define ITERATION_GRACE_USEC (2 * G_USEC_PER_SEC)

G_GNUC_PRINTF(2, 3)
static void
are_late(ApmigEngine *engine, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    engine->late = g_strdup_vprintf(format, args);
    va_end(args);
    entry_add_locks(
        engine_log(engine, APMIG_LOG_VIEW_LATE, LOG_WARNING, NULL, NULL,
                   "libvirt's events are late or missing: %s; a migration may be seen only when guests are "
                   "asked, every few seconds",
                   engine->late),
        engine, NULL);
}

void
engine_guest_went_unseen(ApmigEngine *engine, const char *name)
{
    if (!engine->late)
        are_late(engine, "guest '%s' is gone, and no event told how", name);
}

void
engine_hints_changed(ApmigEngine *engine, gboolean watched)
{
    if (!watched && !engine->hints_lost)
        entry_add_locks(
            engine_log(
                engine, APMIG_LOG_VIEW_LATE, LOG_WARNING, NULL, NULL,
                "libvirt's status folder was not watched for a while, or is not any more: a migration may "
                "have been seen, or be seen, later than at its beginning"),
            engine, NULL);
    engine->hints_lost = !watched;
}

static void
judge_migration(ApmigEngine *engine, Migration *migration)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, migration->pub.uuid);

    if (!guest || !migration->pub.outgoing)
        return;
    if (migration->unhinted_at && guest->hint_token > migration->began_after)
        migration->unhinted_at = 0;
    if (migration->unhinted_at && engine->now >= migration->unhinted_at + GRACE_USEC)
        are_late(engine, "guest '%s' migrates, and libvirt's status folder did not show it", guest->name);
    else if (migration->data_seen_at && !migration->iterated &&
             engine->now >= migration->data_seen_at + ITERATION_GRACE_USEC)
        are_late(engine, "memory of guest '%s' is sent, and no event told so", guest->name);
}

static void
judge_guest(ApmigEngine *engine, const Guest *guest)
{
    if (guest->unheard_at && engine->now >= guest->unheard_at + GRACE_USEC)
        are_late(engine, "guest '%s' is here, and no event told that it started", guest->name);
}

void
engine_settle_lateness(ApmigEngine *engine)
{
    GHashTableIter iter;
    Guest *guest;

    if (!engine->connected || engine->locks->len == 0)
        return;
    for (guint i = 0; !engine->late && i < engine->migrations->len; i++)
        judge_migration(engine, g_ptr_array_index(engine->migrations, i));
    g_hash_table_iter_init(&iter, engine->guests);
    while (!engine->late && g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        judge_guest(engine, guest);
}

gint64
engine_lateness_next_deadline(const ApmigEngine *engine)
{
    gint64 next = G_MAXINT64;

    if (!engine->connected || engine->locks->len == 0 || engine->late)
        return next;
    for (guint i = 0; i < engine->migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (migration->unhinted_at + GRACE_USEC > engine->now)
            engine_earlier(&next, migration->unhinted_at ? migration->unhinted_at + GRACE_USEC : 0);
        if (migration->data_seen_at && !migration->iterated &&
            migration->data_seen_at + ITERATION_GRACE_USEC > engine->now)
            engine_earlier(&next, migration->data_seen_at + ITERATION_GRACE_USEC);
    }
    return next;
}
