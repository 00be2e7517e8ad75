/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of the hypervisor's active guests, and what that proves. */
#include "engine/private.h"

#define NAMED_MAX 8 /* guests named in one sentence */

void
guest_free(Guest *guest)
{
    g_free(guest->uuid);
    g_free(guest->name);
    apmig_scope_unref(guest->scope);
    g_clear_pointer(&guest->sent_scope, apmig_scope_unref);
    g_strfreev(guest->devices);
    g_strfreev(guest->told_devices);
    g_free(guest->trouble);
    g_free(guest);
}

/* --- what it tells ------------------------------------------------------------------------------- */

/* A guest that comes in is judged by its migration, which knows its scope from the hook: its XML cannot be read. */
static gboolean
guest_is_clear(const ApmigEngine *engine, const Guest *guest, ApmigToken proof_token)
{
    if (guest->answer_token <= proof_token || guest->sending || guest->came_token)
        return FALSE;
    return guest->job == APMIG_JOB_NONE || guest->job == APMIG_JOB_OTHER ||
           (guest->job == APMIG_JOB_INCOMING && engine_find_migration(engine, guest->uuid, FALSE));
}

/* Queues that change without an event are known only as far as they were read for this lock. */
static gboolean
guest_may_overlap(const Guest *guest, const Lock *lock)
{
    return apmig_scope_overlaps(lock->pub.record->scope, guest->scope) ||
           (guest->scope_varies && guest->told_token <= lock->proof_token);
}

gboolean
engine_view_is_clear(const ApmigEngine *engine, const Lock *lock)
{
    GHashTableIter iter;
    Guest *guest;

    if (!engine->connected || engine->list_token <= lock->proof_token)
        return FALSE;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest_may_overlap(guest, lock) && !guest_is_clear(engine, guest, lock->proof_token))
            return FALSE;
    return TRUE;
}

static gboolean
guest_is_doubtful(const Guest *guest, const Lock *lock)
{
    return (guest->sending || guest->came_token) && guest_may_overlap(guest, lock);
}

gboolean
engine_has_doubt(const ApmigEngine *engine, const Lock *lock)
{
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest_is_doubtful(guest, lock))
            return TRUE;
    return FALSE;
}

char *
engine_describe_doubt(const ApmigEngine *engine, const Lock *lock)
{
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (!guest_is_doubtful(guest, lock))
            continue;
        if (guest->sending && guest->saving)
            return g_strdup_printf("the device of guest '%s' is being saved, for another host or into a file",
                                   guest->name);
        return guest->sending
                   ? g_strdup_printf("memory of guest '%s' is sent, to another host or into a file",
                                     guest->name)
                   : g_strdup_printf("guest '%s' has come in, and what it has is not known yet", guest->name);
    }
    for (guint i = 0; i < engine->migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (!migration->pub.outgoing && !migration->pub.scope_known)
            return g_strdup_printf("guest '%s' comes in, and what it has is not known yet",
                                   migration->pub.guest);
    }
    return g_strdup("what was in progress has not been read anew");
}

gboolean
engine_view_has_told(const ApmigEngine *engine, const Lock *lock)
{
    gboolean told = engine->connected && engine->list_token > lock->proof_token;
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (told && g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        told = guest->answer_token > lock->proof_token || !guest_may_overlap(guest, lock);
    return told;
}

/* What may be done about those that do not answer. @first: (nullable): one of them */
static void
describe_remedy(const Guest *first, guint n, GString *text)
{
    if (n == 1)
        g_string_append_printf(text, "; see whether its QEMU answers, with: virsh domjobinfo %s",
                               first->uuid);
    else if (n > 1)
        g_string_append(text,
                        "; see whether their QEMUs answer, with: virsh domjobinfo GUEST, and whether all "
                        "of libvirt's workers are busy, with: virt-admin server-threadpool-info");
}

/* Whether it may have queues of @scope, and no question above @proof_token has told what it does. */
static gboolean
guest_is_unread(const Guest *guest, const ApmigScope *scope, ApmigToken proof_token)
{
    gboolean varied = guest->scope_varies && guest->told_token <= proof_token;

    return guest->answer_token <= proof_token && (varied || apmig_scope_overlaps(scope, guest->scope));
}

gboolean
engine_view_is_read(const ApmigEngine *engine, const ApmigScope *scope, ApmigToken proof_token)
{
    GHashTableIter iter;
    Guest *guest;

    if (!engine->connected || engine->list_token <= proof_token)
        return FALSE;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest_is_unread(guest, scope, proof_token))
            return FALSE;
    return TRUE;
}

void
engine_describe_view(const ApmigEngine *engine, const ApmigScope *scope, ApmigToken proof_token,
                     GString *text)
{
    GHashTableIter iter;
    Guest *guest;
    const Guest *first = NULL;
    guint named = 0;

    if (!engine->connected || engine->list_token <= proof_token) {
        g_string_append_printf(text, "%slibvirt has not listed its guests%s%s", text->len ? "; " : "",
                               engine->view_trouble ? ": " : "",
                               engine->view_trouble ? engine->view_trouble : "");
        return;
    }
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (!guest_is_unread(guest, scope, proof_token) || ++named > NAMED_MAX)
            continue;
        first = first ? first : guest;
        g_string_append_printf(text, "%slibvirt has not told the job state of guest '%s'%s%s%s",
                               text->len ? "; " : "", guest->name,
                               guest->sending && guest->saving
                                   ? ", whose device is being saved, for another host or into a file"
                                   : "",
                               guest->trouble ? ": " : "", guest->trouble ? guest->trouble : "");
    }
    if (named > NAMED_MAX)
        g_string_append_printf(text, " and %u more", named - NAMED_MAX);
    describe_remedy(first, named, text);
}

/* --- for whoever looks --------------------------------------------------------------------------- */

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *
apmig_engine_list_covered(const ApmigEngine *engine, const ApmigLock *lock)
{
    GPtrArray *names;
    GHashTableIter iter;
    Guest *guest;

    if (!engine->connected || !engine->list_token)
        return NULL;
    names = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest->affected != APMIG_AFFECTED_NO && !guest->stopped &&
            apmig_scope_overlaps(lock->record->scope, guest->scope))
            g_ptr_array_add(names, g_strdup(guest->name));
    g_ptr_array_sort(names, compare_names);
    return names;
}
