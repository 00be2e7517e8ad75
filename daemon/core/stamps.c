/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core's side of stamps: they are written with what this host's cards say now. The cards are asked before a stamp is
 * written, unless that was a short while ago: many stamps in a row share one reading. Nothing else waits for it.
 */
#include "core/private.h"

#define READ_LIMIT_USEC (5 * G_USEC_PER_SEC)
#define SAME_USEC       G_USEC_PER_SEC /* a release has asked them just before it makes stamps due */

static void
write_stamp(ApmigCore *core, const ApmigAction *action)
{
    apmig_stamp_queue_write(core->stamps, action->op, action->stamp.uuid,
                            apmig_stamp_order_new(action, core->identity->id, core->identity->name,
                                                  g_get_real_time(), core_host_facts(core, NULL)));
}

static void
write_due_stamps(ApmigCore *core)
{
    ApmigAction *action;

    while ((action = g_queue_pop_head(&core->due_stamps))) {
        write_stamp(core, action);
        apmig_action_free(action);
    }
}

/* --- what the cards say -------------------------------------------------------------------------- */

/* What was not read in time is not known then, and so it is told. A lock may have ended since the reading began. */
static void
keys_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
          const char *error, gpointer user_data)
{
    ApmigCore *core = user_data;

    core->keys_are_read = FALSE;
    if (core->keys_fresh_until == 0 && !g_queue_is_empty(&core->due_stamps))
        core_refresh_keys(core);
    if (!core->keys_are_read)
        write_due_stamps(core);
}

void
core_refresh_keys(ApmigCore *core)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();
    gint64 now = g_get_monotonic_time();

    if (core->keys_are_read || now < core->keys_fresh_until)
        return;
    core->keys_are_read = TRUE;
    core->keys_fresh_until = now + core->evidence_interval;
    apmig_key_view_read(core->key_view, all, SAME_USEC, READ_LIMIT_USEC, keys_read, core);
}

void
core_forget_fresh_keys(ApmigCore *core)
{
    core->keys_fresh_until = 0;
}

/* --- stamps -------------------------------------------------------------------------------------- */

void
core_carry_out_stamp(ApmigCore *core, ApmigAction *action)
{
    g_queue_push_tail(&core->due_stamps, action);
    if (action->stamp.form != APMIG_STAMP_OFF)
        core_refresh_keys(core);
    if (!core->keys_are_read)
        write_due_stamps(core);
}

void
core_stamps_lost(ApmigCore *core, const char *reason)
{
    g_queue_clear_full(&core->due_stamps, (GDestroyNotify)apmig_action_free);
    apmig_stamp_queue_lost(core->stamps, reason);
}
