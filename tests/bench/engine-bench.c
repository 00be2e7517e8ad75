/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What policy/ costs, a call or an event at a time, and beside each thing something that costs as much as it may: run by
 * engine.py.
 *
 *     engine-bench WAY COUNT
 *
 * Prints the seconds of processor time that COUNT repetitions of WAY took. The engine stands on a host of 200 guests, each
 * of which it sees.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/engine.h"
#include "guest/xml.h"

#define N_GUESTS     200
#define BITMAP_BYTES (65536 / 8)

/* --- an engine ------------------------------------------------------------------------------------ */

typedef struct {
    ApmigEngine *engine;
    GPtrArray *actions;
    ApmigScope *keys; /* of every guest */
    char *uuids[N_GUESTS];
    gint64 now;
    guint64 n_events;
    guint64 n_found; /* so that no call is left out */
} Host;

static void carry_out(Host *host, ApmigAction *action);

static void
tell(Host *host, ApmigEvent event)
{
    g_autoptr(GPtrArray) actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);

    event.now = host->now += 10;
    event.realtime = G_GINT64_CONSTANT(1800000000000000) + host->now;
    host->n_events++;
    apmig_engine_handle(host->engine, &event, actions);
    for (guint i = 0; i < actions->len; i++)
        carry_out(host, g_ptr_array_index(actions, i));
}

static void
list_guests(Host *host, guint64 token)
{
    ApmigGuestName guests[N_GUESTS];

    for (guint i = 0; i < N_GUESTS; i++)
        guests[i] = (ApmigGuestName){host->uuids[i], host->uuids[i]};
    tell(host, (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                            .listed = {token, NULL, guests, G_N_ELEMENTS(guests)}});
}

/* A hypervisor where every guest rests, and a disk, both of which answer at once. */
static void
carry_out(Host *host, ApmigAction *action)
{
    const ApmigEvent answer = {.type = APMIG_EVENT_GUEST_ANSWERED,
                               .answered = {.token = action->query.token,
                                            .uuid = action->query.uuid,
                                            .job = APMIG_JOB_NONE,
                                            .facts_read = TRUE,
                                            .facts = {.affected = APMIG_AFFECTED_YES, .scope = host->keys}}};

    if (action->type == APMIG_ACTION_LIST_GUESTS)
        list_guests(host, action->query.token);
    else if (action->type == APMIG_ACTION_QUERY_GUEST)
        tell(host, answer);
    else if (action->type == APMIG_ACTION_PERSIST_LOCK)
        tell(host, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {action->op, NULL}});
    else if (action->type == APMIG_ACTION_REMOVE_LOCK)
        tell(host, (ApmigEvent){.type = APMIG_EVENT_LOCK_REMOVED, .persisted = {action->op, NULL}});
}

static void
host_init(Host *host)
{
    g_autoptr(ApmigPolicy) policy = apmig_policy_new_default();
    g_autoptr(GPtrArray) none = g_ptr_array_new();

    policy->stamp = APMIG_STAMP_OFF;
    policy->on_release = APMIG_ON_RELEASE_TRUST;
    *host = (Host){.engine = apmig_engine_new(policy, "be7c"), .keys = apmig_scope_parse("04.0012", NULL)};
    for (guint i = 0; i < N_GUESTS; i++)
        host->uuids[i] = g_strdup_printf("00000000-0000-4000-8000-%012x", i);
    tell(host, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {none, none}});
    tell(host, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

static void
host_clear(Host *host)
{
    for (guint i = 0; i < N_GUESTS; i++)
        g_free(host->uuids[i]);
    apmig_scope_unref(host->keys);
    apmig_engine_free(host->engine);
}

static void
take(Host *host, guint64 caller)
{
    g_autofree char *id = g_strdup_printf("%08" G_GINT64_MODIFIER "x", caller);
    g_autoptr(ApmigScope) all = apmig_scope_new_all();

    tell(host, (ApmigEvent){.type = APMIG_EVENT_TAKE,
                            .caller = caller, .take = {.id = id,
                                     .scope = all,
                                     .reason = "AES rotation",
                                     .change_id = "",
                                     .user = "root"}});
    if (apmig_engine_lookup_lock(host->engine, id)->state != APMIG_LOCK_HELD)
        g_error("the lock is not held");
}

static void
release(Host *host, guint64 caller)
{
    g_autofree char *id = g_strdup_printf("%08" G_GINT64_MODIFIER "x", caller);

    tell(host, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = caller, .release = {.id = id}});
}

/* --- the ways -------------------------------------------------------------------------------------- */

/* Every lock asks each guest; what has ended is forgotten in its time, so the engine does not grow. */
static void
time_locks(Host *host, guint64 count)
{
    for (guint64 caller = 1; host->n_events < count; caller++) {
        take(host, 2 * caller);
        release(host, 2 * caller);
        host->now += 3600 * (gint64)G_USEC_PER_SEC;
        tell(host, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    }
}

static void
admit(Host *host, ApmigCaller caller)
{
    tell(host, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                            .caller = caller, .admit = {.uuid = "1b826c23-8767-47ad-a6b5-c83a88277f71",
                                      .name = "g1",
                                      .facts = {.affected = APMIG_AFFECTED_YES, .scope = host->keys}}});
}

static void
time_denials(Host *host, guint64 count)
{
    take(host, G_MAXUINT32);
    for (guint64 caller = 1; caller <= count; caller++)
        admit(host, caller);
}

static const char guest_xml[] =
    "<domain><name>g1</name><uuid>1b826c23-8767-47ad-a6b5-c83a88277f71</uuid><metadata>"
    "<apmigd:keys xmlns:apmigd=\"urn:apmigd:1\" scope=\"04.0012\"/></metadata></domain>";

static void
time_xml(Host *host, guint64 count)
{
    for (guint64 i = 0; i < count; i++) {
        g_autoptr(ApmigGuest) guest = apmig_guest_parse(guest_xml, strlen(guest_xml), NULL);

        g_assert_nonnull(guest);
    }
}

static void
time_overlap(Host *host, const char *text_a, const char *text_b, guint64 count)
{
    g_autoptr(ApmigScope) a = apmig_scope_parse(text_a, NULL);
    g_autoptr(ApmigScope) b = apmig_scope_parse(text_b, NULL);

    for (guint64 i = 0; i < count; i++)
        host->n_found += (guint64)apmig_scope_overlaps(a, b);
}

/* Nothing is found, so all is looked at. */
static void
time_disjoint(Host *host, guint64 count)
{
    time_overlap(host, "*.0000-007f", "*.0080-00ff", count);
}

static void
time_all(Host *host, guint64 count)
{
    time_overlap(host, "all", "all", count);
}

static void
time_memcmp(Host *host, guint64 count)
{
    g_autofree guint8 *a = g_malloc0(BITMAP_BYTES);
    g_autofree guint8 *b = g_malloc0(BITMAP_BYTES);

    for (guint64 i = 0; i < count; i++) {
        b[BITMAP_BYTES - 1] = (guint8)i; /* so that no comparison is that of the round before */
        host->n_found += memcmp(a, b, BITMAP_BYTES) != 0;
    }
}

static const struct {
    const char *name;
    void (*run)(Host *host, guint64 count);
} ways[] = {
    {"locks", time_locks},       {"denials", time_denials}, {"xml", time_xml},
    {"disjoint", time_disjoint}, {"all", time_all},         {"memcmp", time_memcmp},
};

static double
processor_time(void)
{
    struct timespec spent = {0};

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
}

static double
time_way(guint way, guint64 count)
{
    Host host;
    double begin, spent;

    host_init(&host);
    host.n_events = 0;
    begin = processor_time();
    ways[way].run(&host, count);
    spent = processor_time() - begin;
    host_clear(&host);
    return spent;
}

int
main(int argc, char **argv)
{
    guint64 count;

    for (guint way = 0; argc == 3 && way < G_N_ELEMENTS(ways); way++) {
        if (g_str_equal(argv[1], ways[way].name) &&
            g_ascii_string_to_unsigned(argv[2], 10, 1, G_MAXUINT32, &count, NULL)) {
            printf("%.9f\n", time_way(way, count));
            return 0;
        }
    }
    fprintf(stderr, "usage: engine-bench locks|denials|xml|disjoint|all|memcmp COUNT\n");
    return 2;
}
