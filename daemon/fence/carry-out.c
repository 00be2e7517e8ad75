/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/carry-out.h"

#include "base/failpoint.h"
#include "fence/driver.h"
#include "fence/freeze.h"
#include "fence/limited.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/time.h>

#define STOP_LIMIT_USEC  (70 * 1000) /* until all tasks stand still */
#define ALARM_AFTER_USEC (95 * 1000)

/* What the process that freezes tells while it does so, for it may not come to its end. */
typedef struct {
    gint64 begun; /* when the first task was stopped; 0: not yet */
    gint killed;
} Freezing;

typedef struct {
    const ApmigFenceRequest *request;
    const ApmigFencePaths *paths;
    ApmigProcess process;
    ApmigDevice device;
    ApmigLook look;
    ApmigFenceReply *reply;
    Freezing *freezing; /* (nullable): shared */
} Case;

static void
case_clear(Case *c)
{
    if (c->freezing)
        munmap(c->freezing, sizeof *c->freezing);
    apmig_look_clear(&c->look);
    apmig_device_clear(&c->device);
    apmig_process_clear(&c->process);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Case, case_clear)

static gboolean
look(Case *c, ApmigFenceReply *reply)
{
    if (!apmig_device_look(&c->process, &c->look, reply))
        return FALSE;
    reply->held_data = c->look.session != APMIG_SESSION_NONE;
    return TRUE;
}

static ApmigDecision
decide(const Case *c, const ApmigFenceReply *reply)
{
    return apmig_fence_decide(c->request->verb, c->request->direction, reply->driver, reply->before,
                              c->look.session);
}

static void
report(const ApmigDecision *decision, ApmigFenceReply *reply)
{
    apmig_fence_reply_set(reply, decision->result, 0, "%s", decision->why);
}

/* --- killing, in a process of its own ------------------------------------------------------------ */

static void
kill_process(const Case *c, const char *why, ApmigFenceReply *reply)
{
    int error = apmig_process_kill(&c->process);

    if (error != 0)
        apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, error, "The incoming QEMU could not be killed: %s.",
                              g_strerror(error));
    else
        apmig_fence_reply_set(reply, APMIG_FENCE_DONE, 0, "%s", why);
    g_atomic_int_set(&c->freezing->killed, error == 0);
}

static void
kill_frozen(ApmigFenceReply *reply, gpointer user_data)
{
    const struct itimerval limit = {.it_value = {.tv_usec = ALARM_AFTER_USEC}};
    Case *c = user_data;
    ApmigFreeze *freeze;
    ApmigDecision decision;

    __atomic_store_n(&c->freezing->begun, g_get_monotonic_time(), __ATOMIC_SEQ_CST);
    setitimer(ITIMER_REAL, &limit, NULL);
    freeze = apmig_freeze_begin(c->process.proc, c->process.proc_root, STOP_LIMIT_USEC, reply);
    if (!freeze)
        return;
    apmig_failpoint("qemu-frozen");
    if (look(c, reply)) {
        decision = decide(c, reply);
        if (decision.act == APMIG_ACT_KILL)
            kill_process(c, decision.why, reply);
        else
            report(&decision, reply);
    }
    apmig_failpoint("qemu-killed");
    reply->frozen_usec = apmig_freeze_end(freeze);
}

/* @why: as decided before */
static void
freeze_and_kill(Case *c, const char *why)
{
    c->freezing = mmap(NULL, sizeof *c->freezing, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->freezing == MAP_FAILED) {
        c->freezing = NULL;
        apmig_fence_reply_set(c->reply, APMIG_FENCE_FAILED, errno, "There is no memory left: %s.",
                              g_strerror(errno));
        return;
    }
    apmig_failpoint("qemu-to-be-frozen");
    if (apmig_limited_run(c->reply, APMIG_FREEZE_LIMIT_USEC, &c->freezing->begun, -1, kill_frozen, c) ==
        APMIG_LIMITED_DONE)
        return;
    if (c->freezing->begun)
        c->reply->frozen_usec = g_get_monotonic_time() - c->freezing->begun;
    if (g_atomic_int_get(&c->freezing->killed))
        apmig_fence_reply_set(c->reply, APMIG_FENCE_DONE, 0, "%s", why);
    else
        apmig_fence_reply_set(
            c->reply, APMIG_FENCE_FAILED, ETIMEDOUT,
            "QEMU was not dealt with within the %d ms that it may be frozen for, and runs on.",
            APMIG_FREEZE_LIMIT_USEC / 1000);
}

/* --- the order ----------------------------------------------------------------------------------- */

/* A QEMU of an incoming guest was started to be one, whatever the device looks like. */
static gboolean
check_incoming(const Case *c)
{
    return apmig_fence_verb_only_looks(c->request->verb) || c->request->direction == APMIG_FENCE_OUT ||
           c->process.incoming ||
           apmig_fence_reply_set(
               c->reply, APMIG_FENCE_REFUSED, 0,
               "Process %d was not started with \"-incoming\" and \"-S\": its guest has not arrived from "
               "anywhere.",
               c->process.pid);
}

/* The session is not known to be of one device or another, so there has to be one alone. */
static gboolean
check_one_device(const Case *c)
{
    return c->device.descriptors->len == 1 ||
           apmig_fence_reply_set(c->reply, APMIG_FENCE_REFUSED, 0,
                                 "Process %d holds %u VFIO devices, and this kernel does not tell which of "
                                 "them is %s.",
                                 c->process.pid, c->device.descriptors->len, c->device.uuid);
}

/* With nothing to kill it for, the driver tells why. */
static void
kill_incoming(Case *c)
{
    ApmigDecision decision;

    if (!check_one_device(c) || !look(c, c->reply))
        return;
    decision = decide(c, c->reply);
    if (decision.act == APMIG_ACT_KILL) {
        freeze_and_kill(c, decision.why);
        return;
    }
    if (decision.result != APMIG_FENCE_REFUSED &&
        (!apmig_driver_ask(c->request, c->paths, &c->process, &c->device, c->reply) || !look(c, c->reply)))
        return;
    decision = decide(c, c->reply);
    if (decision.act == APMIG_ACT_KILL) /* begun meanwhile */
        freeze_and_kill(c, decision.why);
    else
        report(&decision, c->reply);
}

static void
ask_driver(Case *c)
{
    ApmigDecision decision;

    if (!apmig_driver_ask(c->request, c->paths, &c->process, &c->device, c->reply) || !look(c, c->reply) ||
        c->request->verb == APMIG_FENCE_FENCE)
        return;
    decision = decide(c, c->reply);
    report(&decision, c->reply);
}

/* Whose QEMU does not answer may be one whose driver does not either: nobody is asked. */
static void
tell_of_saving(Case *c)
{
    ApmigDecision decision;

    if (!look(c, c->reply))
        return;
    decision = decide(c, c->reply);
    report(&decision, c->reply);
}

/* It may be why there was no session to be seen. */
static void
name_unknown(const Case *c)
{
    g_autofree char *message = g_strdup(c->reply->message);

    if (c->reply->result == APMIG_FENCE_NOT_ABORTABLE && c->look.unknown)
        apmig_fence_reply_set(c->reply, APMIG_FENCE_NOT_ABORTABLE, 0,
                              "%s QEMU also holds a descriptor \"%s\", which apmigd does not know.", message,
                              c->look.unknown);
}

void
apmig_fence_carry_out(const ApmigFenceRequest *request, const ApmigFencePaths *paths, ApmigFenceReply *reply)
{
    g_auto(Case) c = {.request = request,
                      .paths = paths,
                      .process = APMIG_PROCESS_INIT,
                      .device = APMIG_DEVICE_INIT,
                      .reply = reply};

    if (!apmig_process_prove(request, paths, &c.process, reply) || !check_incoming(&c) ||
        !apmig_device_find(&c.process, paths, request->device, &c.device, reply))
        return;
    reply->driver = c.device.driver;
    if (request->verb == APMIG_FENCE_LOOK)
        tell_of_saving(&c);
    else if (request->verb == APMIG_FENCE_KILL_INCOMING)
        kill_incoming(&c);
    else
        ask_driver(&c);
    name_unknown(&c);
}
