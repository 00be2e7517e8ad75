/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/private.h"

#include <string.h>

#include "base/error.h"

#define MAX_VERSION_LENGTH 64

static const char *const answer_keys[] = {FLEET_JSON_HEAD_KEYS, "boot-id", "apmigd",
                                          "hook-problem",       "locks",   NULL};
static const char *const lock_keys[] = {"id",       "local-id", "scope",   "state",    "held-at",
                                        "breaches", "blockers", "permits", "departed", NULL};

/* --- reading -------------------------------------------------------------------------------------- */

static gboolean
read_state(const ApmigJsonPlace *place, ApmigFleetHostState *ret_state, GError **error)
{
    static const char expected[] = "a state of a lock on a host, such as held";
    const char *text;

    return apmig_json_read_string(place, "state", expected, &text, error) &&
           (apmig_fleet_host_state_from_string(text, ret_state) ||
            apmig_json_fail(place, "state", error, "must be %s", expected));
}

static gboolean
read_lock(const ApmigJsonPlace *place, ApmigFleetLockAnswer *lock, GError **error)
{
    gint64 breaches;

    if (!apmig_json_check_keys(place, lock_keys, "unknown", error) ||
        !fleet_json_read_lock_id(place, "id", FALSE, &lock->id, error) ||
        !fleet_json_read_lock_id(place, "local-id", TRUE, &lock->local_id, error) ||
        !fleet_json_read_scope(place, "scope", &lock->scope, error) ||
        !read_state(place, &lock->state, error) ||
        !fleet_json_read_integer(place, "held-at", 0, G_MAXINT64, &lock->held_at, error) ||
        !fleet_json_read_integer(place, "breaches", 0, G_MAXUINT32, &breaches, error) ||
        !fleet_json_read_clauses(place, "blockers", &lock->blockers, error) ||
        !fleet_json_read_clauses(place, "permits", &lock->permits, error) ||
        !fleet_json_read_clauses(place, "departed", &lock->departed, error))
        return FALSE;
    lock->breaches = (guint)breaches;
    if (lock->state == APMIG_FLEET_HOST_HELD && (lock->held_at == 0 || *lock->local_id == '\0'))
        return apmig_json_fail(place, "state", error,
                               "is held, and so \"held-at\" must not be 0 nor \"local-id\" empty");
    return TRUE;
}

static gboolean
has_lock(const ApmigFleetAnswer *answer, const char *id)
{
    for (guint i = 0; i < answer->locks->len; i++)
        if (g_str_equal(((const ApmigFleetLockAnswer *)g_ptr_array_index(answer->locks, i))->id, id))
            return TRUE;
    return FALSE;
}

static gboolean
read_locks(const ApmigJsonPlace *place, ApmigFleetAnswer *answer, GError **error)
{
    JsonArray *array;

    if (!fleet_json_read_array(place, "locks", APMIG_FLEET_MAX_LOCKS, &array, error))
        return FALSE;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        g_autoptr(ApmigFleetLockAnswer) lock = apmig_fleet_lock_answer_new("");
        g_autofree char *path = NULL;
        ApmigJsonPlace inner;

        if (!apmig_json_enter(place, "locks", i, "an object", &path, &inner, error) ||
            !read_lock(&inner, lock, error))
            return FALSE;
        if (has_lock(answer, lock->id))
            return apmig_json_fail(&inner, "id", error, "is %s, which stands there twice", lock->id);
        g_ptr_array_add(answer->locks, g_steal_pointer(&lock));
    }
    return TRUE;
}

ApmigFleetAnswer *
apmig_fleet_answer_parse(const char *text, gsize length, const char *origin, GError **error)
{
    g_autoptr(JsonObject) object = fleet_json_parse(text, length, origin, answer_keys, error);
    g_autoptr(ApmigFleetAnswer) answer = object ? apmig_fleet_answer_new("", NULL) : NULL;
    const ApmigJsonPlace place = {origin, "$", object};

    if (!object || !fleet_json_read_head(&place, &answer->head, error) ||
        !fleet_json_read_uuid(&place, "boot-id", TRUE, &answer->boot_id, error) ||
        !fleet_json_read_text(&place, "apmigd", MAX_VERSION_LENGTH, &answer->apmigd, error) ||
        !fleet_json_read_text(&place, "hook-problem", APMIG_FLEET_MAX_CLAUSE_LENGTH, &answer->hook_problem,
                              error) ||
        !read_locks(&place, answer, error))
        return NULL;
    return g_steal_pointer(&answer);
}

/* --- writing -------------------------------------------------------------------------------------- */

static void
add_lock(JsonBuilder *builder, const ApmigFleetLockAnswer *lock)
{
    json_builder_begin_object(builder);
    fleet_json_add_text(builder, "id", lock->id);
    fleet_json_add_text(builder, "local-id", lock->local_id);
    fleet_json_add_text(builder, "scope", lock->scope ? apmig_scope_to_string(lock->scope) : "none");
    fleet_json_add_text(builder, "state", apmig_fleet_host_state_to_string(lock->state));
    fleet_json_add_integer(builder, "held-at", lock->held_at);
    fleet_json_add_integer(builder, "breaches", lock->breaches);
    fleet_json_add_clauses(builder, "blockers", lock->blockers);
    fleet_json_add_clauses(builder, "permits", lock->permits);
    fleet_json_add_clauses(builder, "departed", lock->departed);
    json_builder_end_object(builder);
}

static char *
write_answer(const ApmigFleetAnswer *answer)
{
    g_autoptr(JsonBuilder) builder = fleet_json_begin();

    fleet_json_add_head(builder, &answer->head);
    fleet_json_add_text(builder, "boot-id", answer->boot_id);
    fleet_json_add_text(builder, "apmigd", answer->apmigd);
    fleet_json_add_text(builder, "hook-problem", answer->hook_problem);
    json_builder_set_member_name(builder, "locks");
    json_builder_begin_array(builder);
    for (guint i = 0; i < answer->locks->len; i++)
        add_lock(builder, g_ptr_array_index(answer->locks, i));
    json_builder_end_array(builder);
    return fleet_json_end(builder);
}

char *
apmig_fleet_answer_write(const ApmigFleetAnswer *answer, GError **error)
{
    g_autofree char *text = write_answer(answer);
    g_autoptr(ApmigFleetAnswer) same =
        apmig_fleet_answer_parse(text, strlen(text), "the answer to be written", error);

    return same ? g_steal_pointer(&text) : NULL;
}
