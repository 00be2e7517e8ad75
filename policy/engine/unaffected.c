/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unaffected guests that the hook told of and that are on their way: their XML cannot be read while they come in. They are
 * kept in the runtime folder too, for the next run: without it such a guest would be an unknown one, and be waited for.
 */
#include "engine/private.h"

#define ARRIVALS_MAX 4096

/* By its UUID in the engine's table. */
typedef struct {
    gint64
        until; /* boot time until when it is expected; G_MAXINT64: it has come, and counts until it stops */
    gboolean kept; /* the file of its UUID in the runtime folder is its own */
} Arrival;

GHashTable *
engine_new_arrivals(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static ApmigAction *
act_on_file(ApmigEngine *engine, ApmigActionType type, const char *uuid)
{
    ApmigAction *action = engine_act(engine, type);

    action->admission = g_new0(ApmigAdmission, 1);
    action->admission->uuid = g_strdup(uuid);
    action->admission->unaffected = TRUE;
    return action;
}

/* Nobody waits for it. The guest's name is no concern of the next run's, and may be an odd one. */
static void
keep(ApmigEngine *engine, const char *uuid)
{
    ApmigAction *action = act_on_file(engine, APMIG_ACTION_PERSIST_ADMISSION, uuid);

    action->op = ++engine->last_op;
    action->admission->name = g_strdup(uuid);
    action->admission->scope = apmig_scope_new_none();
    action->admission->devices = g_new0(char *, 1);
    action->admission->admitted_at = engine->now;
}

static void
expect(ApmigEngine *engine, const char *uuid, gint64 until, gboolean kept)
{
    Arrival *arrival = g_new(Arrival, 1);

    *arrival = (Arrival){until, kept};
    if (g_hash_table_size(engine->arrivals) >= ARRIVALS_MAX)
        engine_forget_unaffected_all(engine); /* they then count as unknown: waited for, left alone */
    g_hash_table_replace(engine->arrivals, g_strdup(uuid), arrival);
    if (!engine->arrivals_due || until < engine->arrivals_due)
        engine->arrivals_due = until;
}

/* An admission that is open keeps its file. */
void
engine_expect_unaffected(ApmigEngine *engine, const char *uuid, gint64 usec)
{
    gboolean kept =
        engine->loaded && g_uuid_string_is_valid(uuid) && !engine_find_migration(engine, uuid, FALSE);

    expect(engine, uuid, engine->now + usec, kept);
    if (kept)
        keep(engine, uuid);
}

void
engine_load_unaffected(ApmigEngine *engine, const ApmigAdmission *admission, gint64 usec)
{
    const gint64 until = MIN(admission->admitted_at, engine->now) + usec;
    const Arrival *early = g_hash_table_lookup(engine->arrivals, admission->uuid);

    expect(engine, admission->uuid, early ? MAX(early->until, until) : until, TRUE);
    engine->arrivals_are_new = !engine->connected;
}

gboolean
engine_expects_unaffected(const ApmigEngine *engine, const char *uuid)
{
    const Arrival *arrival = g_hash_table_lookup(engine->arrivals, uuid);
    const gint64 until = arrival ? arrival->until : 0;

    return until && engine->now <= until;
}

void
engine_unaffected_has_come(ApmigEngine *engine, const char *uuid)
{
    if (engine_expects_unaffected(engine, uuid))
        ((Arrival *)g_hash_table_lookup(engine->arrivals, uuid))->until = G_MAXINT64;
}

void
engine_forget_unaffected(ApmigEngine *engine, const char *uuid)
{
    const Arrival *arrival = g_hash_table_lookup(engine->arrivals, uuid);

    if (arrival && arrival->kept)
        act_on_file(engine, APMIG_ACTION_REMOVE_ADMISSION, uuid);
    g_hash_table_remove(engine->arrivals, uuid);
}

void
engine_forget_unaffected_all(ApmigEngine *engine)
{
    GHashTableIter iter;
    const char *uuid;
    const Arrival *arrival;

    g_hash_table_iter_init(&iter, engine->arrivals);
    while (g_hash_table_iter_next(&iter, (gpointer *)&uuid, (gpointer *)&arrival))
        if (arrival->kept)
            act_on_file(engine, APMIG_ACTION_REMOVE_ADMISSION, uuid);
    g_hash_table_remove_all(engine->arrivals);
    engine->arrivals_due = 0;
}

/* What an earlier run left is believed by the first view, whose start is no gap: nothing was seen before it. */
void
engine_unaffected_view_started(ApmigEngine *engine)
{
    if (!engine->arrivals_are_new)
        engine_forget_unaffected_all(engine); /* they may have come and gone unseen */
    engine->arrivals_are_new = FALSE;
}

/* Those that did not come in time leave no file. */
void
engine_settle_unaffected(ApmigEngine *engine)
{
    GHashTableIter iter;
    const char *uuid;
    const Arrival *arrival;

    if (!engine->arrivals_due || engine->now <= engine->arrivals_due)
        return;
    engine->arrivals_due = 0;
    g_hash_table_iter_init(&iter, engine->arrivals);
    while (g_hash_table_iter_next(&iter, (gpointer *)&uuid, (gpointer *)&arrival)) {
        if (engine->now > arrival->until) {
            if (arrival->kept)
                act_on_file(engine, APMIG_ACTION_REMOVE_ADMISSION, uuid);
            g_hash_table_iter_remove(&iter);
        } else if (!engine->arrivals_due || arrival->until < engine->arrivals_due) {
            engine->arrivals_due = arrival->until;
        }
    }
}

gint64
engine_unaffected_next_deadline(const ApmigEngine *engine)
{
    return engine->arrivals_due && engine->arrivals_due < G_MAXINT64 ? engine->arrivals_due + 1 : G_MAXINT64;
}
