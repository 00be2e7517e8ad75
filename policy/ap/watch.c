/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/watch.h"

#include "base/sentence.h"

#define READINGS 5 /* of which no two in a row agree: then the last one counts */

/* Why somebody is told. */
typedef struct {
    char *id, *what;
    ApmigScope *scope;
    GStrv expected;
    gint64 from, until;
} Reason;

/* What is known of one aspect of a queue. */
typedef struct {
    char *clause;      /* NULL: nothing */
    gint64 known_at;   /* when the last reading that said so began */
    char *said;        /* by the last reading, while it is in doubt; NULL: it is not */
    gint64 doubted_at; /* when the first reading that said otherwise was asked for */
    guint n_readings;  /* since then, with that one */
} Fact;

typedef struct {
    ApmigApqn queue;
    Fact facts[APMIG_WATCH_ASPECTS];
} Queue;

struct ApmigWatch {
    const ApmigWatchKind *kind;
    GPtrArray *reasons; /* of Reason */
    GTree *queues;      /* number -> Queue */
    gint64 observed_at; /* when the reading observed last began; G_MININT64: there was none */
    gboolean is_unsettled;
};

/* A reading that is being compared, and what comes of it. */
typedef struct {
    ApmigWatch *watch;
    GHashTable *facts;
    gint64 asked_at, began_at;
    GArray *queues;    /* of ApmigApqn: that have changed */
    GPtrArray *places; /* clauses */
    GHashTable *whats; /* set of the reasons' clauses */
} Reading;

static gpointer
number_of(guint adapter, guint domain)
{
    return GUINT_TO_POINTER(adapter * APMIG_AP_NUMBERS + domain);
}

/* --- what one reading says ----------------------------------------------------------------------- */

static void
facts_free(gpointer data)
{
    ApmigQueueFacts *facts = data;

    for (guint i = 0; i < APMIG_WATCH_ASPECTS; i++)
        g_free(facts->clauses[i]);
    g_free(facts);
}

GHashTable *
apmig_facts_new(void)
{
    return g_hash_table_new_full(NULL, NULL, NULL, facts_free);
}

ApmigQueueFacts *
apmig_facts_of_queue(GHashTable *facts, guint adapter, guint domain)
{
    gpointer number = number_of(adapter, domain);
    ApmigQueueFacts *found = g_hash_table_lookup(facts, number);

    if (found)
        return found;
    found = g_new0(ApmigQueueFacts, 1);
    found->queue = (ApmigApqn){adapter, domain};
    g_hash_table_insert(facts, number, found);
    return found;
}

/* --- reasons ------------------------------------------------------------------------------------- */

static void
reason_free(gpointer data)
{
    Reason *reason = data;

    g_free(reason->id);
    g_free(reason->what);
    apmig_scope_unref(reason->scope);
    g_strfreev(reason->expected);
    g_free(reason);
}

/* Returns: (nullable): the one that has not ended. */
static Reason *
find_reason(const ApmigWatch *watch, const char *id, guint *ret_index)
{
    for (guint i = 0; i < watch->reasons->len; i++) {
        Reason *reason = g_ptr_array_index(watch->reasons, i);

        if (reason->until != G_MAXINT64 || !g_str_equal(reason->id, id))
            continue;
        *ret_index = i;
        return reason;
    }
    return NULL;
}

gboolean
apmig_watch_begin(ApmigWatch *watch, const char *id, const char *what, ApmigScope *scope,
                  const char *const *expected, gint64 at)
{
    Reason *reason = g_new(Reason, 1);
    guint index = 0;
    const Reason *earlier = find_reason(watch, id, &index);
    gboolean is_new = !earlier;

    *reason = (Reason){g_strdup(id),
                       g_strdup(what),
                       apmig_scope_ref(scope),
                       g_strdupv((char **)expected),
                       is_new ? at : earlier->from,
                       G_MAXINT64};
    if (earlier)
        g_ptr_array_remove_index(watch->reasons, index);
    g_ptr_array_add(watch->reasons, reason);
    return is_new;
}

gboolean
apmig_watch_end(ApmigWatch *watch, const char *id, gint64 at)
{
    guint index;
    Reason *reason = find_reason(watch, id, &index);

    if (reason)
        reason->until = at;
    return reason != NULL;
}

/* No reading that is still to come was asked for before their end. */
static void
drop_ended_reasons(ApmigWatch *watch, gint64 asked_at)
{
    for (guint i = watch->reasons->len; i > 0; i--)
        if (((const Reason *)g_ptr_array_index(watch->reasons, i - 1))->until <= asked_at)
            g_ptr_array_remove_index(watch->reasons, i - 1);
}

/* Whom it concerns that a clause of @queue was known at @known_at, and that a reading asked for at @asked_at says otherwise.
 * @whats: (nullable): set of the reasons' clauses, to be added to */
static gboolean
find_reasons(const ApmigWatch *watch, const ApmigApqn *queue, gint64 known_at, gint64 asked_at,
             GHashTable *whats)
{
    const GPtrArray *reasons = watch->reasons;
    gboolean concerns = FALSE;

    for (guint i = 0; i < reasons->len; i++) {
        const Reason *reason = g_ptr_array_index(reasons, i);

        if (reason->from > known_at || asked_at > reason->until ||
            !apmig_scope_contains(reason->scope, queue->adapter, queue->domain))
            continue;
        if (whats)
            g_hash_table_add(whats, reason->what);
        concerns = TRUE;
    }
    return concerns;
}

static gboolean
is_expected(const ApmigWatch *watch, const char *was, const char *is)
{
    for (guint i = 0; i < watch->reasons->len; i++) {
        const Reason *reason = g_ptr_array_index(watch->reasons, i);

        for (guint j = 0; reason->expected && reason->expected[j]; j++)
            if (g_str_has_suffix(was, reason->expected[j]) || g_str_has_suffix(is, reason->expected[j]))
                return TRUE;
    }
    return FALSE;
}

/* --- one queue ----------------------------------------------------------------------------------- */

static void
queue_free(gpointer data)
{
    Queue *queue = data;

    for (guint i = 0; i < APMIG_WATCH_ASPECTS; i++) {
        g_free(queue->facts[i].clause);
        g_free(queue->facts[i].said);
    }
    g_free(queue);
}

static void
add_queue(ApmigWatch *watch, const ApmigApqn *number)
{
    gpointer key = number_of(number->adapter, number->domain);
    Queue *queue;

    if (g_tree_lookup(watch->queues, key))
        return;
    queue = g_new0(Queue, 1);
    queue->queue = *number;
    for (guint i = 0; i < APMIG_WATCH_ASPECTS; i++)
        queue->facts[i] = (Fact){.clause = g_strdup(watch->kind->initial[i]), .known_at = watch->observed_at};
    g_tree_insert(watch->queues, key, queue);
}

static gboolean
differs(const ApmigWatch *watch, guint aspect, const char *was, const char *is)
{
    return watch->kind->differs ? watch->kind->differs(aspect, was, is) : !g_str_equal(was, is);
}

static gboolean
agree(const ApmigWatch *watch, guint aspect, const char *a, const char *b)
{
    return !differs(watch, aspect, a, b) && !differs(watch, aspect, b, a);
}

static void
end_doubt(Fact *fact)
{
    g_clear_pointer(&fact->said, g_free);
    fact->n_readings = 0;
}

static void
doubt(Fact *fact, const char *clause, gint64 asked_at)
{
    if (!fact->said)
        fact->doubted_at = asked_at;
    g_free(fact->said);
    fact->said = g_strdup(clause);
    fact->n_readings++;
}

/* Returns: (transfer full): what was known before. */
static char *
settle(Fact *fact, const char *clause, gint64 at)
{
    char *was = fact->clause;

    fact->clause = g_strdup(clause);
    fact->known_at = at;
    end_doubt(fact);
    return was;
}

/* What is not known for as many readings is no longer waited for; it will be compared with what is known. */
static void
miss(Fact *fact)
{
    if (fact->said && ++fact->n_readings >= READINGS)
        end_doubt(fact);
}

/* Whether another reading is to say so, too. @is_other: than what is known */
static gboolean
needs_another(const Reading *reading, const Queue *queue, guint aspect, const char *clause, gboolean is_other)
{
    const ApmigWatch *watch = reading->watch;
    const Fact *fact = &queue->facts[aspect];

    if (fact->said)
        return !agree(watch, aspect, fact->said, clause) && !(is_other && fact->n_readings + 1 >= READINGS);
    return is_other && !is_expected(watch, fact->clause, clause) &&
           find_reasons(watch, &queue->queue, fact->known_at, reading->asked_at, NULL);
}

/* @changed: aspects that are otherwise, a bit each, whether told of or not. Returns: (transfer full) (nullable): what the
 * clause was, when it is to be told of. */
static char *
learn(const Reading *reading, Queue *queue, guint aspect, const char *clause, guint *changed)
{
    const ApmigWatch *watch = reading->watch;
    Fact *fact = &queue->facts[aspect];
    gboolean is_explained = (*changed & watch->kind->explained_by[aspect]) != 0;
    gboolean is_other = fact->clause && clause && differs(watch, aspect, fact->clause, clause);
    g_autofree char *was = NULL;
    gboolean is_told;

    if (!clause) {
        miss(fact);
        return NULL;
    }
    if (!is_explained && needs_another(reading, queue, aspect, clause, is_other)) {
        doubt(fact, clause, reading->asked_at);
        return NULL;
    }
    is_told = is_other && fact->said && !is_explained && !is_expected(watch, fact->clause, clause) &&
              find_reasons(watch, &queue->queue, fact->known_at, fact->doubted_at, reading->whats);
    if (is_other)
        *changed |= 1u << aspect;
    was = settle(fact, clause, reading->began_at);
    return is_told ? g_steal_pointer(&was) : NULL;
}

static gboolean
observe_queue(gpointer number, gpointer value, gpointer user_data)
{
    Reading *reading = user_data;
    const ApmigWatchKind *kind = reading->watch->kind;
    const ApmigQueueFacts *facts = g_hash_table_lookup(reading->facts, number);
    Queue *queue = value;
    char *was[APMIG_WATCH_ASPECTS] = {NULL}, *is[APMIG_WATCH_ASPECTS] = {NULL};
    guint changed = 0, told = 0;

    for (guint i = 0; i < APMIG_WATCH_ASPECTS; i++) {
        const char *missing = kind->is_complete ? kind->initial[i] : NULL;

        was[i] = learn(reading, queue, i, facts ? facts->clauses[i] : missing, &changed);
        is[i] = was[i] ? queue->facts[i].clause : NULL;
        told += was[i] != NULL;
        reading->watch->is_unsettled |= queue->facts[i].said != NULL;
    }
    if (told > 0) {
        g_array_append_val(reading->queues, queue->queue);
        kind->describe(&queue->queue, was, is, reading->places);
    }
    for (guint i = 0; i < APMIG_WATCH_ASPECTS; i++)
        g_free(was[i]);
    return FALSE; /* go on */
}

/* --- all of them --------------------------------------------------------------------------------- */

void
apmig_watch_changes_free(ApmigWatchChanges *changes)
{
    if (!changes)
        return;
    apmig_scope_unref(changes->queues);
    g_free(changes->message);
    g_free(changes);
}

static int
compare_texts(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(const char *const *)a, *(const char *const *)b);
}

static char *
list_whats(GHashTable *whats)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new();
    GHashTableIter iter;
    gpointer text;

    g_hash_table_iter_init(&iter, whats);
    while (g_hash_table_iter_next(&iter, &text, NULL))
        g_ptr_array_add(texts, text);
    g_ptr_array_sort(texts, compare_texts);
    return apmig_sentence_few(texts, ", ");
}

static ApmigWatchChanges *
conclude(const Reading *reading)
{
    const ApmigWatchKind *kind = reading->watch->kind;
    g_autofree char *what = list_whats(reading->whats);
    g_autofree char *few = apmig_sentence_few(reading->places, kind->separator);
    ApmigWatchChanges *changes = g_new0(ApmigWatchChanges, 1);

    changes->queues =
        apmig_scope_new_from_queues((const ApmigApqn *)reading->queues->data, reading->queues->len);
    changes->message = g_strdup_printf("%s %s: %s.", kind->subject, what, few);
    return changes;
}

static void
add_queues(ApmigWatch *watch, GHashTable *facts)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, facts);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        add_queue(watch, &((const ApmigQueueFacts *)value)->queue);
}

ApmigWatchChanges *
apmig_watch_observe(ApmigWatch *watch, GHashTable *facts, gint64 asked_at, gint64 began_at)
{
    g_autoptr(GArray) queues = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));
    g_autoptr(GPtrArray) places = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GHashTable) whats = g_hash_table_new(g_str_hash, g_str_equal);
    Reading reading = {watch, facts, asked_at, began_at, queues, places, whats};
    ApmigWatchChanges *changes;

    add_queues(watch, facts);
    watch->is_unsettled = FALSE;
    g_tree_foreach(watch->queues, observe_queue, &reading);
    changes = queues->len > 0 ? conclude(&reading) : NULL;
    watch->observed_at = began_at;
    if (!watch->is_unsettled)
        drop_ended_reasons(watch, asked_at);
    return changes;
}

gboolean
apmig_watch_is_unsettled(const ApmigWatch *watch)
{
    return watch->is_unsettled;
}

/* --- forgetting ---------------------------------------------------------------------------------- */

typedef struct {
    const ApmigScope *scope;
    guint aspect;
} Forgotten;

static gboolean
forget_fact(gpointer number, gpointer value, gpointer user_data)
{
    const Forgotten *forgotten = user_data;
    Queue *queue = value;
    Fact *fact = &queue->facts[forgotten->aspect];

    if (apmig_scope_contains(forgotten->scope, queue->queue.adapter, queue->queue.domain)) {
        g_clear_pointer(&fact->clause, g_free);
        end_doubt(fact);
    }
    return FALSE; /* go on */
}

void
apmig_watch_forget(ApmigWatch *watch, const ApmigScope *scope, guint aspect)
{
    Forgotten forgotten = {scope, aspect};

    g_tree_foreach(watch->queues, forget_fact, &forgotten);
}

/* --- life ---------------------------------------------------------------------------------------- */

static int
compare_numbers(gconstpointer a, gconstpointer b, gpointer user_data)
{
    return GPOINTER_TO_INT(a) - GPOINTER_TO_INT(b);
}

ApmigWatch *
apmig_watch_new(const ApmigWatchKind *kind)
{
    ApmigWatch *watch = g_new0(ApmigWatch, 1);

    watch->kind = kind;
    watch->reasons = g_ptr_array_new_with_free_func(reason_free);
    watch->queues = g_tree_new_full(compare_numbers, NULL, NULL, queue_free);
    watch->observed_at = G_MININT64;
    return watch;
}

void
apmig_watch_free(ApmigWatch *watch)
{
    if (!watch)
        return;
    g_ptr_array_unref(watch->reasons);
    g_tree_unref(watch->queues);
    g_free(watch);
}
