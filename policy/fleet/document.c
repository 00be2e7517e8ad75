/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/document.h"

#include <string.h>

#include "base/error.h"

#define MIN_ID_LENGTH 8
#define MAX_ID_LENGTH 32

/* --- values -------------------------------------------------------------------------------------- */

const char *
apmig_fleet_lock_state_to_string(ApmigFleetLockState state)
{
    static const char *const words[] = {
        [APMIG_FLEET_LOCKED] = "locked",
        [APMIG_FLEET_RELEASING] = "releasing",
        [APMIG_FLEET_RELEASED] = "released",
    };

    g_return_val_if_fail((guint)state < G_N_ELEMENTS(words), "");
    return words[state];
}

gboolean
apmig_fleet_lock_id_is_valid(const char *text)
{
    gsize length = strspn(text, "0123456789abcdef");

    return text[length] == '\0' && length >= MIN_ID_LENGTH && length <= MAX_ID_LENGTH;
}

static void
member_free(gpointer data)
{
    ApmigFleetMember *member = data;

    g_free(member->id);
    g_free(member->name);
    g_free(member);
}

static void
left_out_free(gpointer data)
{
    ApmigFleetLeftOut *left_out = data;

    g_free(left_out->host);
    g_free(left_out->by);
    g_free(left_out->reason);
    g_free(left_out);
}

ApmigFleetLock *
apmig_fleet_lock_new(void)
{
    ApmigFleetLock *lock = g_new0(ApmigFleetLock, 1);

    lock->id = g_strdup("");
    lock->reason = g_strdup("");
    lock->change_id = g_strdup("");
    lock->owner = g_strdup("");
    lock->left_out = g_ptr_array_new_with_free_func(left_out_free);
    return lock;
}

void
apmig_fleet_lock_free(ApmigFleetLock *lock)
{
    if (!lock)
        return;
    g_free(lock->id);
    if (lock->scope)
        apmig_scope_unref(lock->scope);
    g_free(lock->reason);
    g_free(lock->change_id);
    g_free(lock->owner);
    g_ptr_array_unref(lock->left_out);
    g_free(lock);
}

ApmigFleetDocument *
apmig_fleet_document_new(const char *fleet)
{
    ApmigFleetDocument *document = g_new0(ApmigFleetDocument, 1);

    document->fleet = g_strdup(fleet);
    document->members = g_ptr_array_new_with_free_func(member_free);
    document->locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_lock_free);
    return document;
}

void
apmig_fleet_document_free(ApmigFleetDocument *document)
{
    if (!document)
        return;
    g_free(document->fleet);
    g_ptr_array_unref(document->members);
    g_ptr_array_unref(document->locks);
    g_free(document);
}

void
apmig_fleet_document_add_member(ApmigFleetDocument *document, const char *id, const char *name)
{
    ApmigFleetMember *member = g_new0(ApmigFleetMember, 1);

    member->id = g_strdup(id);
    member->name = g_strdup(name);
    g_ptr_array_add(document->members, member);
}

void
apmig_fleet_lock_leave_out(ApmigFleetLock *lock, const char *host, const char *by, const char *reason,
                           gint64 at)
{
    ApmigFleetLeftOut *left_out = g_new0(ApmigFleetLeftOut, 1);

    left_out->host = g_strdup(host);
    left_out->by = g_strdup(by);
    left_out->reason = g_strdup(reason);
    left_out->at = at;
    g_ptr_array_add(lock->left_out, left_out);
}

/* --- finders -------------------------------------------------------------------------------------- */

const ApmigFleetLock *
apmig_fleet_document_find_lock(const ApmigFleetDocument *document, const char *id)
{
    for (guint i = 0; i < document->locks->len; i++) {
        const ApmigFleetLock *lock = g_ptr_array_index(document->locks, i);

        if (g_str_equal(lock->id, id))
            return lock;
    }
    return NULL;
}

gboolean
apmig_fleet_member_is(const ApmigFleetMember *member, const char *host)
{
    return *host != '\0' && (g_str_equal(member->id, host) || g_str_equal(member->name, host));
}

const ApmigFleetMember *
apmig_fleet_document_find_member(const ApmigFleetDocument *document, const char *host)
{
    for (guint i = 0; i < document->members->len; i++) {
        const ApmigFleetMember *member = g_ptr_array_index(document->members, i);

        if (apmig_fleet_member_is(member, host))
            return member;
    }
    return NULL;
}

const ApmigFleetLeftOut *
apmig_fleet_lock_find_left_out(const ApmigFleetLock *lock, const ApmigFleetMember *member)
{
    for (guint i = 0; i < lock->left_out->len; i++) {
        const ApmigFleetLeftOut *left_out = g_ptr_array_index(lock->left_out, i);

        if (apmig_fleet_member_is(member, left_out->host))
            return left_out;
    }
    return NULL;
}

gboolean
apmig_fleet_document_opens(const ApmigFleetDocument *document, const char *id, const char *host)
{
    const ApmigFleetLock *lock = apmig_fleet_document_find_lock(document, id);
    const ApmigFleetMember *member = apmig_fleet_document_find_member(document, host);

    if (!lock || lock->state != APMIG_FLEET_RELEASED)
        return FALSE;
    return member && !apmig_fleet_lock_find_left_out(lock, member);
}

/* --- equality ------------------------------------------------------------------------------------- */

static gboolean
left_out_equal(const GPtrArray *a, const GPtrArray *b)
{
    if (a->len != b->len)
        return FALSE;
    for (guint i = 0; i < a->len; i++) {
        const ApmigFleetLeftOut *one = g_ptr_array_index(a, i), *other = g_ptr_array_index(b, i);

        if (!g_str_equal(one->host, other->host) || !g_str_equal(one->by, other->by) ||
            !g_str_equal(one->reason, other->reason) || one->at != other->at)
            return FALSE;
    }
    return TRUE;
}

gboolean
apmig_fleet_lock_equal(const ApmigFleetLock *a, const ApmigFleetLock *b)
{
    return g_str_equal(a->id, b->id) && apmig_scope_equal(a->scope, b->scope) &&
           g_str_equal(a->reason, b->reason) && g_str_equal(a->change_id, b->change_id) &&
           g_str_equal(a->owner, b->owner) && a->requested_at == b->requested_at &&
           a->on_busy == b->on_busy && a->state == b->state && left_out_equal(a->left_out, b->left_out);
}

/* --- is it one to judge by? ----------------------------------------------------------------------- */

G_GNUC_PRINTF(2, 3)
static gboolean
fail(GError **error, const char *format, ...)
{
    g_autofree char *problem = NULL;
    va_list args;

    va_start(args, format);
    problem = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "The fleet's document %s.", problem);
    return FALSE;
}

/* @names: gets the host's id and its name, as keys */
static gboolean
check_member(const ApmigFleetMember *member, GHashTable *names, GError **error)
{
    g_autofree char *name = apmig_error_excerpt(member->name);

    if (*member->name == '\0')
        return fail(error, "has a member without a name: give it one");
    if (!g_hash_table_add(names, member->name))
        return fail(error, "has two hosts that are called \"%s\": every host is to be told from the others",
                    name);
    if (*member->id == '\0' || g_str_equal(member->id, member->name))
        return TRUE;
    if (g_uuid_string_is_valid(member->name))
        return fail(error, "has a host that is called \"%s\", which is the id of another: give it a name",
                    name);
    return g_hash_table_add(names, member->id) ||
           fail(error, "has two hosts of the id %s, one of them \"%s\": take out the one that is there twice",
                member->id, name);
}

static gboolean
check_members(const ApmigFleetDocument *document, GError **error)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

    if (document->members->len > APMIG_FLEET_MAX_HOSTS)
        return fail(error, "has %u hosts, at most %u are allowed: make two fleets of them",
                    document->members->len, APMIG_FLEET_MAX_HOSTS);
    for (guint i = 0; i < document->members->len; i++)
        if (!check_member(g_ptr_array_index(document->members, i), names, error))
            return FALSE;
    return TRUE;
}

static gboolean
check_left_out(const ApmigFleetDocument *document, const ApmigFleetLock *lock, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    for (guint i = 0; i < lock->left_out->len; i++) {
        const ApmigFleetLeftOut *left_out = g_ptr_array_index(lock->left_out, i);
        const ApmigFleetMember *member = apmig_fleet_document_find_member(document, left_out->host);
        g_autofree char *host = apmig_error_excerpt(left_out->host);

        if (!member)
            return fail(error, "leaves \"%s\" out of lock %s, which is no host of the fleet: see its name",
                        host, lock->id);
        if (!g_hash_table_add(seen, (gpointer)member))
            return fail(error, "leaves \"%s\" out of lock %s twice", host, lock->id);
    }
    return TRUE;
}

static gboolean
check_lock(const ApmigFleetDocument *document, const ApmigFleetLock *lock, GHashTable *ids, GError **error)
{
    g_autofree char *id = apmig_error_excerpt(lock->id);

    if (!apmig_fleet_lock_id_is_valid(lock->id))
        return fail(error, "has a lock of the id \"%s\", which must be %u to %u hexadecimal digits", id,
                    MIN_ID_LENGTH, MAX_ID_LENGTH);
    if (!g_hash_table_add(ids, lock->id))
        return fail(error, "has two locks of the id %s", id);
    if (!lock->scope || apmig_scope_is_none(lock->scope))
        return fail(error, "has the lock %s without an AP queue in its scope", id);
    return check_left_out(document, lock, error);
}

gboolean
apmig_fleet_document_check(const ApmigFleetDocument *document, GError **error)
{
    g_autoptr(GHashTable) ids = g_hash_table_new(g_str_hash, g_str_equal);

    if (!check_members(document, error))
        return FALSE;
    if (document->locks->len > APMIG_FLEET_MAX_LOCKS)
        return fail(error, "has %u locks, at most %u are allowed: release some", document->locks->len,
                    APMIG_FLEET_MAX_LOCKS);
    for (guint i = 0; i < document->locks->len; i++)
        if (!check_lock(document, g_ptr_array_index(document->locks, i), ids, error))
            return FALSE;
    return TRUE;
}
