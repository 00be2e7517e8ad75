/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/fence-steps.h"

#include "fence/client.h"

/* Said without another request of the helper, which would say the same. */
#define VFIO_AP_KEEPS_SESSIONS                                                                                  \
    "The vfio_ap driver keeps its data session open when the device's state changes: nothing would end by it, " \
    "so the state was left as it is."

/* The QEMU of a migration's guest. */
typedef struct {
    gint32 pid;
    guint64 start_time;
    ApmigDriver driver; /* of its device */
} Qemu;

struct ApmigFencer {
    char *socket_path;
    ApmigFencerFunc func;
    ApmigFencerLookFunc look_func;
    gpointer user_data;
    GHashTable *qemus; /* migration id -> Qemu */
    GHashTable *calls; /* set of Call: under way */
    GCancellable *cancellable;
};

typedef struct {
    ApmigFencer *fencer;
    guint64 op;
    ApmigStep step;
    guint64 wanted; /* which process the action names; 0: none */
    char *migration_id;
    ApmigFenceRequest request;
} Call;

static void
call_free(Call *call)
{
    g_free(call->migration_id);
    g_free(call);
}

ApmigFencer *
apmig_fencer_new(const char *socket_path, ApmigFencerFunc func, ApmigFencerLookFunc look_func,
                 gpointer user_data)
{
    ApmigFencer *fencer = g_new0(ApmigFencer, 1);

    fencer->socket_path = g_strdup(socket_path);
    fencer->func = func;
    fencer->look_func = look_func;
    fencer->user_data = user_data;
    fencer->qemus = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    fencer->calls = g_hash_table_new_full(NULL, NULL, (GDestroyNotify)call_free, NULL);
    fencer->cancellable = g_cancellable_new();
    return fencer;
}

void
apmig_fencer_free(ApmigFencer *fencer)
{
    if (!fencer)
        return;
    g_cancellable_cancel(fencer->cancellable);
    g_object_unref(fencer->cancellable);
    g_hash_table_unref(fencer->calls);
    g_hash_table_unref(fencer->qemus);
    g_free(fencer->socket_path);
    g_free(fencer);
}

void
apmig_fencer_forget(ApmigFencer *fencer, const char *migration_id)
{
    g_hash_table_remove(fencer->qemus, migration_id);
}

static ApmigStepOutcome
outcome_of(ApmigFenceResult result)
{
    switch (result) {
    case APMIG_FENCE_DONE:
        return APMIG_STEP_REQUESTED;
    case APMIG_FENCE_NOTHING_TO_DO:
        return APMIG_STEP_NOTHING_TO_DO;
    case APMIG_FENCE_NOT_ABORTABLE:
        return APMIG_STEP_NOT_ABORTABLE;
    case APMIG_FENCE_UNAVAILABLE:
        return APMIG_STEP_UNAVAILABLE;
    case APMIG_FENCE_REFUSED:
    case APMIG_FENCE_FAILED:
        break;
    }
    return APMIG_STEP_FAILED;
}

/* Returns: (transfer full): "RESUMING -> STOP: ..." or "frozen for 3 ms: ...". The time is left out of what does not act:
 * the same outcome twice shall read the same. */
static char *
describe(const ApmigFenceReply *reply)
{
    const char *before = apmig_vfio_state_to_string(reply->before);

    if (reply->result == APMIG_FENCE_DONE && reply->frozen_usec > 0)
        return g_strdup_printf("frozen for %" G_GINT64_FORMAT " ms: %s", (reply->frozen_usec + 999) / 1000,
                               reply->message);
    if (reply->before == APMIG_VFIO_UNKNOWN)
        return g_strdup(reply->message);
    if (reply->after != reply->before)
        return g_strdup_printf("%s -> %s: %s", before, apmig_vfio_state_to_string(reply->after),
                               reply->message);
    return g_strdup_printf("%s: %s", before, reply->message);
}

/* A number for the process that no other one of this boot has. */
static guint64
identity_of(const Qemu *qemu)
{
    return qemu ? qemu->start_time << 22 | (guint64)qemu->pid : 0; /* PID_MAX_LIMIT is 2^22 */
}

static void
finish(Call *call, ApmigStepOutcome outcome, const char *message)
{
    ApmigFencer *fencer = call->fencer;
    const Qemu *qemu = g_hash_table_lookup(fencer->qemus, call->migration_id);
    ApmigFencerAnswer answer = {.op = call->op,
                                .outcome = outcome,
                                .message = message,
                                .qemu = identity_of(qemu),
                                .state_is_vain = qemu && qemu->driver == APMIG_DRIVER_VFIO_AP};

    fencer->func(&answer, fencer->user_data);
    g_hash_table_remove(fencer->calls, call);
}

static void
finish_with(Call *call, const ApmigFenceReply *reply)
{
    g_autofree char *message = describe(reply);

    finish(call, outcome_of(reply->result), message);
}

static void
act_answered(const ApmigFenceReply *reply, gpointer user_data)
{
    Call *call = user_data;

    if (reply->result == APMIG_FENCE_REFUSED) /* another process, perhaps: to be asked for anew */
        apmig_fencer_forget(call->fencer, call->migration_id);
    finish_with(call, reply);
}

static void
act(Call *call, const Qemu *qemu)
{
    ApmigFenceRequest *request = &call->request;

    request->verb = call->step == APMIG_STEP_KILL_INCOMING ? APMIG_FENCE_KILL_INCOMING : APMIG_FENCE_FENCE;
    request->pid = qemu->pid;
    request->start_time = qemu->start_time;
    apmig_fence_call_async(call->fencer->socket_path, request, call->fencer->cancellable, act_answered, call);
}

/* Two steps may have looked for it at once: what is known of the same process stays. */
static Qemu *
remember_qemu(ApmigFencer *fencer, const char *migration_id, const ApmigFenceReply *reply)
{
    Qemu *qemu = g_hash_table_lookup(fencer->qemus, migration_id);

    if (!qemu || qemu->pid != reply->pid || qemu->start_time != reply->start_time) {
        qemu = g_new0(Qemu, 1);
        qemu->pid = reply->pid;
        qemu->start_time = reply->start_time;
        g_hash_table_replace(fencer->qemus, g_strdup(migration_id), qemu);
    }
    if (reply->driver != APMIG_DRIVER_UNKNOWN)
        qemu->driver = reply->driver;
    return qemu;
}

static void
inspect_answered(const ApmigFenceReply *reply, gpointer user_data)
{
    Call *call = user_data;
    const Qemu *qemu = NULL;

    if (reply->pid <= 0) {
        finish_with(call, reply);
        return;
    }
    qemu = remember_qemu(call->fencer, call->migration_id, reply);
    if (call->step == APMIG_STEP_KILL_INCOMING)
        finish(call, APMIG_STEP_RUNNING, NULL);
    else if (qemu->driver == APMIG_DRIVER_VFIO_AP)
        finish(call, APMIG_STEP_NOTHING_TO_DO, VFIO_AP_KEEPS_SESSIONS);
    else
        act(call, qemu);
}

static void
inspect(Call *call)
{
    call->request.verb = APMIG_FENCE_INSPECT;
    apmig_fence_call_async(call->fencer->socket_path, &call->request, call->fencer->cancellable,
                           inspect_answered, call);
}

/* All but what QEMU it is, and what is to be done. */
static void
prepare_request(ApmigFenceRequest *request, const char *uuid, const char *device, const char *name,
                ApmigFenceDirection direction)
{
    *request = (ApmigFenceRequest){.header = {APMIG_FENCE_REQUEST_MAGIC, APMIG_FENCE_VERSION},
                                   .direction = direction};
    g_strlcpy(request->uuid, uuid, sizeof request->uuid);
    g_strlcpy(request->device, device, sizeof request->device);
    g_strlcpy(request->name, name, sizeof request->name);
}

static Call *
call_new(ApmigFencer *fencer, guint64 op)
{
    Call *call = g_new0(Call, 1);

    call->fencer = fencer;
    call->op = op;
    g_hash_table_add(fencer->calls, call);
    return call;
}

void
apmig_fencer_run(ApmigFencer *fencer, const ApmigAction *action)
{
    Call *call = call_new(fencer, action->op);
    Qemu *qemu = g_hash_table_lookup(fencer->qemus, action->step.migration_id);

    call->step = action->step.kind;
    call->wanted = action->step.qemu;
    call->migration_id = g_strdup(action->step.migration_id);
    prepare_request(&call->request, action->step.uuid, action->step.device, action->step.guest,
                    action->step.outgoing ? APMIG_FENCE_OUT : APMIG_FENCE_IN);
    if (qemu && (call->step != APMIG_STEP_KILL_INCOMING || call->wanted == identity_of(qemu)))
        act(call, qemu);
    else
        inspect(call);
}

static void
look_answered(const ApmigFenceReply *reply, gpointer user_data)
{
    Call *call = user_data;
    ApmigFencer *fencer = call->fencer;

    fencer->look_func(call->op, reply->result == APMIG_FENCE_DONE, fencer->user_data);
    g_hash_table_remove(fencer->calls, call);
}

void
apmig_fencer_look(ApmigFencer *fencer, const ApmigAction *action)
{
    Call *call = call_new(fencer, action->op);

    prepare_request(&call->request, action->look.uuid, action->look.device, action->look.guest,
                    APMIG_FENCE_OUT);
    call->request.verb = APMIG_FENCE_LOOK;
    apmig_fence_call_async(fencer->socket_path, &call->request, fencer->cancellable, look_answered, call);
}
