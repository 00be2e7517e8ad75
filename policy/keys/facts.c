/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/facts.h"

#include <string.h>

/* Two aspects for each class: the state of its NEW, and the key in its CUR. */
#define ASPECT_NEW(key_class) (2 * (guint)(key_class))
#define ASPECT_CUR(key_class) (2 * (guint)(key_class) + 1)
G_STATIC_ASSERT(2 * APMIG_N_KEY_CLASSES <= APMIG_WATCH_ASPECTS);

/* --- one queue ----------------------------------------------------------------------------------- */

static char *
show_new(const ApmigKeyRegister *reg)
{
    return reg->state != APMIG_KEY_STATE_UNKNOWN ? g_strdup(apmig_key_state_to_string(reg->state)) : NULL;
}

static char *
show_cur(const ApmigKeyRegister *reg)
{
    if (reg->length > 0)
        return apmig_key_pattern_to_string(reg);
    return apmig_key_register_is_empty(reg) ? g_strdup(apmig_key_state_to_string(reg->state)) : NULL;
}

static void
add_facts(GHashTable *facts, const ApmigKeyReading *reading)
{
    char **clauses = apmig_facts_of_queue(facts, reading->adapter, reading->domain)->clauses;

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigKeyRegister *registers = reading->mkvps.registers[i];

        clauses[ASPECT_NEW(i)] = show_new(&registers[APMIG_REGISTER_NEW]);
        clauses[ASPECT_CUR(i)] = show_cur(&registers[APMIG_REGISTER_CUR]);
    }
}

static gboolean
is_pending(const char *state)
{
    ApmigKeyRegister reg = {0};

    return apmig_key_state_from_string(state, &reg.state) && apmig_key_register_is_pending(&reg);
}

/* Of a WK as many bytes count as the kernel compares; the patterns of other keys are no longer than that. */
static gboolean
is_other_key(const char *was, const char *is)
{
    gboolean has_pattern = g_str_has_prefix(was, "0x") || g_str_has_prefix(is, "0x");

    return has_pattern && strncmp(was, is, strlen("0x") + 2 * APMIG_MKVP_WK_BYTES) != 0;
}

static gboolean
differs(guint aspect, const char *was, const char *is)
{
    return aspect % 2 == ASPECT_NEW(0) ? is_pending(is) && !is_pending(was) : is_other_key(was, is);
}

static void
describe(const ApmigApqn *queue, char *const *was, char *const *is, GPtrArray *places)
{
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const char *key_class = apmig_key_class_to_string((ApmigKeyClass)i);

        if (is[ASPECT_NEW(i)])
            g_ptr_array_add(places, g_strdup_printf("%s NEW is %s in AP queue %02x.%04x", key_class,
                                                    is[ASPECT_NEW(i)], queue->adapter, queue->domain));
        if (is[ASPECT_CUR(i)])
            g_ptr_array_add(places, g_strdup_printf("%s CUR was %s and is %s in AP queue %02x.%04x",
                                                    key_class, was[ASPECT_CUR(i)], is[ASPECT_CUR(i)],
                                                    queue->adapter, queue->domain));
    }
}

/* --- all of them --------------------------------------------------------------------------------- */

GHashTable *
apmig_key_facts(const GPtrArray *readings)
{
    GHashTable *facts = apmig_facts_new();

    for (guint i = 0; i < readings->len; i++)
        add_facts(facts, g_ptr_array_index(readings, i));
    return facts;
}

void
apmig_key_facts_forget(ApmigWatch *watch, const ApmigScope *scope)
{
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++)
        apmig_watch_forget(watch, scope, ASPECT_CUR(i));
}

ApmigScope *
apmig_key_group(const ApmigScope *queues)
{
    g_autoptr(GArray) group = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));
    ApmigApMask domains = {0};

    for (guint i = 0; i < APMIG_AP_NUMBERS * APMIG_AP_NUMBERS; i++)
        if (apmig_scope_contains(queues, i / APMIG_AP_NUMBERS, i % APMIG_AP_NUMBERS))
            apmig_ap_mask_add(&domains, i % APMIG_AP_NUMBERS);
    for (guint i = 0; i < APMIG_AP_NUMBERS * APMIG_AP_NUMBERS; i++) {
        const ApmigApqn queue = {i / APMIG_AP_NUMBERS, i % APMIG_AP_NUMBERS};

        if (apmig_ap_mask_has(&domains, queue.domain))
            g_array_append_val(group, queue);
    }
    return apmig_scope_new_from_queues((const ApmigApqn *)group->data, group->len);
}

const ApmigWatchKind apmig_key_kind = {
    .subject = "Master keys change",
    .separator = ", ",
    .initial = {[ASPECT_NEW(APMIG_KEY_AES)] = "empty",
                [ASPECT_NEW(APMIG_KEY_APKA)] = "empty",
                [ASPECT_NEW(APMIG_KEY_ASYM)] = "empty",
                [ASPECT_NEW(APMIG_KEY_WK)] = "empty"},
    .differs = differs,
    .describe = describe,
};
