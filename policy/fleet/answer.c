/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/answer.h"

static const char *const state_words[] = {
    [APMIG_FLEET_HOST_REQUESTED] = "requested", [APMIG_FLEET_HOST_DRAINING] = "draining",
    [APMIG_FLEET_HOST_HELD] = "held",           [APMIG_FLEET_HOST_PERMITTED] = "permitted",
    [APMIG_FLEET_HOST_UNPROVEN] = "unproven",   [APMIG_FLEET_HOST_BREACHED] = "breached",
    [APMIG_FLEET_HOST_VERIFYING] = "verifying", [APMIG_FLEET_HOST_RECOVERED] = "recovered",
    [APMIG_FLEET_HOST_RELEASED] = "released",   [APMIG_FLEET_HOST_FORCED_OPEN] = "forced-open",
};

const char *
apmig_fleet_host_state_to_string(ApmigFleetHostState state)
{
    g_return_val_if_fail((guint)state < G_N_ELEMENTS(state_words), "");
    return state_words[state];
}

gboolean
apmig_fleet_host_state_from_string(const char *text, ApmigFleetHostState *ret_state)
{
    for (guint i = 0; i < G_N_ELEMENTS(state_words); i++) {
        if (g_str_equal(state_words[i], text)) {
            *ret_state = (ApmigFleetHostState)i;
            return TRUE;
        }
    }
    return FALSE;
}

static ApmigFleetHead
head_of(const char *host, const char *problem)
{
    return (ApmigFleetHead){.fleet = g_strdup(""),
                            .host = g_strdup(host),
                            .cluster_id = g_strdup(""),
                            .problem = g_strdup(problem)};
}

static void
head_clear(ApmigFleetHead *head)
{
    g_free(head->fleet);
    g_free(head->host);
    g_free(head->cluster_id);
    g_free(head->problem);
}

ApmigFleetAnswer *
apmig_fleet_answer_new(const char *host, const char *problem)
{
    ApmigFleetAnswer *answer = g_new0(ApmigFleetAnswer, 1);

    answer->head = head_of(host, problem);
    answer->boot_id = g_strdup("");
    answer->apmigd = g_strdup("");
    answer->hook_problem = g_strdup("");
    answer->locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_lock_answer_free);
    return answer;
}

void
apmig_fleet_answer_free(ApmigFleetAnswer *answer)
{
    if (!answer)
        return;
    head_clear(&answer->head);
    g_free(answer->boot_id);
    g_free(answer->apmigd);
    g_free(answer->hook_problem);
    g_ptr_array_unref(answer->locks);
    g_free(answer);
}

ApmigFleetLockAnswer *
apmig_fleet_lock_answer_new(const char *id)
{
    ApmigFleetLockAnswer *answer = g_new0(ApmigFleetLockAnswer, 1);

    answer->id = g_strdup(id);
    answer->local_id = g_strdup("");
    answer->blockers = g_new0(char *, 1);
    answer->permits = g_new0(char *, 1);
    answer->departed = g_new0(char *, 1);
    return answer;
}

void
apmig_fleet_lock_answer_free(ApmigFleetLockAnswer *answer)
{
    if (!answer)
        return;
    g_free(answer->id);
    g_free(answer->local_id);
    if (answer->scope)
        apmig_scope_unref(answer->scope);
    g_strfreev(answer->blockers);
    g_strfreev(answer->permits);
    g_strfreev(answer->departed);
    g_free(answer);
}

ApmigFleetKeys *
apmig_fleet_keys_new(const char *host, const char *problem)
{
    ApmigFleetKeys *keys = g_new0(ApmigFleetKeys, 1);

    keys->head = head_of(host, problem);
    keys->records = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_evidence_record_free);
    return keys;
}

void
apmig_fleet_keys_free(ApmigFleetKeys *keys)
{
    if (!keys)
        return;
    head_clear(&keys->head);
    g_ptr_array_unref(keys->records);
    g_free(keys);
}
