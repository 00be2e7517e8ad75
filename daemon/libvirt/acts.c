/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is asked of the actor, who alone may change anything: steps, and whether he is ready for them. An answer that comes
 * when the connection is another one is nobody's any more: whoever waited for it was told that the old one is lost.
 */
#include "libvirt/private.h"

#include <sys/syslog.h>

#include "base/log.h"

typedef struct {
    LibvirtHypervisor *self;
    guint64 session_number;
    LibvirtActFunc func;
    gpointer data;
    GDestroyNotify free_data;
} Act;

static void
act_free(gpointer data)
{
    Act *act = data;

    act->free_data(act->data);
    g_free(act);
}

GHashTable *
libvirt_acts_new(void)
{
    return g_hash_table_new_full(NULL, NULL, act_free, NULL);
}

static void
on_acted(ApmigActResult result, const char *message, gpointer user_data)
{
    Act *act = user_data;

    g_hash_table_steal(act->self->acts, act);
    if (act->session_number == act->self->session_number)
        act->func(act->self, result, message, act->data);
    act_free(act);
}

void
libvirt_act(LibvirtHypervisor *self, const ApmigActOrder *order, LibvirtActFunc func, gpointer data,
            GDestroyNotify free_data)
{
    Act *act = g_new(Act, 1);

    *act = (Act){self, self->session_number, func, data, free_data};
    g_hash_table_add(self->acts, act);
    self->actor->act(self->actor, order, on_acted, act);
}

/* --- steps --------------------------------------------------------------------------------------- */

static ApmigStepOutcome
outcome_of(ApmigActResult result)
{
    switch (result) {
    case APMIG_ACT_DONE:
        return APMIG_STEP_REQUESTED;
    case APMIG_ACT_NOTHING:
        return APMIG_STEP_NO_JOB;
    case APMIG_ACT_TOO_LATE:
        return APMIG_STEP_NOT_ABORTABLE;
    case APMIG_ACT_UNAVAILABLE:
        return APMIG_STEP_UNAVAILABLE;
    case APMIG_ACT_BUSY:
    case APMIG_ACT_REFUSED:
    case APMIG_ACT_FAILED:
        break;
    }
    return APMIG_STEP_FAILED;
}

static void
on_step(LibvirtHypervisor *self, ApmigActResult result, const char *message, gpointer data)
{
    const guint64 *op = data;

    self->callbacks.told(
        &(ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED, .step = {*op, outcome_of(result), message}},
        self->user_data);
}

void
libvirt_run_step(ApmigHypervisor *vtable, guint64 op, ApmigStep step, const char *uuid)
{
    guint64 *number = g_new(guint64, 1);

    *number = op;
    libvirt_act((LibvirtHypervisor *)vtable, &(ApmigActOrder){.verb = APMIG_ACT_ABORT, .uuid = uuid}, on_step,
                number, g_free);
}

/* --- whether they could be made ------------------------------------------------------------------ */

static void
on_readiness(ApmigActResult result, const char *message, gpointer user_data)
{
    LibvirtHypervisor *self = user_data;
    const char *trouble = result == APMIG_ACT_DONE ? NULL : message;

    self->readiness_asked = FALSE;
    if (g_strcmp0(trouble, self->step_trouble) == 0)
        return;
    if (trouble && !self->step_trouble)
        apmig_log(LOG_ERR, "a migration could not be ended now: %s", trouble);
    g_free(self->step_trouble);
    self->step_trouble = g_strdup(trouble);
    self->callbacks.told(&(ApmigEvent){.type = APMIG_EVENT_STEPS_CHANGED, .steps = {trouble}},
                         self->user_data);
}

void
libvirt_ask_readiness(LibvirtHypervisor *self)
{
    if (self->readiness_asked)
        return;
    self->readiness_asked = TRUE;
    self->actor->act(self->actor, &(ApmigActOrder){.verb = APMIG_ACT_READY}, on_readiness, self);
}
