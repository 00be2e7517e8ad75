/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The libvirt side with libvirt's own test driver, which lives in this process, has one active guest "test" and
 * knows no jobs, and with calls that hang or fail; the watch on the status folder.
 */
#include "libvirt/hypervisor.h"

#include <glib/gstdio.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <string.h>

#include "act/client.h"
#include "bus/in-process-actor.h"
#include "libvirt/status-watch.h"
#include "cards/fixture.h"
#include "libvirt/fake-libvirt.h"

#define URI        "test:///default"
#define GUEST      "test"
#define GUEST_UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define OTHER_UUID "6695eb01-f6a4-8304-79aa-97f2502e1930"

#define WAIT_USEC (20 * G_USEC_PER_SEC)

/* What the callbacks were told, newest last, one line each. */
typedef struct {
    ApmigHypervisor *hypervisor;
    GString *told;
} World;

static gboolean
is_told(const World *world, const char *line)
{
    return strstr(world->told->str, line) != NULL;
}

static gboolean
wake_up(gpointer user_data)
{
    return G_SOURCE_CONTINUE;
}

/* Runs the main loop until @line was told; what is told is forgotten then. */
static void
await(World *world, const char *line)
{
    gint64 end = g_get_monotonic_time() + WAIT_USEC;
    guint ticks = g_timeout_add(100, wake_up, NULL);

    while (!is_told(world, line)) {
        if (g_get_monotonic_time() > end)
            g_error("'%s' was not told, but: %s", line, world->told->str);
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(ticks);
}

static void
forget(World *world)
{
    g_string_truncate(world->told, 0);
}

static void
view_started(const char *uri, gboolean has_hook, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "started %s hook=%d\n", uri, has_hook);
}

static void
view_lost(const char *reason, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "lost: %s\n", reason);
}

static void
listed(guint64 token, const char *error, const ApmigGuestName *guests, guint n_guests, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "listed %" G_GUINT64_FORMAT " %s", token,
                           error != NULL ? error : "ok");
    for (guint i = 0; i < n_guests; i++)
        g_string_append_printf(world->told, " %s=%s", guests[i].name, guests[i].uuid);
    g_string_append(world->told, "\n");
}

static void
append_facts(GString *text, const ApmigGuestFacts *facts)
{
    g_string_append_printf(text, " affected=%d", facts->affected);
    if (facts->scope != NULL)
        g_string_append_printf(text, " scope=%s varies=%d", apmig_scope_to_string(facts->scope),
                               facts->scope_varies);
}

static void
answered(const ApmigEvent *answer, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "answered %" G_GUINT64_FORMAT " %s job=%d postcopy=%d facts=%d",
                           answer->answered.token, answer->answered.uuid, answer->answered.job,
                           answer->answered.postcopy, answer->answered.facts_read);
    if (answer->answered.facts_read)
        append_facts(world->told, &answer->answered.facts);
    if (answer->answered.error != NULL)
        g_string_append_printf(world->told, " error=%s", answer->answered.error);
    g_string_append(world->told, "\n");
}

static void
facts_read(const ApmigEvent *event, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "read %" G_GUINT64_FORMAT " %s", event->facts_read.token,
                           event->facts_read.uuid);
    append_facts(world->told, &event->facts_read.facts);
    g_string_append(world->told, "\n");
}

static void
heartbeat_answered(const ApmigEvent *event, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "heartbeat %" G_GUINT64_FORMAT " %s\n", event->heartbeat.token,
                           event->heartbeat.error != NULL ? event->heartbeat.error : "-");
}

static void
step_finished(guint64 op, ApmigStepOutcome outcome, const char *message, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "step %" G_GUINT64_FORMAT " %s: %s\n", op,
                           apmig_step_outcome_to_string(outcome), message);
}

static void
news(const ApmigEvent *event, gpointer user_data)
{
    World *world = user_data;
    ApmigNews what = event->news.what;

    if (what == APMIG_NEWS_CHANGED || what == APMIG_NEWS_STARTED || what == APMIG_NEWS_PLUGGED)
        g_string_append_printf(world->told, "changed %s%s\n", event->news.uuid,
                               what == APMIG_NEWS_STARTED   ? " started"
                               : what == APMIG_NEWS_PLUGGED ? " plugged"
                                                            : "");
    else if (apmig_news_is_stop(what))
        g_string_append_printf(world->told, "stopped %s migrated=%d\n", event->news.uuid,
                               what == APMIG_NEWS_STOPPED_MIGRATED);
    g_string_append_printf(world->told, "hint %s -\n", event->news.uuid);
}

static void
stamp_finished(guint64 op, ApmigStamping result, const char *message, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "stamp %" G_GUINT64_FORMAT " %d %s\n", op, result,
                           message != NULL ? message : "-");
}

static void
other_keys(const ApmigOtherKeys *other, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "other keys %s %s %d %s\n", other->uuid, other->name, other->change,
                           other->sentence);
}

static void
stamps_removed(guint n_removed, const GError *error, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "removed %u %s\n", n_removed, error != NULL ? error->message : "-");
}

static void
hint(const char *uuid, const char *name, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "hint %s %s\n", uuid != NULL ? uuid : "-", name != NULL ? name : "-");
}

static void
on_watched(gboolean watched, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "watched %d\n", watched);
}

static void
steps_changed(const char *trouble, gpointer user_data)
{
    World *world = user_data;
    g_string_append_printf(world->told, "steps %s\n", trouble != NULL ? trouble : "-");
}

static void
on_facts(const ApmigGuestFacts *facts, const GError *error, gpointer user_data)
{
    World *world = user_data;
    if (facts == NULL) {
        g_string_append_printf(world->told, "no facts: %s: %s\n", apmig_error_name(error->code),
                               error->message);
        return;
    }
    g_string_append(world->told, "facts");
    append_facts(world->told, facts);
    g_string_append(world->told, "\n");
}

static void
told(const ApmigEvent *event, gpointer user_data)
{
    if (event->type == APMIG_EVENT_VIEW_LOST)
        view_lost(event->view_lost.reason, user_data);
    else if (event->type == APMIG_EVENT_GUESTS_LISTED)
        listed(event->listed.token, event->listed.error, event->listed.guests, event->listed.n_guests,
               user_data);
    else if (event->type == APMIG_EVENT_GUEST_ANSWERED)
        answered(event, user_data);
    else if (event->type == APMIG_EVENT_FACTS_READ)
        facts_read(event, user_data);
    else if (event->type == APMIG_EVENT_HEARTBEAT_ANSWERED)
        heartbeat_answered(event, user_data);
    else if (event->type == APMIG_EVENT_STEP_FINISHED)
        step_finished(event->step.op, event->step.outcome, event->step.message, user_data);
    else if (event->type == APMIG_EVENT_GUEST_NEWS)
        news(event, user_data);
    else if (event->type == APMIG_EVENT_HINT)
        hint(event->hint.uuid, event->hint.name, user_data);
    else if (event->type == APMIG_EVENT_HINTS_CHANGED)
        on_watched(event->hints.watched, user_data);
    else if (event->type == APMIG_EVENT_STEPS_CHANGED)
        steps_changed(event->steps.trouble, user_data);
    else if (event->type == APMIG_EVENT_STAMP_FINISHED)
        stamp_finished(event->stamping.op, event->stamping.result, event->stamping.message, user_data);
    else
        g_assert_not_reached();
}

static const ApmigHypervisorCallbacks callbacks = {view_started, told, other_keys};

/* @actor: (transfer full) */
static World *
world_new_with(const char *uri, const char *status_dir, const char *sysfs_root, ApmigActor *actor)
{
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(sysfs_root);
    World *world = g_new0(World, 1);

    world->told = g_string_new(NULL);
    world->hypervisor = apmig_libvirt_hypervisor_new(uri, status_dir, sysfs, actor);
    world->hypervisor->start(world->hypervisor, &callbacks, world);
    g_assert_cmpstr(world->told->str, ==, ""); /* nothing from within the call */
    return world;
}

static World *
world_new_on(const char *uri, const char *status_dir, const char *sysfs_root)
{
    return world_new_with(uri, status_dir, sysfs_root, apmig_in_process_actor_new(uri));
}

static World *
world_new(const char *uri, const char *status_dir)
{
    return world_new_on(uri, status_dir, "/nonexistent");
}

static void
world_free(World *world)
{
    gint64 before = g_get_monotonic_time();

    world->hypervisor->free(world->hypervisor);
    g_assert_cmpint(g_get_monotonic_time() - before, <, 10 * G_USEC_PER_SEC); /* what hangs, hangs for ever */
    forget(world);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpstr(world->told->str, ==, ""); /* no callback after it */
    g_string_free(world->told, TRUE);
    g_free(world);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

/* --- questions ----------------------------------------------------------------------------------- */

static void
test_questions(void)
{
    g_autoptr(World) world = world_new(URI, NULL);
    ApmigHypervisor *hypervisor = world->hypervisor;

    await(world, "started " URI " hook=0\n"); /* the test driver calls no hook */
    hypervisor->list_guests(hypervisor, 7);
    await(world, "listed 7 ok " GUEST "=" GUEST_UUID "\n");

    /* A driver without job information: no job. */
    hypervisor->query_guest(hypervisor, 8, GUEST_UUID, FALSE);
    await(world, "answered 8 " GUEST_UUID " job=0 postcopy=0 facts=0\n");
    hypervisor->query_guest(hypervisor, 9, GUEST_UUID, TRUE);
    await(world, "read 9 " GUEST_UUID " affected=1\nanswered 9 " GUEST_UUID " job=0 postcopy=0 facts=0\n");
    hypervisor->query_guest(hypervisor, 10, OTHER_UUID, TRUE);
    await(world, "answered 10 " OTHER_UUID " job=4 postcopy=0 facts=0\n");

    hypervisor->run_step(hypervisor, 11, APMIG_STEP_LIBVIRT_ABORT, GUEST_UUID);
    await(world, "step 11 failed: the guest is not affected: ");
    hypervisor->run_step(hypervisor, 12, APMIG_STEP_LIBVIRT_ABORT, OTHER_UUID);
    await(world, "step 12 no-job: ");
}

static void
test_many_questions(void)
{
    g_autoptr(World) world = world_new(URI, NULL);
    ApmigHypervisor *hypervisor = world->hypervisor;

    await(world, "started ");
    for (guint64 token = 1; token <= 200; token++)
        hypervisor->query_guest(hypervisor, token, GUEST_UUID, token % 2 == 0);
    for (guint64 token = 1; token <= 200; token++) {
        g_autofree char *answer =
            g_strdup_printf("answered %" G_GUINT64_FORMAT " " GUEST_UUID " job=0 ", token);
        await(world, answer);
    }
}

static void
test_look_up(void)
{
    g_autoptr(World) world = world_new(URI, NULL);
    ApmigHypervisor *hypervisor = world->hypervisor;

    await(world, "started ");
    hypervisor->look_up_facts(hypervisor, GUEST, on_facts, world);
    await(world, "facts affected=1\n");
    forget(world);
    hypervisor->look_up_facts(hypervisor, GUEST_UUID, on_facts, world);
    await(world, "facts affected=1\n");
    forget(world);
    hypervisor->look_up_facts(hypervisor, "nobody", on_facts, world);
    await(world, "no facts: NoSuchGuest: libvirt knows no guest 'nobody' on this host\n");
    forget(world);
    hypervisor->look_up_facts(hypervisor, OTHER_UUID, on_facts, world);
    await(world, "no facts: NoSuchGuest: ");
}

static void
test_freed_with_questions_under_way(void)
{
    g_autoptr(World) world = world_new(URI, NULL);

    await(world, "started ");
    for (guint64 token = 1; token <= 40; token++)
        world->hypervisor->query_guest(world->hypervisor, token, GUEST_UUID, TRUE);
    world->hypervisor->look_up_facts(world->hypervisor, GUEST, on_facts, world);
}

/* --- queues in sysfs ----------------------------------------------------------------------------- */

#define AP_GUEST      "device"
#define AP_GUEST_UUID "6695eb01-f6a4-8304-79aa-97f2502e1931"
#define D1            "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define MATRIX        "bus/mdev/devices/" D1 "/guest_matrix"
#define AP_GUEST_XML                                                                                         \
    "<domain type='test'><name>" AP_GUEST "</name><uuid>" AP_GUEST_UUID "</uuid><memory>1048576</memory>"    \
    "<os><type>hvm</type></os><devices><hostdev mode='subsystem' type='mdev' model='vfio-ap'>"               \
    "<source><address uuid='" D1 "'/></source></hostdev></devices></domain>"

#define BARE_GUEST_XML                                                                                       \
    "<domain type='test'><name>" AP_GUEST "</name><uuid>" AP_GUEST_UUID "</uuid><memory>1048576</memory>"    \
    "<os><type>hvm</type></os></domain>"

/* With a second guest, which has a mediated device. */
typedef struct {
    char *root;
    virConnectPtr connection;
    virDomainPtr guest;
    World *world;
} ApWorld;

static void
ap_world_begin(ApWorld *ap)
{
    ap->root = sysfs_new();
    sysfs_add_device(ap->root, D1, "02.0005\n05.0005\n", "02.0005\n");
    ap->connection = virConnectOpen(URI);
    ap->guest = virDomainDefineXML(ap->connection, AP_GUEST_XML);
    g_assert_nonnull(ap->guest);
    g_assert_cmpint(virDomainCreate(ap->guest), ==, 0);
    ap->world = world_new_on(URI, NULL, ap->root);
    await(ap->world, "started ");
}

static void
ap_world_end(ApWorld *ap)
{
    world_free(ap->world);
    virDomainDestroy(ap->guest);
    g_assert_cmpint(virDomainUndefine(ap->guest), ==, 0);
    virDomainFree(ap->guest);
    virConnectClose(ap->connection);
    sysfs_free(ap->root);
}

static void
expect_facts(ApWorld *ap, guint64 token, gboolean want_facts, const char *facts)
{
    g_autofree char *answer = g_strdup_printf(
        "answered %" G_GUINT64_FORMAT " " AP_GUEST_UUID " job=0 postcopy=0 %s\n", token, facts);

    ap->world->hypervisor->query_guest(ap->world->hypervisor, token, AP_GUEST_UUID, want_facts);
    await(ap->world, answer);
}

static void
look_up(ApWorld *ap, const char *facts)
{
    ap->world->hypervisor->look_up_facts(ap->world->hypervisor, AP_GUEST, on_facts, ap->world);
    await(ap->world, facts);
    forget(ap->world);
}

/* Read anew for every answer once the facts were asked for, without asking libvirt for the XML again. */
static void
test_queues(void)
{
    ApWorld ap;

    ap_world_begin(&ap);
    expect_facts(&ap, 1, FALSE, "facts=0");
    expect_facts(&ap, 2, TRUE, "facts=1 affected=2 scope=02.0005 varies=1");
    sysfs_write(ap.root, MATRIX, "02.0005\n05.0005\n");
    expect_facts(&ap, 3, FALSE, "facts=1 affected=2 scope=02.0005,05.0005 varies=1");
    sysfs_write(ap.root, MATRIX, "");
    expect_facts(&ap, 4, FALSE, "facts=1 affected=2 scope=none varies=1");
    sysfs_write(ap.root, MATRIX, "02.0005");
    expect_facts(&ap, 5, FALSE, "facts=1 affected=2 scope=all varies=1");
    sysfs_write(ap.root, MATRIX, "05.0005\n");
    look_up(&ap, "facts affected=2 scope=05.0005 varies=1\n");
    ap_world_end(&ap);
}

/* What the device of a guest that does not run has proves nothing of what it will have when it comes in. */
static void
test_queues_of_a_guest_that_stops(void)
{
    ApWorld ap;

    ap_world_begin(&ap);
    expect_facts(&ap, 1, TRUE, "facts=1 affected=2 scope=02.0005 varies=1");
    g_assert_cmpint(virDomainDestroy(ap.guest), ==, 0);
    await(ap.world, "stopped " AP_GUEST_UUID " migrated=0\n");
    look_up(&ap, "facts affected=2 scope=all varies=0\n");
    g_assert_cmpint(virDomainCreate(ap.guest), ==, 0);
    await(ap.world, "changed " AP_GUEST_UUID " started\n");
    expect_facts(&ap, 2, FALSE, "facts=0"); /* nothing is told of an earlier life */
    expect_facts(&ap, 3, TRUE, "facts=1 affected=2 scope=02.0005 varies=1");
    ap_world_end(&ap);
}

/* Its device is only in its persistent configuration: it gets it back. */
static void
test_queues_of_an_unplugged_guest(void)
{
    ApWorld ap;

    ap_world_begin(&ap);
    g_assert_cmpint(virDomainDestroy(ap.guest), ==, 0);
    virDomainFree(virDomainDefineXML(ap.connection, BARE_GUEST_XML));
    g_assert_cmpint(virDomainCreate(ap.guest), ==, 0);
    ap.world->hypervisor->query_guest(ap.world->hypervisor, 1, AP_GUEST_UUID, TRUE);
    await(ap.world, "read 1 " AP_GUEST_UUID " affected=1\n");
    virDomainFree(virDomainDefineXML(ap.connection, AP_GUEST_XML));
    expect_facts(&ap, 2, TRUE, "facts=1 affected=2 scope=02.0005 varies=1");
    sysfs_write(ap.root, MATRIX, "05.0005\n");
    expect_facts(&ap, 3, FALSE, "facts=1 affected=2 scope=05.0005 varies=1");
    look_up(&ap, "facts affected=2 scope=05.0005 varies=1\n");
    sysfs_remove(ap.root, "bus/mdev/devices/" D1);
    expect_facts(&ap, 4, FALSE, "facts=1 affected=2 scope=all varies=1");
    ap_world_end(&ap);
}

/* --- the connection ------------------------------------------------------------------------------ */

static void
test_no_connection(void)
{
    g_autoptr(World) world = world_new("test:///nonexistent/host.xml", NULL);
    ApmigHypervisor *hypervisor = world->hypervisor;
    gint64 first_loss;

    await(world, "lost: cannot connect to libvirt at test:///nonexistent/host.xml: ");
    first_loss = g_get_monotonic_time();
    forget(world);

    /* Everything is answered, with that. */
    hypervisor->list_guests(hypervisor, 1);
    hypervisor->query_guest(hypervisor, 2, GUEST_UUID, TRUE);
    hypervisor->run_step(hypervisor, 3, APMIG_STEP_LIBVIRT_ABORT, GUEST_UUID);
    hypervisor->look_up_facts(hypervisor, GUEST, on_facts, world);
    g_assert_cmpstr(world->told->str, ==, "");
    await(world, "listed 1 there is no connection to libvirt\n");
    await(world,
          "answered 2 " GUEST_UUID " job=5 postcopy=0 facts=0 error=there is no connection to libvirt\n");
    await(world, "step 3 failed: cannot connect to libvirt at test:///nonexistent/host.xml: ");
    await(world, "no facts: HypervisorUnavailable: there is no connection to libvirt\n");

    /* Tried again after a second. */
    forget(world);
    await(world, "lost: ");
    g_assert_cmpint(g_get_monotonic_time() - first_loss, >=, 500 * G_TIME_SPAN_MILLISECOND);
}

/* They may take longer than it waits for them. */
static void
await_closed(guint n_open)
{
    gint64 end = g_get_monotonic_time() + WAIT_USEC;

    while (fake_libvirt_n_open() > n_open) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void
start_without(const char *event, int code, const char *answer)
{
    World *world;

    fake_libvirt_reset();
    fake_libvirt_fail(event, code);
    world = world_new(URI, NULL);
    await(world, answer);
    world_free(world);
    fake_libvirt_reset();
}

/* What leaves a host unseen is no view of it; what only some drivers have may be missing. */
static void
test_events_that_are_missing(void)
{
    guint before = fake_libvirt_n_open();

    start_without("RegisterLifecycle", VIR_ERR_NO_SUPPORT,
                  "lost: libvirt does not tell of guests that start and stop: it was made to fail\n");
    start_without("RegisterIteration", VIR_ERR_NO_SUPPORT,
                  "lost: libvirt does not tell of migrations that send memory: it was made to fail\n");
    start_without("RegisterIteration", VIR_ERR_ACCESS_DENIED,
                  "lost: libvirt does not tell of migrations that send memory: it was made to fail\n");
    start_without("RegisterOther", VIR_ERR_ACCESS_DENIED,
                  "lost: libvirt does not tell of what happens to guests: it was made to fail\n");
    start_without("RegisterOther", VIR_ERR_NO_SUPPORT, "started " URI);
    await_closed(before);
}

static void
test_freed_while_connecting(void)
{
    g_autoptr(World) world = world_new(URI, NULL);

    world->hypervisor->look_up_facts(world->hypervisor, GUEST, on_facts, world);
}

static void
test_events(void)
{
    g_autoptr(World) world = world_new(URI, NULL);
    virConnectPtr connection = virConnectOpen(URI);
    virDomainPtr guest = virDomainLookupByName(connection, GUEST);

    await(world, "started ");
    g_assert_cmpint(virDomainSuspend(guest), ==, 0);
    await(world, "hint " GUEST_UUID " -\n");
    g_assert_false(is_told(world, "stopped"));
    g_assert_cmpint(virDomainResume(guest), ==, 0);

    forget(world);
    g_assert_cmpint(virDomainSetMetadata(guest, VIR_DOMAIN_METADATA_ELEMENT, "<keys scope='04.0012'/>",
                                         "apmigd", "urn:apmigd:1", VIR_DOMAIN_AFFECT_LIVE),
                    ==, 0);
    await(world, "changed " GUEST_UUID "\n");
    world->hypervisor->query_guest(world->hypervisor, 1, GUEST_UUID, TRUE);
    await(world, "read 1 " GUEST_UUID " affected=2 scope=04.0012 varies=0\n");

    forget(world);
    g_assert_cmpint(virDomainDestroy(guest), ==, 0);
    await(world, "stopped " GUEST_UUID " migrated=0\nhint " GUEST_UUID " -\n");
    world->hypervisor->query_guest(world->hypervisor, 2, GUEST_UUID, TRUE);
    await(world, "answered 2 " GUEST_UUID " job=");
    world->hypervisor->look_up_facts(world->hypervisor, GUEST, on_facts, world); /* also when not active */
    await(world, "facts affected=1\n");

    forget(world);
    g_assert_cmpint(virDomainCreate(guest), ==, 0);
    await(world, "changed " GUEST_UUID " started\nhint " GUEST_UUID " -\n");
    virDomainFree(guest);
    virConnectClose(connection);
}

/* --- stamps -------------------------------------------------------------------------------------- */

/* Has the guest's stamp written, with a lock of @reason (NULL: none). */
static void
stamp(World *world, guint64 op, ApmigStampForm form, const char *reason)
{
    static const char host_id[] = "22222222-2222-4222-8222-222222222222";
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    g_autoptr(ApmigAction) action = g_new0(ApmigAction, 1);
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);
    g_autofree char *answer = g_strdup_printf("stamp %" G_GUINT64_FORMAT " %d -\n", op, APMIG_STAMPING_DONE);

    record->id = g_strdup("0123456f");
    record->reason = g_strdup(reason);
    record->owner_name = g_strdup("anna");
    record->scope = apmig_scope_parse("04.*", NULL);
    action->type = APMIG_ACTION_STAMP_GUEST;
    action->stamp.form = form;
    action->stamp.locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    if (reason != NULL)
        g_ptr_array_add(action->stamp.locks, record);
    else
        apmig_lock_record_free(record);
    world->hypervisor->stamp_guest(
        world->hypervisor, op, GUEST_UUID,
        apmig_stamp_order_new(action, host_id, "zhost1", g_get_real_time(), nothing));
    await(world, answer);
}

/* Returns: (transfer full) (nullable): of the guest. */
static char *
get_metadata(virDomainPtr guest, const char *uri)
{
    return virDomainGetMetadata(guest, VIR_DOMAIN_METADATA_ELEMENT, uri, VIR_DOMAIN_AFFECT_LIVE);
}

static void
assert_stamp(virDomainPtr guest, const char *part)
{
    g_autofree char *xml = get_metadata(guest, "urn:apmigd:stamp:1");
    g_autofree char *keys = get_metadata(guest, "urn:apmigd:1");

    g_assert_nonnull(keys); /* nobody's but the administrator's */
    g_assert_cmpint(xml != NULL, ==, part != NULL);
    if (part != NULL && strstr(xml, part) == NULL)
        g_error("%s is not in %s", part, xml);
}

static void
test_stamps(void)
{
    g_autoptr(World) world = world_new(URI, NULL);
    virConnectPtr connection = virConnectOpen(URI);
    virDomainPtr guest = virDomainLookupByName(connection, GUEST);

    await(world, "started ");
    stamp(world, 1, APMIG_STAMP_FULL, NULL); /* not an affected guest */
    g_assert_null(get_metadata(guest, "urn:apmigd:stamp:1"));
    virDomainSetMetadata(guest, VIR_DOMAIN_METADATA_ELEMENT, "<keys scope='04.0012'/>", "apmigd",
                         "urn:apmigd:1", VIR_DOMAIN_AFFECT_LIVE);
    await(world, "changed " GUEST_UUID "\n");
    forget(world);
    stamp(world, 2, APMIG_STAMP_FULL, NULL);
    assert_stamp(guest, "host=\"22222222");
    stamp(world, 3, APMIG_STAMP_FULL, "AES rotation, \"phase\" <2>");
    assert_stamp(guest, "phase");
    stamp(world, 4, APMIG_STAMP_DIGEST, NULL);
    assert_stamp(guest, "form=\"digest\"");
    stamp(world, 5, APMIG_STAMP_OFF, NULL);
    assert_stamp(guest, NULL);
    stamp(world, 6, APMIG_STAMP_OFF, NULL);
    assert_stamp(guest, NULL);
    g_assert_false(is_told(world, "changed")); /* of what it wrote itself */

    stamp(world, 7, APMIG_STAMP_FULL, "AES rotation");
    world->hypervisor->remove_stamps(world->hypervisor, "", stamps_removed, world);
    await(world, "removed 1 -\n");
    assert_stamp(guest, NULL);
    forget(world);
    world->hypervisor->remove_stamps(world->hypervisor, GUEST, stamps_removed, world);
    await(world, "removed 0 -\n");
    world->hypervisor->remove_stamps(world->hypervisor, "nobody", stamps_removed, world);
    await(world, "removed 0 libvirt knows no guest 'nobody' on this host\n");
    virDomainSetMetadata(guest, VIR_DOMAIN_METADATA_ELEMENT, NULL, NULL, "urn:apmigd:1",
                         VIR_DOMAIN_AFFECT_LIVE);
    virDomainFree(guest);
    virConnectClose(connection);
}

/* --- connections --------------------------------------------------------------------------------- */

static void
query_and_await(World *world, guint64 token, gboolean want_facts)
{
    g_autofree char *answer = g_strdup_printf("answered %" G_GUINT64_FORMAT " " GUEST_UUID " job=0 ", token);

    world->hypervisor->query_guest(world->hypervisor, token, GUEST_UUID, want_facts);
    await(world, answer);
}

/* libvirt's client breaks with more, when its keepalive dies. */
static void
test_one_call_at_a_time(void)
{
    World *world;
    guint before = fake_libvirt_n_open();

    fake_libvirt_reset();
    world = world_new(URI, NULL);
    await(world, "started ");
    for (guint64 token = 1; token <= 200; token++) {
        world->hypervisor->query_guest(world->hypervisor, token, GUEST_UUID, token % 2 == 0);
        world->hypervisor->list_guests(world->hypervisor, token);
    }
    await(world, "answered 200 ");
    await(world, "listed 200 ");
    g_assert_cmpuint(fake_libvirt_most_at_once(), ==, 1);
    g_assert_cmpuint(fake_libvirt_n_open() - before, <=, 3); /* of the events, and two for the view */
    world_free(world);
    await_closed(before);
}

/* Whatever is asked here: the actor alone may change something. */
static void
test_read_only(void)
{
    World *world;

    fake_libvirt_reset();
    world = world_new_with(URI, NULL, "/nonexistent", apmig_act_client_new("/nonexistent/act"));
    await(world, "started ");
    query_and_await(world, 1, TRUE);
    world->hypervisor->heartbeat(world->hypervisor, 2, NULL);
    await(world, "heartbeat 2 -\n");
    world->hypervisor->look_up_facts(world->hypervisor, GUEST, on_facts, world);
    await(world, "facts affected=1\n");
    stamp(world, 3, APMIG_STAMP_OFF, NULL);
    world->hypervisor->run_step(world->hypervisor, 4, APMIG_STEP_LIBVIRT_ABORT, GUEST_UUID);
    await(world, "step 4 ");
    g_assert_cmpuint(fake_libvirt_count("ConnectOpenReadOnly"), ==, 5);
    g_assert_cmpuint(fake_libvirt_count("ConnectOpen"), ==, 0);
    world_free(world);
}

/* --- who makes changes ---------------------------------------------------------------------------- */

#define NOBODY                                                                                               \
    "nobody listens at \"/nonexistent/act\": apmigd-act is not installed, or its socket not started "        \
    "(systemctl enable --now apmigd-act.socket)"

/* Each says so, with the remedy; and that there is none is told once. */
static void
test_no_actor(void)
{
    g_autoptr(World) world =
        world_new_with(URI, NULL, "/nonexistent", apmig_act_client_new("/nonexistent/act"));
    virConnectPtr connection = virConnectOpen(URI);
    virDomainPtr guest = virDomainLookupByName(connection, GUEST);

    await(world, "started ");
    world->hypervisor->run_step(world->hypervisor, 1, APMIG_STEP_LIBVIRT_ABORT, GUEST_UUID);
    await(world, "step 1 unavailable: " NOBODY "\n");
    world->hypervisor->heartbeat(world->hypervisor, 2, NULL);
    await(world, "steps " NOBODY "\n");
    await(world, "heartbeat 2 -\n");
    forget(world);
    world->hypervisor->heartbeat(world->hypervisor, 3, NULL);
    await(world, "heartbeat 3 -\n");
    g_assert_false(is_told(world, "steps"));

    virDomainSetMetadata(guest, VIR_DOMAIN_METADATA_ELEMENT, "<stamp/>", "apmigd", "urn:apmigd:stamp:1",
                         VIR_DOMAIN_AFFECT_LIVE);
    world->hypervisor->remove_stamps(world->hypervisor, "", stamps_removed, world);
    await(world, "removed 0 the metadata of guest '" GUEST "' cannot be written: " NOBODY "\n");
    virDomainSetMetadata(guest, VIR_DOMAIN_METADATA_ELEMENT, NULL, NULL, "urn:apmigd:stamp:1",
                         VIR_DOMAIN_AFFECT_LIVE);
    virDomainFree(guest);
    virConnectClose(connection);
}

/* With the heartbeat. */
static void
test_actor_is_ready(void)
{
    World *world;

    fake_libvirt_reset();
    world = world_new(URI, NULL);
    await(world, "started ");
    fake_libvirt_fail("ConnectOpen", VIR_ERR_AUTH_FAILED);
    world->hypervisor->heartbeat(world->hypervisor, 1, NULL);
    await(world, "steps cannot connect to libvirt at " URI ": it was made to fail\n");
    fake_libvirt_fail("ConnectOpen", 0);
    world->hypervisor->heartbeat(world->hypervisor, 2, NULL);
    await(world, "steps -\n");
    world_free(world);
    fake_libvirt_reset();
}

/* A call of the actor that hangs, as it is about to be freed. */
static void
test_freed_with_acts_under_way(void)
{
    World *world = world_new(URI, NULL);

    await(world, "started ");
    fake_libvirt_reset();
    fake_libvirt_hang("ConnectOpen", TRUE);
    world->hypervisor->run_step(world->hypervisor, 1, APMIG_STEP_LIBVIRT_ABORT, GUEST_UUID);
    world->hypervisor->heartbeat(world->hypervisor, 2, NULL);
    fake_libvirt_await_hanging(1);
    world_free(world);
    fake_libvirt_reset();
}

/* On each connection of the view once, until it stops. */
static void
test_guests_are_looked_up_once(void)
{
    g_autoptr(World) world = world_new(URI, NULL);
    virConnectPtr connection = virConnectOpen(URI);
    virDomainPtr guest = virDomainLookupByName(connection, GUEST);

    await(world, "started ");
    fake_libvirt_reset();
    for (guint64 token = 1; token <= 20; token++)
        query_and_await(world, token, FALSE);
    /* The view has two at first, and more where its calls were stuck. */
    g_assert_cmpuint(fake_libvirt_count("DomainLookupByUUIDString"), <, 10);

    g_assert_cmpint(virDomainDestroy(guest), ==, 0);
    await(world, "stopped " GUEST_UUID);
    g_assert_cmpint(virDomainCreate(guest), ==, 0);
    fake_libvirt_reset();
    query_and_await(world, 21, FALSE);
    g_assert_cmpuint(fake_libvirt_count("DomainLookupByUUIDString"), ==, 1);

    /* libvirt knows it no more: as when its stop went unseen. */
    fake_libvirt_fail("DomainGetJobStats", VIR_ERR_NO_DOMAIN);
    world->hypervisor->query_guest(world->hypervisor, 22, GUEST_UUID, FALSE);
    await(world, "answered 22 " GUEST_UUID " job=4 ");
    virDomainFree(guest);
    virConnectClose(connection);
    fake_libvirt_reset();
}

/* A call of one kind that hangs keeps none of another from being answered. */
static void
test_kinds_do_not_wait_for_each_other(void)
{
    World *world = world_new(URI, NULL);
    ApmigHypervisor *hypervisor = world->hypervisor;

    await(world, "started ");
    fake_libvirt_reset();
    fake_libvirt_hang("DomainLookupByName", TRUE);
    for (guint i = 0; i < 6; i++)
        hypervisor->look_up_facts(hypervisor, GUEST, on_facts, world);
    fake_libvirt_hang("ConnectGetAllDomainStats", TRUE);
    hypervisor->heartbeat(hypervisor, 1, NULL);
    fake_libvirt_await_hanging(5); /* four look-ups are made at a time */
    query_and_await(world, 2, TRUE);
    hypervisor->run_step(hypervisor, 3, APMIG_STEP_LIBVIRT_ABORT, GUEST_UUID);
    await(world, "step 3 failed: the guest is not affected: ");
    stamp(world, 4, APMIG_STAMP_OFF, NULL);
    fake_libvirt_hang("ConnectGetAllDomainStats", FALSE);
    await(world, "heartbeat 1 -\n");
    world_free(world); /* those that hang notwithstanding */
    fake_libvirt_reset();
}

/* --- the order of questions ---------------------------------------------------------------------- */

/* What libvirt was asked from the last reset on, about one guest that is looked up anew. */
static void
expect_calls(const char *expected)
{
    g_autofree char *calls = fake_libvirt_calls();

    g_assert_cmpstr(calls, ==, expected);
}

/* A guest that may come in has its job asked for first: 11.0 to 11.4 wait 30 s for its XML. */
static void
query_in_state(int state, int reason, int code, const char *answer, const char *calls)
{
    g_autoptr(World) world = world_new(URI, NULL);

    await(world, "started ");
    fake_libvirt_reset();
    fake_libvirt_set_state(state, reason);
    fake_libvirt_fail("DomainGetJobStats", code);
    world->hypervisor->query_guest(world->hypervisor, 1, GUEST_UUID, TRUE);
    await(world, answer);
    expect_calls(calls);
    fake_libvirt_reset();
}

#define LOOK      "ConnectOpenReadOnly DomainLookupByUUIDString DomainGetState "
#define JOB       "DomainGetJobStats DomainIsActive" /* of a driver that has none */
#define JOB_STATE JOB " DomainGetState"
#define XML       "DomainGetXMLDesc DomainGetXMLDesc" /* of now, and of its next start */
#define COMES_IN  "answered 1 " GUEST_UUID " job=2 postcopy=0 facts=0\n"
#define FACTS     "read 1 " GUEST_UUID " affected=1\n"

static void
test_order_of_questions(void)
{
    query_in_state(VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED, 0,
                   FACTS "answered 1 " GUEST_UUID " job=0 postcopy=0 facts=0\n", LOOK XML " " JOB);
    query_in_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, 0,
                   FACTS "answered 1 " GUEST_UUID " job=0 postcopy=0 facts=0\n", LOOK XML " " JOB);
    query_in_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP, VIR_ERR_OPERATION_UNSUPPORTED, COMES_IN,
                   LOOK JOB_STATE);
    query_in_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, VIR_ERR_OPERATION_UNSUPPORTED, COMES_IN,
                   LOOK JOB_STATE);
    query_in_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, 0,
                   "answered 1 " GUEST_UUID " job=0 postcopy=0 facts=1 affected=1\n", LOOK JOB_STATE " " XML);
    query_in_state(VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY, VIR_ERR_OPERATION_UNSUPPORTED,
                   "answered 1 " GUEST_UUID " job=2 postcopy=1 facts=0\n", LOOK JOB_STATE);
    query_in_state(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, VIR_ERR_OPERATION_INVALID,
                   "answered 1 " GUEST_UUID " job=5 postcopy=0 facts=0 error=it was made to fail\n",
                   LOOK JOB);
}

/* Its job takes 30 s; whether it is affected is known before. */
static void
test_guest_that_hangs(void)
{
    g_autoptr(World) world = world_new(URI, NULL);

    await(world, "started ");
    fake_libvirt_hang("DomainGetJobStats", TRUE);
    world->hypervisor->query_guest(world->hypervisor, 1, GUEST_UUID, TRUE);
    await(world, FACTS);
    world->hypervisor->look_up_facts(world->hypervisor, GUEST, on_facts, world);
    await(world, "facts affected=1\n");
    g_assert_false(is_told(world, "answered"));
    fake_libvirt_reset();
    await(world, "answered 1 " GUEST_UUID " job=0 postcopy=0 facts=0\n");

    /* Where its XML takes a job, too, libvirt is not waited for twice. */
    fake_libvirt_reset();
    fake_libvirt_fail("DomainGetXMLDesc", VIR_ERR_OPERATION_TIMEOUT);
    world->hypervisor->query_guest(world->hypervisor, 2, GUEST_UUID, TRUE);
    await(world, "answered 2 " GUEST_UUID " job=5 postcopy=0 facts=0 error=it was made to fail\n");
    g_assert_cmpuint(fake_libvirt_count("DomainGetJobStats"), ==, 0);
    fake_libvirt_reset();
}

/* --- the status folder --------------------------------------------------------------------------- */

static void
on_status(const char *name, gpointer user_data)
{
    hint(NULL, name, user_data);
}

static void
replace_status(const char *dir, const char *guest)
{
    g_autofree char *fresh = g_strdup_printf("%s/%s.xml.new", dir, guest);
    g_autofree char *final = g_strdup_printf("%s/%s.xml", dir, guest);

    g_assert_true(g_file_set_contents(fresh, "<domstatus/>", -1, NULL));
    g_assert_cmpint(g_rename(fresh, final), ==, 0);
}

static void
remove_status(const char *dir, const char *guest)
{
    g_autofree char *path = g_strdup_printf("%s/%s.xml", dir, guest);

    g_assert_cmpint(g_remove(path), ==, 0);
}

/* As test_status_folder() leaves it. */
static void
remove_folder(const char *parent)
{
    g_autofree char *dir = g_build_filename(parent, "qemu", NULL);

    remove_status(dir, "g1");
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    g_assert_cmpint(g_rmdir(parent), ==, 0);
}

static void
test_status_folder(void)
{
    World world = {.told = g_string_new(NULL)};
    g_autofree char *base = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    g_autofree char *parent = g_build_filename(base, "libvirt", NULL);
    g_autofree char *dir = g_build_filename(parent, "qemu", NULL);
    g_autofree char *aside = g_build_filename(base, "aside", NULL);
    ApmigStatusWatch *watch = apmig_status_watch_new(dir, on_status, on_watched, &world);

    /* Not there yet: found once it appears, and whatever was missed is owned up to. */
    g_assert_cmpint(g_mkdir(parent, 0700), ==, 0);
    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    await(&world, "watched 1\nhint - -\n");
    g_assert_false(is_told(&world, "watched 0"));
    replace_status(dir, "g1");
    await(&world, "hint - g1\n");
    g_assert_false(is_told(&world, "g1.xml"));

    /* Nothing tells that it is another one. */
    apmig_status_watch_check(watch);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_false(is_told(&world, "watched 0"));
    forget(&world);
    g_assert_cmpint(g_rename(parent, aside), ==, 0);
    g_assert_cmpint(g_mkdir(parent, 0700), ==, 0);
    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    apmig_status_watch_check(watch);
    await(&world, "watched 0\nwatched 1\nhint - -\n");
    replace_status(dir, "g1");
    await(&world, "hint - g1\n");
    remove_folder(aside);

    /* Gone and back. */
    forget(&world);
    remove_status(dir, "g1");
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpstr(world.told->str, ==, "watched 0\n");
    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    await(&world, "watched 1\nhint - -\n");
    replace_status(dir, "g 2");
    await(&world, "hint - g 2\n");

    apmig_status_watch_free(watch);
    remove_status(dir, "g 2");
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    g_assert_cmpint(g_rmdir(parent), ==, 0);
    g_assert_cmpint(g_rmdir(base), ==, 0);
    g_string_free(world.told, TRUE);
}

static void
test_status_folder_gives_hints(void)
{
    g_autofree char *dir = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    World *world = world_new(URI, dir);

    await(world, "watched 1\n");
    await(world, "started ");
    replace_status(dir, GUEST);
    await(world, "hint - " GUEST "\n");
    world_free(world);
    remove_status(dir, GUEST);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

/* libvirt is there, and its folder is not, or must not be read. */
static void
test_status_folder_is_missing(void)
{
    g_autoptr(World) world = world_new(URI, "/nonexistent/qemu");

    await(world, "started ");
    await(world, "watched 0\n");
}

static void
put_file(const char *dir, const char *file)
{
    g_autofree char *path = g_build_filename(dir, file, NULL);

    g_assert_true(g_file_set_contents(path, "", -1, NULL));
}

static void
expect_list(World *world, guint64 token, const char *rest)
{
    g_autofree char *line = g_strdup_printf("listed %" G_GUINT64_FORMAT " %s", token, rest);

    world->hypervisor->list_guests(world->hypervisor, token);
    await(world, line);
}

/* What an access driver takes out of the list is found by its file. */
static void
test_list_lacks_a_guest(void)
{
    g_autofree char *dir = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    g_autofree char *missing =
        g_strdup_printf("libvirt does not list guest 'g 1', which runs here by %s/g 1.xml: ", dir);
    World *world = world_new(URI, dir);

    await(world, "started ");
    put_file(dir, GUEST ".xml");
    put_file(dir, "g2.xml.new"); /* being written */
    put_file(dir, "g2.pid");
    expect_list(world, 1, "ok " GUEST "=" GUEST_UUID "\n");
    put_file(dir, "g 1.xml");
    expect_list(world, 2, missing);

    /* It has just stopped. */
    fake_libvirt_hang("ConnectListAllDomains", TRUE);
    world->hypervisor->list_guests(world->hypervisor, 3);
    fake_libvirt_await_hanging(1);
    remove_status(dir, "g 1");
    fake_libvirt_hang("ConnectListAllDomains", FALSE);
    await(world, "listed 3 ok ");
    fake_libvirt_hang("ConnectListAllDomains", TRUE);
    world->hypervisor->list_guests(world->hypervisor, 4);
    fake_libvirt_await_hanging(1);
    put_file(dir, "g3.xml"); /* or started */
    fake_libvirt_hang("ConnectListAllDomains", FALSE);
    await(world, "listed 4 ok ");

    /* A folder that cannot be read hides nothing. */
    world_free(world);
    for (guint i = 0; i < 4; i++) {
        g_autofree char *path =
            g_build_filename(dir, (const char *[]){GUEST ".xml", "g2.xml.new", "g2.pid", "g3.xml"}[i], NULL);
        g_assert_cmpint(g_remove(path), ==, 0);
    }
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    world = world_new(URI, dir);
    await(world, "started ");
    expect_list(world, 5, "ok ");
    world_free(world);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/libvirt/questions", test_questions);
    g_test_add_func("/libvirt/many-questions", test_many_questions);
    g_test_add_func("/libvirt/look-up", test_look_up);
    g_test_add_func("/libvirt/freed-with-questions-under-way", test_freed_with_questions_under_way);
    g_test_add_func("/libvirt/queues", test_queues);
    g_test_add_func("/libvirt/queues-of-a-guest-that-stops", test_queues_of_a_guest_that_stops);
    g_test_add_func("/libvirt/queues-of-an-unplugged-guest", test_queues_of_an_unplugged_guest);
    g_test_add_func("/libvirt/no-connection", test_no_connection);
    g_test_add_func("/libvirt/events-that-are-missing", test_events_that_are_missing);
    g_test_add_func("/libvirt/freed-while-connecting", test_freed_while_connecting);
    g_test_add_func("/libvirt/events", test_events);
    g_test_add_func("/libvirt/stamps", test_stamps);
    g_test_add_func("/libvirt/order-of-questions", test_order_of_questions);
    g_test_add_func("/libvirt/guest-that-hangs", test_guest_that_hangs);
    g_test_add_func("/libvirt/one-call-at-a-time", test_one_call_at_a_time);
    g_test_add_func("/libvirt/read-only", test_read_only);
    g_test_add_func("/libvirt/no-actor", test_no_actor);
    g_test_add_func("/libvirt/actor-is-ready", test_actor_is_ready);
    g_test_add_func("/libvirt/freed-with-acts-under-way", test_freed_with_acts_under_way);
    g_test_add_func("/libvirt/guests-are-looked-up-once", test_guests_are_looked_up_once);
    g_test_add_func("/libvirt/kinds-do-not-wait-for-each-other", test_kinds_do_not_wait_for_each_other);
    g_test_add_func("/libvirt/status-folder", test_status_folder);
    g_test_add_func("/libvirt/status-folder-gives-hints", test_status_folder_gives_hints);
    g_test_add_func("/libvirt/status-folder-is-missing", test_status_folder_is_missing);
    g_test_add_func("/libvirt/list-lacks-a-guest", test_list_lacks_a_guest);
    return g_test_run();
}
