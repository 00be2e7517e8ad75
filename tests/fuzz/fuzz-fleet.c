/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes are a document of a fleet, a host's answer to one, or what it knows of its keys, which can be written again and
 * is the same then; or an error that can be shown. No answer makes a GO but one that says of the lock that it is held, and
 * that nothing else is amiss.
 */
#include "fleet/judge.h"
#include "fleet/release.h"
#include "fuzz.h"
#include "base/text.h"

#include <string.h>

#define LOCK         "3f9a21c0"
#define MAX_SENTENCE (64 * 1024)

/* --- the judge ------------------------------------------------------------------------------------ */

static ApmigFleetLock *
make_lock(const ApmigScope *scope, ApmigFleetLockState state)
{
    ApmigFleetLock *lock = apmig_fleet_lock_new();

    g_free(lock->id);
    lock->id = g_strdup(LOCK);
    lock->scope = apmig_scope_ref((ApmigScope *)scope);
    lock->state = state;
    return lock;
}

/* Returns: (transfer full): of the one host that answers, with one lock */
static ApmigFleetDocument *
make_document(const ApmigFleetHead *head, const ApmigScope *scope, ApmigFleetLockState state)
{
    ApmigFleetDocument *document = apmig_fleet_document_new(head->fleet);

    apmig_fleet_document_add_member(document, head->host, "kvm1");
    g_ptr_array_add(document->locks, make_lock(scope, state));
    return document;
}

static gboolean
is_held(const ApmigFleetAnswer *answer)
{
    for (guint i = 0; i < answer->locks->len; i++) {
        const ApmigFleetLockAnswer *lock = g_ptr_array_index(answer->locks, i);

        if (g_str_equal(lock->id, LOCK))
            return lock->state == APMIG_FLEET_HOST_HELD && lock->held_at > 0 && !*lock->blockers &&
                   !*lock->permits && !*lock->departed &&
                   g_str_equal(apmig_scope_to_string(lock->scope), "all");
    }
    return FALSE;
}

static void
check_verdict(const ApmigFleetAnswer *answer)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();
    g_autoptr(ApmigFleetDocument) document = make_document(&answer->head, all, APMIG_FLEET_LOCKED);
    const ApmigFleetQuestion question = {answer->head.cluster_id, answer->head.revision,
                                         g_ptr_array_index(document->locks, 0)};
    const ApmigFleetSnapshot snapshot = {question.cluster_id, question.revision, document, NULL, 0,
                                         G_MAXINT64};
    g_autoptr(GPtrArray) answers = g_ptr_array_new();
    g_autoptr(ApmigFleetVerdict) verdict = NULL;

    g_ptr_array_add(answers, (gpointer)answer);
    verdict = apmig_fleet_judge(&question, &snapshot, answers);
    g_assert_true((verdict->go == APMIG_FLEET_GO) == (is_held(answer) && *answer->hook_problem == '\0'));
    g_assert_true((verdict->go == APMIG_FLEET_GO) == (verdict->reasons->len == 0));
    g_assert_true(apmig_text_is_plain(verdict->sentence, MAX_SENTENCE));
}

static void
check_release(const ApmigFleetKeys *keys)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();
    g_autoptr(ApmigFleetDocument) document = make_document(&keys->head, all, APMIG_FLEET_RELEASING);
    const ApmigFleetQuestion question = {keys->head.cluster_id, keys->head.revision,
                                         g_ptr_array_index(document->locks, 0)};
    const ApmigFleetSnapshot snapshot = {question.cluster_id, question.revision, document, NULL, 0,
                                         G_MAXINT64};
    g_autoptr(GPtrArray) told = g_ptr_array_new();
    g_autoptr(ApmigFleetRelease) release = NULL;

    g_ptr_array_add(told, (gpointer)keys);
    release = apmig_fleet_judge_release(&question, &snapshot, told);
    g_assert_cmpint(release->standing, !=, APMIG_FLEET_RELEASE_UNANSWERED);
    g_assert_cmpuint(release->findings->len, >=, keys->records->len);
    g_assert_true(apmig_text_is_plain(release->message, MAX_SENTENCE));
    g_assert_true(apmig_text_is_plain(release->unverified, MAX_SENTENCE));
}

/* --- the texts ------------------------------------------------------------------------------------ */

/* Nobody answers, so that nothing is proven, whatever the document says. */
static void
check_silence(const ApmigFleetDocument *document)
{
    g_autoptr(GPtrArray) answers = g_ptr_array_new();

    for (guint i = 0; i < document->locks->len; i++) {
        const ApmigFleetQuestion question = {"1", 1, g_ptr_array_index(document->locks, i)};
        const ApmigFleetSnapshot snapshot = {"1", 1, document, NULL, 0, G_MAXINT64};
        g_autoptr(ApmigFleetVerdict) verdict = apmig_fleet_judge(&question, &snapshot, answers);

        g_assert_cmpint(verdict->go, ==, APMIG_FLEET_NO_GO);
        g_assert_cmpuint(verdict->reasons->len, >, 0);
        g_assert_true(apmig_text_is_plain(verdict->sentence, MAX_SENTENCE));
    }
}

static void
try_document(const char *text, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetDocument) document = apmig_fleet_document_parse(text, size, "doc", &error);
    g_autoptr(ApmigFleetDocument) again = NULL;
    g_autofree char *written = NULL;
    g_autofree char *twice = NULL;

    if (!document) {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        return;
    }
    g_assert_no_error(error);
    check_silence(document);
    written = apmig_fleet_document_write(document, &error);
    if (!written) { /* the canonical form of a scope is longer than what it was parsed from */
        g_assert_nonnull(strstr(error->message, "bytes, at most"));
        return;
    }
    again = apmig_fleet_document_parse(written, strlen(written), "doc", &error);
    g_assert_no_error(error);
    twice = apmig_fleet_document_write(again, &error);
    g_assert_cmpstr(written, ==, twice);
    for (guint i = 0; i < document->locks->len; i++)
        g_assert_true(apmig_fleet_lock_equal(g_ptr_array_index(document->locks, i),
                                             g_ptr_array_index(again->locks, i)));
}

static void
try_answer(const char *text, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetAnswer) answer = apmig_fleet_answer_parse(text, size, "ack", &error);
    g_autoptr(ApmigFleetAnswer) again = NULL;
    g_autofree char *written = NULL;
    g_autofree char *twice = NULL;

    if (!answer) {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        return;
    }
    g_assert_no_error(error);
    check_verdict(answer);
    written = apmig_fleet_answer_write(answer, &error);
    if (!written) {
        g_assert_nonnull(strstr(error->message, "bytes, at most"));
        return;
    }
    again = apmig_fleet_answer_parse(written, strlen(written), "ack", &error);
    g_assert_no_error(error);
    twice = apmig_fleet_answer_write(again, &error);
    g_assert_cmpstr(written, ==, twice);
}

static void
try_keys(const char *text, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetKeys) keys = apmig_fleet_keys_parse(text, size, "keys", &error);
    g_autoptr(ApmigFleetKeys) again = NULL;
    g_autofree char *written = NULL;
    g_autofree char *twice = NULL;

    if (!keys) {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        return;
    }
    g_assert_no_error(error);
    check_release(keys);
    written = apmig_fleet_keys_write(keys, &error);
    g_assert_no_error(error);
    again = apmig_fleet_keys_parse(written, strlen(written), "keys", &error);
    g_assert_no_error(error);
    twice = apmig_fleet_keys_write(again, &error);
    g_assert_cmpstr(written, ==, twice);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = fuzz_terminate(data, size);

    try_document(text, size);
    try_answer(text, size);
    try_keys(text, size);
    return 0;
}
