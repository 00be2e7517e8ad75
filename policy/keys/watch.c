/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/watch.h"

#include "base/sentence.h"

struct ApmigKeyWatch {
    GHashTable *seen; /* queue -> ApmigKeyReading: what was read last */
};

typedef struct {
    GArray *queues;    /* of ApmigApqn */
    GPtrArray *places; /* clauses */
} Findings;

static gpointer
key_of(guint adapter, guint domain)
{
    return GUINT_TO_POINTER(adapter * APMIG_AP_NUMBERS + domain);
}

ApmigKeyWatch *
apmig_key_watch_new(void)
{
    ApmigKeyWatch *watch = g_new0(ApmigKeyWatch, 1);

    watch->seen = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    return watch;
}

void
apmig_key_watch_free(ApmigKeyWatch *watch)
{
    if (watch == NULL)
        return;
    g_hash_table_unref(watch->seen);
    g_free(watch);
}

void
apmig_key_watch_forget(ApmigKeyWatch *watch, const ApmigScope *scope)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, watch->seen);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        ApmigKeyReading *reading = value;

        for (guint i = 0;
             apmig_scope_contains(scope, reading->adapter, reading->domain) && i < APMIG_N_KEY_CLASSES; i++)
            reading->mkvps.registers[i][APMIG_REGISTER_CUR] = (ApmigKeyRegister){0};
    }
}

void
apmig_key_changes_free(ApmigKeyChanges *changes)
{
    if (changes == NULL)
        return;
    apmig_scope_unref(changes->queues);
    apmig_scope_unref(changes->group);
    g_free(changes->message);
    g_free(changes);
}

/* --- one queue ----------------------------------------------------------------------------------- */

/* @before, @now: CUR */
static gboolean
is_other_key(ApmigKeyClass key_class, const ApmigKeyRegister *before, const ApmigKeyRegister *now)
{
    gboolean was_known = before->length > 0 || apmig_key_register_is_empty(before);
    gboolean is_known = now->length > 0 || apmig_key_register_is_empty(now);

    if (!was_known || !is_known || (before->length == 0 && now->length == 0))
        return FALSE;
    return !apmig_key_pattern_equal(key_class, before, now);
}

static char *
show(const ApmigKeyRegister *reg)
{
    return reg->length > 0 ? apmig_key_pattern_to_string(reg)
                           : g_strdup(apmig_key_state_to_string(reg->state));
}

/* @before: all unknown when the queue was not read before. Returns: whether anything has changed. */
static gboolean
compare(const ApmigKeyReading *before, const ApmigKeyReading *now, GPtrArray *places)
{
    guint n = places->len;

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigKeyRegister *was = before->mkvps.registers[i], *is = now->mkvps.registers[i];
        const char *key_class = apmig_key_class_to_string((ApmigKeyClass)i);

        if (apmig_key_register_is_pending(&is[APMIG_REGISTER_NEW]) &&
            !apmig_key_register_is_pending(&was[APMIG_REGISTER_NEW]))
            g_ptr_array_add(places, g_strdup_printf("%s NEW is %s in AP queue %02x.%04x", key_class,
                                                    apmig_key_state_to_string(is[APMIG_REGISTER_NEW].state),
                                                    now->adapter, now->domain));
        if (is_other_key((ApmigKeyClass)i, &was[APMIG_REGISTER_CUR], &is[APMIG_REGISTER_CUR])) {
            g_autofree char *old = show(&was[APMIG_REGISTER_CUR]);
            g_autofree char *new = show(&is[APMIG_REGISTER_CUR]);

            g_ptr_array_add(places, g_strdup_printf("%s CUR was %s and is %s in AP queue %02x.%04x",
                                                    key_class, old, new, now->adapter, now->domain));
        }
    }
    return places->len > n;
}

/* What is not known now may have been known before, and will be compared with that. */
static void
remember(ApmigKeyReading *before, const ApmigKeyReading *now)
{
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++)
        for (guint j = 0; j < APMIG_N_REGISTERS; j++)
            if (now->mkvps.registers[i][j].state != APMIG_KEY_STATE_UNKNOWN)
                before->mkvps.registers[i][j] = now->mkvps.registers[i][j];
}

static ApmigKeyReading *
find_or_add(ApmigKeyWatch *watch, const ApmigKeyReading *reading)
{
    gpointer key = key_of(reading->adapter, reading->domain);
    ApmigKeyReading *before = g_hash_table_lookup(watch->seen, key);

    if (before != NULL)
        return before;
    before = g_new0(ApmigKeyReading, 1);
    before->adapter = reading->adapter;
    before->domain = reading->domain;
    g_hash_table_insert(watch->seen, key, before);
    return before;
}

/* --- all of them --------------------------------------------------------------------------------- */

static ApmigScope *
widen(const GArray *queues)
{
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));

    for (guint i = 0; i < queues->len; i++) {
        for (guint adapter = 0; adapter < APMIG_AP_NUMBERS; adapter++) {
            const ApmigApqn queue = {adapter, g_array_index(queues, ApmigApqn, i).domain};

            g_array_append_val(all, queue);
        }
    }
    return apmig_scope_new_from_queues((const ApmigApqn *)all->data, all->len);
}

static ApmigKeyChanges *
conclude(const Findings *findings)
{
    ApmigKeyChanges *changes = g_new0(ApmigKeyChanges, 1);
    g_autofree char *few = apmig_sentence_few(findings->places, ", ");

    changes->queues =
        apmig_scope_new_from_queues((const ApmigApqn *)findings->queues->data, findings->queues->len);
    changes->group = widen(findings->queues);
    changes->message = g_strdup_printf("Master keys change although nobody has locked them: %s.", few);
    return changes;
}

ApmigKeyChanges *
apmig_key_watch_observe(ApmigKeyWatch *watch, const GPtrArray *readings, const ApmigScope *covered)
{
    g_autoptr(GArray) queues = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));
    g_autoptr(GPtrArray) places = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < readings->len; i++) {
        const ApmigKeyReading *now = readings->pdata[i];
        const ApmigApqn queue = {now->adapter, now->domain};
        ApmigKeyReading *before = find_or_add(watch, now);

        if (!apmig_scope_contains(covered, now->adapter, now->domain) && compare(before, now, places))
            g_array_append_val(queues, queue);
        remember(before, now);
    }
    return queues->len > 0 ? conclude(&(Findings){queues, places}) : NULL;
}
