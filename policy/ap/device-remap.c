/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/device-remap.h"

#include "ap/find.h"
#include "ap/text.h"
#include "ap/use.h"
#include "base/sentence.h"

#include <string.h>

const char *const apmig_remap_words[] = {
    [APMIG_REMAP_OFF] = "off",
    [APMIG_REMAP_MATCHING] = "matching",
    [APMIG_REMAP_MATCHING_OR_EMPTY] = "matching-or-empty",
    NULL,
};

/* --- is it free? --------------------------------------------------------------------------------- */

/* Its use is the guest's own, as far as can be known. */
static gboolean
may_be_its_own(const ApmigRemapQuestion *question, const ApmigApDevice *device)
{
    return question->may_be_here && question->promised && g_strv_contains(question->promised, device->uuid);
}

static gboolean
is_taken(const ApmigRemapQuestion *question, const ApmigApDevice *device)
{
    if (g_strv_contains(question->taken, device->uuid))
        return TRUE;
    if (may_be_its_own(question, device))
        return FALSE;
    for (guint i = 0; i < question->host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(question->host->queues, i);

        if (queue->status == APMIG_AP_STATUS_IN_USE &&
            apmig_ap_find_device_with(question->host, queue) == device)
            return TRUE;
    }
    return FALSE;
}

/* The kernel says so of all that a guest would have of it. Of an empty device it says nothing. */
static gboolean
is_known_unused(const ApmigRemapQuestion *question, const ApmigApDevice *device, const ApmigApView *view)
{
    for (guint i = 0; view && i < view->queues->len; i++) {
        const ApmigApViewQueue *there = &g_array_index(view->queues, ApmigApViewQueue, i);
        const ApmigApQueue *queue = apmig_ap_find_queue(question->host, there->adapter, there->domain);

        if (!queue || queue->status != APMIG_AP_STATUS_ASSIGNED ||
            apmig_ap_find_device_with(question->host, queue) != device)
            return FALSE;
    }
    return view && view->queues->len > 0;
}

/* --- does it fit? -------------------------------------------------------------------------------- */

/* A device of this host, and how it stands with the guest. */
typedef struct {
    const ApmigApDevice *device;
    gboolean promised, taken, usage_known, unreadable, empty;
    guint n_differences;
    char *differences; /* as a clause; "" when it matches; NULL when it is unreadable */
} Candidate;

static void
candidate_free(gpointer data)
{
    Candidate *candidate = data;

    g_free(candidate->differences);
    g_free(candidate);
}

/* Returns: (transfer full) (element-type utf8): the queues of @view that are not in @other. */
static GPtrArray *
list_queues_besides(const ApmigApView *view, const ApmigScope *other)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < view->queues->len; i++) {
        const ApmigApViewQueue *queue = &g_array_index(view->queues, ApmigApViewQueue, i);

        if (!apmig_scope_contains(other, queue->adapter, queue->domain))
            g_ptr_array_add(names, apmig_ap_queue_name(queue->adapter, queue->domain));
    }
    return names;
}

/* The same of control domains, of those that @other has not. */
static GPtrArray *
list_domains_besides(const ApmigApView *view, const ApmigApView *other)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    for (guint domain = 0; domain < APMIG_AP_NUMBERS; domain++)
        if (apmig_ap_view_has_control_domain(view, domain) &&
            !apmig_ap_view_has_control_domain(other, domain))
            g_ptr_array_add(names, g_strdup_printf("%04x", domain));
    return names;
}

/* @names: (transfer full) */
static void
note_differences(Candidate *candidate, GPtrArray *clauses, const char *words, GPtrArray *names)
{
    g_autofree char *few = apmig_sentence_few(names, ", ");

    candidate->n_differences += names->len;
    if (names->len > 0)
        g_ptr_array_add(clauses, g_strdup_printf("%s %s", words, few));
    g_ptr_array_unref(names);
}

static void
compare(const ApmigApView *source, const ApmigScope *source_queues, const ApmigApView *view,
        Candidate *candidate)
{
    g_autoptr(GPtrArray) clauses = g_ptr_array_new_with_free_func(g_free);

    note_differences(candidate, clauses, "lacks AP queues",
                     list_queues_besides(source, candidate->device->queues));
    note_differences(candidate, clauses, "has besides AP queues", list_queues_besides(view, source_queues));
    if (view->has_control_domains == APMIG_YES && source->has_control_domains == APMIG_YES) {
        note_differences(candidate, clauses, "lacks control domains", list_domains_besides(source, view));
        note_differences(candidate, clauses, "has besides control domains",
                         list_domains_besides(view, source));
    }
    candidate->differences = apmig_sentence_few(clauses, ", ");
}

static gboolean
is_empty(const ApmigApDevice *device)
{
    static const ApmigApMask none;

    return device->has_config == APMIG_YES && memcmp(&device->adapters, &none, sizeof none) == 0 &&
           memcmp(&device->domains, &none, sizeof none) == 0 &&
           memcmp(&device->control_domains, &none, sizeof none) == 0;
}

static Candidate *
candidate_new(const ApmigRemapQuestion *question, const ApmigScope *source_queues,
              const ApmigApDevice *device)
{
    Candidate *candidate = g_new0(Candidate, 1);
    g_autoptr(ApmigApView) view = apmig_ap_view_new_of_device(question->host, device);

    candidate->device = device;
    candidate->promised = question->promised && g_strv_contains(question->promised, device->uuid);
    candidate->taken = is_taken(question, device);
    candidate->usage_known =
        question->guests_known || is_known_unused(question, device, view) || may_be_its_own(question, device);
    candidate->unreadable = !view;
    candidate->empty = is_empty(device);
    if (view)
        compare(question->source, source_queues, view, candidate);
    return candidate;
}

/* --- the choice ---------------------------------------------------------------------------------- */

static gboolean
matches(const Candidate *candidate)
{
    return !candidate->unreadable && candidate->n_differences == 0;
}

static gboolean
fits(const ApmigRemapQuestion *question, const Candidate *candidate)
{
    return matches(candidate) || (candidate->empty && question->remap == APMIG_REMAP_MATCHING_OR_EMPTY);
}

/* The better ones first: those that fit, that were promised, that match, and then those that differ the least. */
static int
compare_candidates(gconstpointer a, gconstpointer b, gpointer data)
{
    const Candidate *first = *(Candidate *const *)a, *second = *(Candidate *const *)b;

    if (fits(data, first) != fits(data, second))
        return fits(data, first) ? -1 : 1;
    if (first->promised != second->promised)
        return first->promised ? -1 : 1;
    if (matches(first) != matches(second))
        return matches(first) ? -1 : 1;
    if (first->n_differences != second->n_differences)
        return first->n_differences < second->n_differences ? -1 : 1;
    return strcmp(first->device->uuid, second->device->uuid);
}

/* Returns: (transfer full) (element-type Candidate): all but the device of the same UUID. */
static GPtrArray *
list_candidates(const ApmigRemapQuestion *question)
{
    g_autoptr(ApmigScope) source_queues = apmig_ap_view_scope(question->source);
    GPtrArray *candidates = g_ptr_array_new_with_free_func(candidate_free);

    for (guint i = 0; i < question->host->devices->len; i++) {
        const ApmigApDevice *device = g_ptr_array_index(question->host->devices, i);

        if (!g_str_equal(device->uuid, question->device))
            g_ptr_array_add(candidates, candidate_new(question, source_queues, device));
    }
    g_ptr_array_sort_with_data(candidates, compare_candidates, (gpointer)question);
    return candidates;
}

static const Candidate *
find_free(const ApmigRemapQuestion *question, const GPtrArray *candidates)
{
    for (guint i = 0; i < candidates->len; i++) {
        const Candidate *candidate = g_ptr_array_index(candidates, i);

        if (fits(question, candidate) && !candidate->taken && candidate->usage_known)
            return candidate;
    }
    return NULL;
}

/* --- why not ------------------------------------------------------------------------------------- */

static char *
describe_candidate(const ApmigRemapQuestion *question, const Candidate *candidate)
{
    const char *uuid = candidate->device->uuid;

    if (fits(question, candidate))
        return g_strdup_printf("%s %s, but %s", uuid, matches(candidate) ? "matches" : "is empty",
                               candidate->taken ? "another guest has it, or is promised it"
                                                : "libvirt has not told in time whether a guest has it");
    if (candidate->unreadable)
        return g_strdup_printf("%s does not tell its AP queues", uuid);
    return g_strdup_printf("%s %s%s", uuid, candidate->differences,
                           candidate->taken ? ", and another guest has it" : "");
}

static char *
describe_candidates(const ApmigRemapQuestion *question, const GPtrArray *candidates)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < candidates->len; i++)
        g_ptr_array_add(texts, describe_candidate(question, g_ptr_array_index(candidates, i)));
    return texts->len > 0 ? apmig_sentence_few(texts, "; ") : g_strdup("there is no other one");
}

static char *
describe_source(const ApmigRemapQuestion *question)
{
    g_autoptr(ApmigScope) none = apmig_scope_new_none();
    g_autoptr(GPtrArray) queues = list_queues_besides(question->source, none);
    g_autofree char *few = apmig_sentence_few(queues, ", ");

    return queues->len > 0 ? g_strdup_printf("AP queues %s", few) : g_strdup("no AP queues");
}

static char *
explain(const ApmigRemapQuestion *question, const char *state, const GPtrArray *candidates)
{
    g_autofree char *source = describe_source(question);
    g_autofree char *others = describe_candidates(question, candidates);

    return g_strdup_printf(
        "Mediated device %s %s, and none can take its place with %s: %s. Give a free one that "
        "configuration%s, or start another one with it (mdevctl).",
        question->device, state, source, others,
        question->remap == APMIG_REMAP_MATCHING_OR_EMPTY ? " or none" : "");
}

char *
apmig_device_remap_choose(const ApmigRemapQuestion *question, char **ret_why_not)
{
    const ApmigApDevice *same;
    const char *state;
    g_autoptr(GPtrArray) candidates = NULL;
    const Candidate *chosen;

    if (!question->host) {
        *ret_why_not = g_strdup_printf("This host's crypto hardware was not read in time, so it is not known "
                                       "whether mediated device %s is here, or one that can take its place: "
                                       "try again.",
                                       question->device);
        return NULL;
    }
    same = apmig_ap_find_device(question->host, question->device);
    if (same && !is_taken(question, same))
        return g_strdup(question->device);
    state = same ? "is another guest's here, or promised to one" : "is not on this host";
    if (!question->source) {
        *ret_why_not = g_strdup_printf(
            "Mediated device %s %s, and none can be chosen in its place: without a stamp that "
            "counts it is not known what the guest has at its source. See there that apmigd "
            "runs and stamps its guests, or have a mediated device of that UUID free here.",
            question->device, state);
        return NULL;
    }
    candidates = list_candidates(question);
    chosen = find_free(question, candidates);
    if (chosen)
        return g_strdup(chosen->device->uuid);
    *ret_why_not = explain(question, state, candidates);
    return NULL;
}
