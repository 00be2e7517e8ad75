/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who has asked for something and waits: of the engine by an event, of others by a question. Whoever is gone is not called
 * any more, whatever is still under way for him.
 */
#include "core/private.h"

#include "base/hook-presence.h"

#define LIST_LIMIT_USEC (5 * G_USEC_PER_SEC) /* for the hypervisor to tell of its guests */

static Caller *
find_caller(const ApmigCore *core, ApmigCaller number)
{
    return g_hash_table_lookup(core->callers, GSIZE_TO_POINTER(number));
}

static Caller *
caller_new(ApmigCore *core, AnswerFunc func, gpointer user_data)
{
    Caller *caller = g_new0(Caller, 1);

    caller->core = core;
    caller->number = ++core->last_caller;
    caller->func = func;
    caller->user_data = user_data;
    g_hash_table_insert(core->callers, GSIZE_TO_POINTER(caller->number), caller);
    return caller;
}

ApmigCaller
core_add_caller(ApmigCore *core, ApmigReplyFunc func, gpointer user_data)
{
    return caller_new(core, (AnswerFunc)func, user_data)->number;
}

Caller *
core_add_question(ApmigCore *core, AnswerFunc func, gpointer user_data)
{
    Caller *caller = caller_new(core, func, user_data);

    caller->is_question = TRUE;
    return caller;
}

void
core_end_question(Caller *caller)
{
    g_hash_table_remove(caller->core->callers, GSIZE_TO_POINTER(caller->number));
}

gboolean
core_has_caller(const ApmigCore *core, ApmigCaller number)
{
    return find_caller(core, number) != NULL;
}

void
apmig_core_caller_gone(ApmigCore *core, ApmigCaller number)
{
    Caller *caller = find_caller(core, number);

    if (caller && caller->is_question) {
        caller->func = NULL; /* its answer is still to come, and ends it */
        return;
    }
    g_hash_table_remove(core->callers, GSIZE_TO_POINTER(number));
    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = number});
}

/* --- replies ------------------------------------------------------------------------------------- */

static void
deliver(ApmigCore *core, const ApmigAction *reply)
{
    ApmigCaller number = reply->reply.caller;
    const Caller *caller = find_caller(core, number);

    if (caller) /* else it is gone meanwhile */
        ((ApmigReplyFunc)caller->func)(reply, caller->user_data);
    g_hash_table_remove(core->callers, GSIZE_TO_POINTER(number));
}

static gboolean
deliver_all(gpointer user_data)
{
    ApmigCore *core = user_data;

    g_clear_pointer(&core->reply_source, g_source_unref);
    while (!g_queue_is_empty(&core->replies)) {
        g_autoptr(ApmigAction) reply = g_queue_pop_head(&core->replies);

        deliver(core, reply);
    }
    return G_SOURCE_REMOVE;
}

void
core_reply(ApmigCore *core, ApmigAction *reply)
{
    g_queue_push_tail(&core->replies, reply);
    if (core->reply_source)
        return;
    core->reply_source = g_idle_source_new();
    g_source_set_priority(core->reply_source, G_PRIORITY_HIGH);
    g_source_set_callback(core->reply_source, deliver_all, core, NULL);
    g_source_attach(core->reply_source, NULL);
}

/* --- requests ------------------------------------------------------------------------------------ */

char *
apmig_core_new_id(ApmigCore *core)
{
    g_autoptr(GPtrArray) permits = apmig_engine_list_permits(core->engine);

    for (;;) {
        g_autofree char *id = apmig_store_new_lock_id(core->store);
        gboolean is_taken = apmig_engine_lookup_lock(core->engine, id) != NULL;

        for (guint i = 0; i < permits->len; i++)
            is_taken |= g_str_equal(((const ApmigPermit *)g_ptr_array_index(permits, i))->id, id);
        if (!is_taken)
            return g_steal_pointer(&id);
    }
}

ApmigCaller
apmig_core_request(ApmigCore *core, ApmigEvent *event, ApmigReplyFunc func, gpointer user_data)
{
    event->caller = core_add_caller(core, func, user_data);
    if (event->type == APMIG_EVENT_TAKE)
        core_tell_hardware(core); /* modules are loaded without an event that is listened to */
    else if (event->type == APMIG_EVENT_RELEASE &&
             (event->release.force || core->on_release == APMIG_ON_RELEASE_TRUST))
        core_watch_release(core, event->release.id);
    core_handle(core, event);
    return event->caller;
}

/* --- questions ----------------------------------------------------------------------------------- */

static void
facts_found(const ApmigGuestFacts *facts, const GError *error, gpointer user_data)
{
    Caller *caller = user_data;

    if (caller->func)
        ((ApmigGuestFactsFunc)caller->func)(facts, error, caller->user_data);
    core_end_question(caller);
}

ApmigCaller
apmig_core_look_up_facts(ApmigCore *core, const char *guest, ApmigGuestFactsFunc func, gpointer user_data)
{
    Caller *caller = core_add_question(core, (AnswerFunc)func, user_data);

    core->hypervisor->look_up_facts(core->hypervisor, guest, facts_found, caller);
    return caller->number;
}

static void
stamps_removed(guint n_removed, const GError *error, gpointer user_data)
{
    Caller *caller = user_data;

    if (caller->func)
        ((ApmigStampsRemovedFunc)caller->func)(n_removed, error, caller->user_data);
    core_end_question(caller);
}

ApmigCaller
apmig_core_remove_stamps(ApmigCore *core, const char *guest, ApmigStampsRemovedFunc func, gpointer user_data)
{
    Caller *caller = core_add_question(core, (AnswerFunc)func, user_data);

    apmig_stamp_queue_remove(core->stamps, guest, stamps_removed, caller);
    return caller->number;
}

static void
guests_listed(const GPtrArray *guests, gpointer user_data)
{
    Caller *caller = user_data;

    if (caller->func)
        ((ApmigGuestDevicesFunc)caller->func)(guests, caller->user_data);
    core_end_question(caller);
}

ApmigCaller
apmig_core_list_guests(ApmigCore *core, ApmigGuestDevicesFunc func, gpointer user_data)
{
    Caller *caller = core_add_question(core, (AnswerFunc)func, user_data);

    apmig_guest_lister_list(core->guest_lister, LIST_LIMIT_USEC, guests_listed, caller);
    return caller->number;
}

static void
queues_listed(const ApmigApHost *host, const GPtrArray *guests, const char *error, gpointer user_data)
{
    Caller *caller = user_data;

    if (caller->func)
        ((ApmigQueuesFunc)caller->func)(host, guests, error, caller->user_data);
    core_end_question(caller);
}

ApmigCaller
apmig_core_list_queues(ApmigCore *core, ApmigQueuesFunc func, gpointer user_data)
{
    Caller *caller = core_add_question(core, (AnswerFunc)func, user_data);

    apmig_queue_lister_list(core->queue_lister, LIST_LIMIT_USEC, queues_listed, caller);
    return caller->number;
}

/* --- at once ------------------------------------------------------------------------------------- */

gboolean
apmig_core_hook_installed(const ApmigCore *core, char **ret_problem)
{
    return apmig_hook_is_installed(core->hooks_dir, ret_problem);
}

char *
apmig_core_describe_hook_problem(const ApmigCore *core)
{
    char *problem = NULL;

    if (core->has_hook)
        apmig_core_hook_installed(core, &problem);
    return problem;
}
