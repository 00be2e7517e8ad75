/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/fixture.h"

#include <string.h>

#define HOSTS 3

const char *
fleet_host_id(guint n)
{
    static char ids[APMIG_FLEET_MAX_HOSTS + 2][37];

    g_assert_cmpuint(n, <, G_N_ELEMENTS(ids));
    g_snprintf(ids[n], sizeof ids[n], "11111111-1111-4111-8111-%012u", n);
    return ids[n];
}

void
fleet_set_text(char **text, const char *value)
{
    g_free(*text);
    *text = g_strdup(value);
}

void
fleet_set_clause(GStrv *clauses, const char *clause)
{
    const char *const one[] = {clause, NULL};

    g_strfreev(*clauses);
    *clauses = g_strdupv((char **)one);
}

static ApmigFleetLock *
make_lock(void)
{
    ApmigFleetLock *lock = apmig_fleet_lock_new();

    fleet_set_text(&lock->id, FLEET_LOCK);
    lock->scope = apmig_scope_new_all();
    fleet_set_text(&lock->reason, "AES rotation");
    fleet_set_text(&lock->change_id, "CHG-1");
    fleet_set_text(&lock->owner, "anna");
    lock->requested_at = 1;
    return lock;
}

static ApmigFleetAnswer *
make_answer(guint n)
{
    ApmigFleetAnswer *answer = apmig_fleet_answer_new(fleet_host_id(n), NULL);
    ApmigFleetLockAnswer *lock = apmig_fleet_lock_answer_new(FLEET_LOCK);
    g_autofree char *boot_id = g_strdup_printf("22222222-2222-4222-8222-%012u", n);

    fleet_set_text(&answer->head.fleet, FLEET_NAME);
    fleet_set_text(&answer->head.cluster_id, FLEET_CLUSTER);
    answer->head.revision = FLEET_REVISION;
    answer->head.received_at = FLEET_NOW;
    fleet_set_text(&answer->boot_id, boot_id);
    fleet_set_text(&answer->apmigd, "0.1.0");
    fleet_set_text(&lock->local_id, "aaaabbbb");
    lock->scope = apmig_scope_new_all();
    lock->state = APMIG_FLEET_HOST_HELD;
    lock->held_at = 2;
    g_ptr_array_add(answer->locks, lock);
    return answer;
}

void
fleet_set_up(Fleet *fleet, gconstpointer data)
{
    fleet->asked = make_lock();
    fleet->document = apmig_fleet_document_new(FLEET_NAME);
    fleet->answers = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_answer_free);
    g_ptr_array_add(fleet->document->locks, make_lock());
    for (guint n = 1; n <= HOSTS; n++) {
        g_autofree char *name = g_strdup_printf("kvm%u", n);

        apmig_fleet_document_add_member(fleet->document, fleet_host_id(n), name);
        g_ptr_array_add(fleet->answers, make_answer(n));
    }
    fleet->question = (ApmigFleetQuestion){FLEET_CLUSTER, FLEET_REVISION, fleet->asked};
    fleet->snapshot =
        (ApmigFleetSnapshot){FLEET_CLUSTER, FLEET_REVISION, fleet->document, NULL, FLEET_NOW, FLEET_MAX_AGE};
}

void
fleet_tear_down(Fleet *fleet, gconstpointer data)
{
    apmig_fleet_lock_free(fleet->asked);
    apmig_fleet_document_free(fleet->document);
    g_ptr_array_unref(fleet->answers);
}

ApmigFleetLock *
fleet_lock(const Fleet *fleet)
{
    return g_ptr_array_index(fleet->document->locks, 0);
}

ApmigFleetAnswer *
fleet_answer(const Fleet *fleet, guint n)
{
    return g_ptr_array_index(fleet->answers, n - 1);
}

ApmigFleetLockAnswer *
fleet_lock_answer(const Fleet *fleet, guint n)
{
    return g_ptr_array_index(fleet_answer(fleet, n)->locks, 0);
}

void
fleet_leave_out(Fleet *fleet, const char *host)
{
    apmig_fleet_lock_leave_out(fleet->asked, host, "anna", "its board is out", 3);
    apmig_fleet_lock_leave_out(fleet_lock(fleet), host, "anna", "its board is out", 3);
}

void
fleet_set_state(Fleet *fleet, ApmigFleetLockState state)
{
    fleet->asked->state = state;
    fleet_lock(fleet)->state = state;
}

char *
fleet_replace(const char *text, const char *old, const char *new_text)
{
    const char *at = strstr(text, old);
    g_autofree char *head = NULL;

    g_assert_nonnull(at);
    head = g_strndup(text, (gsize)(at - text));
    return g_strconcat(head, new_text, at + strlen(old), NULL);
}
