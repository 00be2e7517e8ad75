/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/leftover.h"

#include "base/sentence.h"

#include <string.h>

static gboolean
is_assigned_the_same(const ApmigApDevice *a, const ApmigApDevice *b)
{
    return memcmp(&a->adapters, &b->adapters, sizeof a->adapters) == 0 &&
           memcmp(&a->domains, &b->domains, sizeof a->domains) == 0 &&
           memcmp(&a->control_domains, &b->control_domains, sizeof a->control_domains) == 0;
}

static void
add_numbers(GPtrArray *clauses, const char *what, int digits, const ApmigApMask *mask)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *few = NULL;

    for (guint number = 0; number < APMIG_AP_NUMBERS; number++)
        if (apmig_ap_mask_has(mask, number))
            g_ptr_array_add(names, g_strdup_printf("%0*x", digits, number));
    few = apmig_sentence_few(names, ", ");
    if (names->len > 0)
        g_ptr_array_add(clauses, g_strdup_printf("%s %s", what, few));
}

/* Returns: (transfer full): as a clause. */
static char *
describe_assigned(const ApmigApDevice *device)
{
    g_autoptr(GPtrArray) clauses = g_ptr_array_new_with_free_func(g_free);

    add_numbers(clauses, "adapters", 2, &device->adapters);
    add_numbers(clauses, "domains", 4, &device->domains);
    add_numbers(clauses, "control domains", 4, &device->control_domains);
    return clauses->len > 0 ? apmig_sentence_few(clauses, ", ") : g_strdup("nothing");
}

char *
apmig_leftover_describe(const ApmigApDevice *before, const ApmigApDevice *after, const char *guest)
{
    g_autofree char *was = NULL, *is = NULL;

    if (before->has_config != APMIG_YES || after->has_config != APMIG_YES ||
        is_assigned_the_same(before, after))
        return NULL;
    was = describe_assigned(before);
    is = describe_assigned(after);
    return g_strdup_printf(
        "Mediated device %s has kept what guest %s brought, whose migration has failed: it has %s, and had %s. "
        "It is not what it was defined to be, and keeps what it has from others. Start it anew, with: mdevctl "
        "stop --uuid %s; mdevctl start --uuid %s.",
        after->uuid, guest, is, was, after->uuid, after->uuid);
}
