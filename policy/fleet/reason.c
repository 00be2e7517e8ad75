/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/private.h"

#include "base/error.h"

#define OR_LEAVE_OUT "or leave the host out by name, and then do not change its keys"

const char *
apmig_fleet_reason_kind_to_string(ApmigFleetReasonKind kind)
{
    static const char *const words[] = {
        [APMIG_FLEET_NO_QUESTION] = "no-question",
        [APMIG_FLEET_NO_DOCUMENT] = "no-document",
        [APMIG_FLEET_STORE_REPLACED] = "store-replaced",
        [APMIG_FLEET_NO_HOSTS] = "no-hosts",
        [APMIG_FLEET_NO_LOCK] = "no-lock",
        [APMIG_FLEET_RELEASE_ASKED] = "release-asked",
        [APMIG_FLEET_SILENT] = "silent",
        [APMIG_FLEET_ANSWERED_TWICE] = "answered-twice",
        [APMIG_FLEET_OTHER_DOCUMENT] = "other-document",
        [APMIG_FLEET_OLDER_REVISION] = "older-revision",
        [APMIG_FLEET_STALE] = "stale",
        [APMIG_FLEET_NOT_LISTED] = "not-listed",
        [APMIG_FLEET_GATE_OPEN] = "gate-open",
        [APMIG_FLEET_NOT_LOCKED] = "not-locked",
        [APMIG_FLEET_OTHER_SCOPE] = "other-scope",
        [APMIG_FLEET_NOT_HELD] = "not-held",
        [APMIG_FLEET_BLOCKED] = "blocked",
        [APMIG_FLEET_PERMITTED] = "permitted",
        [APMIG_FLEET_DEPARTED] = "departed",
    };

    g_return_val_if_fail((guint)kind < G_N_ELEMENTS(words), "");
    return words[kind];
}

void
apmig_fleet_reason_free(ApmigFleetReason *reason)
{
    if (!reason)
        return;
    g_free(reason->host_id);
    g_free(reason->host);
    g_free(reason->sentence);
    g_free(reason);
}

void
fleet_reasons_add(GPtrArray *reasons, ApmigFleetReasonKind kind, const ApmigFleetMember *member,
                  char *sentence)
{
    ApmigFleetReason *reason = g_new0(ApmigFleetReason, 1);

    reason->kind = kind;
    reason->host_id = g_strdup(member ? member->id : "");
    reason->host = g_strdup(member ? member->name : "");
    reason->sentence = sentence;
    g_ptr_array_add(reasons, reason);
}

/* --- the snapshot --------------------------------------------------------------------------------- */

static gboolean
is_of_this_store(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot, GPtrArray *reasons)
{
    char *sentence;

    if (question->revision < 1) {
        fleet_reasons_add(reasons, APMIG_FLEET_NO_QUESTION, NULL,
                          g_strdup("It is not known whether what was asked was written, and so nothing "
                                   "answers it: ask again."));
        return FALSE;
    }
    if (g_str_equal(question->cluster_id, snapshot->cluster_id) && snapshot->revision >= question->revision)
        return TRUE;
    sentence = g_strdup_printf(
        "The store has been replaced: revision %" G_GINT64_FORMAT " of store %s was asked about, and this is "
        "revision %" G_GINT64_FORMAT " of store %s; every lock stays until an administrator has accepted it.",
        question->revision, question->cluster_id, snapshot->revision, snapshot->cluster_id);
    fleet_reasons_add(reasons, APMIG_FLEET_STORE_REPLACED, NULL, sentence);
    return FALSE;
}

static gboolean
is_sound(const ApmigFleetSnapshot *snapshot, GPtrArray *reasons)
{
    g_autoptr(GError) error = NULL;
    const char *problem = snapshot->document_problem ? snapshot->document_problem : "it is not there";

    if (!snapshot->document) {
        fleet_reasons_add(reasons, APMIG_FLEET_NO_DOCUMENT, NULL,
                          g_strdup_printf("The fleet's document is missing or damaged (%s): every lock "
                                          "stays until an administrator has mended it.",
                                          problem));
        return FALSE;
    }
    if (apmig_fleet_document_check(snapshot->document, &error))
        return TRUE;
    fleet_reasons_add(reasons, APMIG_FLEET_NO_DOCUMENT, NULL, g_strdup(error->message));
    return FALSE;
}

static gboolean
is_as_asked(const ApmigFleetLock *asked, const ApmigFleetLock *lock, ApmigFleetLockState state,
            GPtrArray *reasons)
{
    if (!lock) {
        fleet_reasons_add(
            reasons, APMIG_FLEET_NO_LOCK, NULL,
            g_strdup_printf("The fleet's document has no lock %s any more: ask for a new one.", asked->id));
        return FALSE;
    }
    if (lock->state != state) {
        const char *word = apmig_fleet_lock_state_to_string(lock->state);

        fleet_reasons_add(
            reasons, APMIG_FLEET_RELEASE_ASKED, NULL,
            state == APMIG_FLEET_LOCKED
                ? g_strdup_printf(
                      "The release of lock %s has been asked for, and it is %s: nobody relies on it "
                      "any more; ask for a new one.",
                      lock->id, word)
                : g_strdup_printf("Lock %s is not being released, it is %s: ask for its release again.",
                                  lock->id, word));
        return FALSE;
    }
    if (apmig_fleet_lock_equal(asked, lock))
        return TRUE;
    fleet_reasons_add(
        reasons, APMIG_FLEET_NO_LOCK, NULL,
        g_strdup_printf("Lock %s is not as it was asked about: somebody has changed it, or which "
                        "hosts are left out; ask again.",
                        lock->id));
    return FALSE;
}

static gboolean
has_hosts(const ApmigFleetDocument *document, const ApmigFleetLock *lock, GPtrArray *reasons)
{
    if (document->members->len > lock->left_out->len)
        return TRUE;
    fleet_reasons_add(
        reasons, APMIG_FLEET_NO_HOSTS, NULL,
        g_strdup(document->members->len == 0
                     ? "The fleet has no hosts, and so nothing is locked: add them."
                     : "All hosts are left out, and so nothing is locked: take them in again."));
    return FALSE;
}

const ApmigFleetLock *
fleet_reasons_of_snapshot(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot,
                          ApmigFleetLockState state, GPtrArray *reasons)
{
    const ApmigFleetLock *lock;

    if (!is_of_this_store(question, snapshot, reasons) || !is_sound(snapshot, reasons))
        return NULL;
    lock = apmig_fleet_document_find_lock(snapshot->document, question->lock->id);
    if (!is_as_asked(question->lock, lock, state, reasons) || !has_hosts(snapshot->document, lock, reasons))
        return NULL;
    return lock;
}

/* --- answers -------------------------------------------------------------------------------------- */

static void
add_silent(const ApmigFleetMember *member, const ApmigFleetHead *head, GPtrArray *reasons)
{
    const char *problem = head && *head->problem != '\0' ? head->problem : "it has not answered";

    fleet_reasons_add(reasons, APMIG_FLEET_SILENT, member,
                      g_strdup_printf("There is no answer of %s (%s): see that apmigd runs there and can be "
                                      "reached, " OR_LEAVE_OUT ".",
                                      member->name, problem));
}

static gboolean
is_of_this_document(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot,
                    const ApmigFleetHead *head, const ApmigFleetMember *member, GPtrArray *reasons)
{
    g_autofree char *fleet = apmig_error_excerpt(head->fleet);

    if (!g_str_equal(head->fleet, snapshot->document->fleet) ||
        !g_str_equal(head->cluster_id, question->cluster_id)) {
        fleet_reasons_add(reasons, APMIG_FLEET_OTHER_DOCUMENT, member,
                          g_strdup_printf("%s answers fleet \"%s\" in store %s, and not this one in store "
                                          "%s: see its configuration.",
                                          member->name, fleet, head->cluster_id, question->cluster_id));
        return FALSE;
    }
    if (head->revision <= snapshot->revision)
        return TRUE;
    fleet_reasons_add(reasons, APMIG_FLEET_OTHER_DOCUMENT, member,
                      g_strdup_printf("%s answers revision %" G_GINT64_FORMAT
                                      ", and the document is only at %" G_GINT64_FORMAT
                                      ": the store has gone back, and an administrator has to "
                                      "accept it.",
                                      member->name, head->revision, snapshot->revision));
    return FALSE;
}

static gboolean
is_of_now(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot, const ApmigFleetHead *head,
          const ApmigFleetMember *member, GPtrArray *reasons)
{
    if (head->revision < question->revision) {
        fleet_reasons_add(reasons, APMIG_FLEET_OLDER_REVISION, member,
                          g_strdup_printf("%s has answered revision %" G_GINT64_FORMAT
                                          ", and not yet %" G_GINT64_FORMAT
                                          ", which asks: wait, see that apmigd runs there "
                                          "and can be reached, " OR_LEAVE_OUT ".",
                                          member->name, head->revision, question->revision));
        return FALSE;
    }
    if (head->received_at >= 0 && head->received_at <= snapshot->now &&
        snapshot->now - head->received_at <= snapshot->max_age_usec)
        return TRUE;
    fleet_reasons_add(reasons, APMIG_FLEET_STALE, member,
                      g_strdup_printf("The answer of %s is too old, for it says nothing of the time since "
                                      "then: ask again.",
                                      member->name));
    return FALSE;
}

int
fleet_reasons_of_heads(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot,
                       const GPtrArray *heads, const ApmigFleetMember *member, GPtrArray *reasons)
{
    const ApmigFleetHead *head = NULL;
    int found = -1;

    for (guint i = 0; i < heads->len; i++) {
        if (!apmig_fleet_member_is(member, ((const ApmigFleetHead *)g_ptr_array_index(heads, i))->host))
            continue;
        if (found >= 0) {
            fleet_reasons_add(reasons, APMIG_FLEET_ANSWERED_TWICE, member,
                              g_strdup_printf("There are two answers of %s: find out which other host "
                                              "answers under its id, such as one that was cloned from it.",
                                              member->name));
            return -1;
        }
        found = (int)i;
        head = g_ptr_array_index(heads, i);
    }
    if (!head || head->problem) {
        add_silent(member, head, reasons);
        return -1;
    }
    if (!is_of_this_document(question, snapshot, head, member, reasons) ||
        !is_of_now(question, snapshot, head, member, reasons))
        return -1;
    return found;
}

void
fleet_reasons_of_strangers(const ApmigFleetSnapshot *snapshot, const GPtrArray *heads, GPtrArray *reasons)
{
    for (guint i = 0; i < heads->len; i++) {
        const ApmigFleetHead *head = g_ptr_array_index(heads, i);
        g_autofree char *host = apmig_error_excerpt(head->host);
        ApmigFleetMember stranger = {(char *)"", host};

        if (!apmig_fleet_document_find_member(snapshot->document, head->host))
            fleet_reasons_add(
                reasons, APMIG_FLEET_NOT_LISTED, &stranger,
                g_strdup_printf("%s answers, and is no host of the fleet's document: add it, or "
                                "take it out of the fleet and remove what it has answered.",
                                host));
    }
}
