/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd-act makes sure of before it changes anything, with libvirt's test driver and a job that is said to be there.
 * Whatever is refused must not have reached libvirt.
 */
#include "act/carry-out.h"

#include <string.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "guest/stamp-xml.h"
#include "libvirt/fake-libvirt.h"

#define URI    "test:///default"
#define GUEST  "6695eb01-f6a4-8304-79aa-97f2502e193f" /* "test", the driver's only one */
#define NOBODY "6695eb01-f6a4-8304-79aa-97f2502e1930"
#define HOST   "22222222-2222-4222-8222-222222222222"
#define MSEC   G_TIME_SPAN_MILLISECOND

typedef struct {
    ApmigLibvirtConnection *connection;
    virDomainPtr guest;
} Fixture;

static void
set_keys(virDomainPtr guest, const char *xml)
{
    g_assert_cmpint(virDomainSetMetadata(guest, VIR_DOMAIN_METADATA_ELEMENT, xml, xml ? "apmigd" : NULL,
                                         "urn:apmigd:1", VIR_DOMAIN_AFFECT_LIVE),
                    ==, 0);
}

static void
set_up(Fixture *f, gconstpointer data)
{
    fake_libvirt_reset();
    f->connection = apmig_libvirt_connection_new(URI, APMIG_LIBVIRT_FULL);
    g_assert_true(apmig_libvirt_connection_open(f->connection, NULL));
    f->guest = apmig_libvirt_connection_find(f->connection, GUEST);
    set_keys(f->guest, "<keys scope='04.0012'/>");
    fake_libvirt_reset();
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    fake_libvirt_fail("", 0);
    fake_libvirt_reset();
    virDomainSetMetadata(f->guest, VIR_DOMAIN_METADATA_ELEMENT, NULL, NULL, APMIG_STAMP_NAMESPACE,
                         VIR_DOMAIN_AFFECT_LIVE);
    set_keys(f->guest, NULL);
    virDomainFree(f->guest);
    apmig_libvirt_connection_free(f->connection);
}

/* @requested_at, @deadline: usec from now */
static ApmigActTask *
make_task(ApmigActVerb verb, const char *uuid, const char *stamp, gint64 requested_at, gint64 deadline)
{
    const gint64 now = g_get_monotonic_time();
    ApmigActRequest request = {.header = {APMIG_ACT_REQUEST_MAGIC, APMIG_ACT_VERSION},
                               .verb = verb,
                               .requested_at = now + requested_at,
                               .deadline = now + deadline};

    g_strlcpy(request.uuid, uuid, sizeof request.uuid);
    return apmig_act_task_new(&request, g_strdup(stamp));
}

static void
expect_outcome(const ApmigActTask *task, ApmigActResult result, const char *words)
{
    g_assert_cmpstr(apmig_act_result_to_string(task->reply.result), ==, apmig_act_result_to_string(result));
    if (!strstr(task->reply.message, words))
        g_error("\"%s\" is not in \"%s\"", words, task->reply.message);
}

/* --- aborts -------------------------------------------------------------------------------------- */

static void
expect_abort(Fixture *f, gint64 requested_at, gint64 deadline, ApmigActResult result, const char *words)
{
    g_autoptr(ApmigActTask) task = make_task(APMIG_ACT_ABORT, GUEST, NULL, requested_at, deadline);
    const guint before = fake_libvirt_count("DomainAbortJob");

    apmig_act_carry_out(f->connection, task);
    expect_outcome(task, result, words);
    g_assert_cmpuint(fake_libvirt_count("DomainAbortJob") - before, ==, result == APMIG_ACT_DONE);
}

static void
migrates(guint64 elapsed_ms)
{
    fake_libvirt_set_job(VIR_DOMAIN_JOB_UNBOUNDED, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT, elapsed_ms);
}

static void
test_abort(Fixture *f, gconstpointer data)
{
    migrates(60000);
    expect_abort(f, -1000 * MSEC, 20000 * MSEC, APMIG_ACT_DONE, "libvirt took the request");
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_DONE, "libvirt took the request");
}

static void
test_unaffected(Fixture *f, gconstpointer data)
{
    migrates(60000);
    set_keys(f->guest, NULL);
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_REFUSED, "is not affected");
    fake_libvirt_fail("DomainGetXMLDesc", VIR_ERR_OPERATION_TIMEOUT); /* unknown is no yes */
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_FAILED, "made to fail");
}

/* Only what surely began later is refused; how long libvirt's answer was under way is not known. */
static void
test_later_job(Fixture *f, gconstpointer data)
{
    migrates(0);
    expect_abort(f, -3000 * MSEC, 20000 * MSEC, APMIG_ACT_REFUSED, "began after the request");
    migrates(100);
    expect_abort(f, -3000 * MSEC, 20000 * MSEC, APMIG_ACT_REFUSED, "began after the request");
    migrates(60000);
    expect_abort(f, -3000 * MSEC, 20000 * MSEC, APMIG_ACT_DONE, "");
}

static gpointer
let_go(gpointer data)
{
    g_usleep(300 * MSEC);
    fake_libvirt_hang("DomainGetJobStats", FALSE);
    return NULL;
}

static void
test_deadline(Fixture *f, gconstpointer data)
{
    GThread *thread;

    migrates(60000);
    expect_abort(f, -2000 * MSEC, -1, APMIG_ACT_REFUSED, "deadline has passed");
    expect_abort(f, 60000 * MSEC, 60000 * MSEC, APMIG_ACT_REFUSED, "a time to come");
    /* looked at again right before it acts */
    fake_libvirt_hang("DomainGetJobStats", TRUE);
    thread = g_thread_new("let-go", let_go, NULL);
    expect_abort(f, -2000 * MSEC, 200 * MSEC, APMIG_ACT_REFUSED, "deadline has passed");
    g_thread_join(thread);
}

static void
test_other_jobs(Fixture *f, gconstpointer data)
{
    fake_libvirt_set_job(VIR_DOMAIN_JOB_UNBOUNDED, VIR_DOMAIN_JOB_OPERATION_SAVE, 5000);
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_NOTHING, "the guest's job is a save");
    fake_libvirt_set_job(VIR_DOMAIN_JOB_NONE, VIR_DOMAIN_JOB_OPERATION_UNKNOWN, 0);
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_NOTHING, "the guest has no job");
    fake_libvirt_set_job(VIR_DOMAIN_JOB_UNBOUNDED, VIR_DOMAIN_JOB_OPERATION_UNKNOWN, 5000);
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_FAILED, "does not say what the guest's job is");
    fake_libvirt_set_job(VIR_DOMAIN_JOB_CANCELLED, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT, 0);
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_NOTHING, "the transfer has ended already");
    migrates(60000);
    fake_libvirt_set_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY);
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_TOO_LATE, "post-copy");
}

/* Its XML must not be asked for. */
static void
test_incoming(Fixture *f, gconstpointer data)
{
    const guint before = fake_libvirt_count("DomainGetXMLDesc");

    fake_libvirt_set_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION);
    fake_libvirt_fail("DomainGetJobStats", VIR_ERR_OPERATION_UNSUPPORTED);
    expect_abort(f, 0, 20000 * MSEC, APMIG_ACT_NOTHING, "an incoming one");
    g_assert_cmpuint(fake_libvirt_count("DomainGetXMLDesc"), ==, before);
}

/* --- stamps -------------------------------------------------------------------------------------- */

/* Returns: (transfer full) */
static char *
make_stamp(void)
{
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    g_autoptr(ApmigStamp) stamp = apmig_stamp_new(HOST, 1000000, NULL, nothing, NULL);

    return apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
}

static void
expect_change(Fixture *f, ApmigActVerb verb, const char *uuid, const char *stamp, ApmigActResult result,
              const char *words)
{
    g_autoptr(ApmigActTask) task = make_task(verb, uuid, stamp, 0, 20000 * MSEC);
    const guint before = fake_libvirt_count("DomainSetMetadata");

    apmig_act_carry_out(f->connection, task);
    expect_outcome(task, result, words);
    g_assert_cmpuint(fake_libvirt_count("DomainSetMetadata") - before, ==, result == APMIG_ACT_DONE);
}

static gboolean
has_stamp(const Fixture *f)
{
    g_autofree char *xml = virDomainGetMetadata(f->guest, VIR_DOMAIN_METADATA_ELEMENT, APMIG_STAMP_NAMESPACE,
                                                VIR_DOMAIN_AFFECT_LIVE);

    return xml != NULL;
}

static void
test_stamp(Fixture *f, gconstpointer data)
{
    g_autofree char *stamp = make_stamp();

    expect_change(f, APMIG_ACT_REMOVE_STAMP, GUEST, NULL, APMIG_ACT_NOTHING, "has no stamp");
    expect_change(f, APMIG_ACT_WRITE_STAMP, GUEST, stamp, APMIG_ACT_DONE, "the stamp is written");
    g_assert_true(has_stamp(f));
    set_keys(f->guest, NULL); /* it may lose its stamp all the same */
    expect_change(f, APMIG_ACT_REMOVE_STAMP, GUEST, NULL, APMIG_ACT_DONE, "taken away");
    g_assert_false(has_stamp(f));
    expect_change(f, APMIG_ACT_WRITE_STAMP, GUEST, stamp, APMIG_ACT_REFUSED, "is not affected");
    expect_change(f, APMIG_ACT_WRITE_STAMP, NOBODY, stamp, APMIG_ACT_NOTHING, "");
    expect_change(f, APMIG_ACT_REMOVE_STAMP, NOBODY, NULL, APMIG_ACT_NOTHING, "");
}

static void
test_bad_stamps(Fixture *f, gconstpointer data)
{
    g_autofree char *stamp = make_stamp();
    g_autofree char *two = g_strconcat(stamp, stamp, NULL);
    g_autofree char *large = g_strnfill(APMIG_STAMP_MAX_BYTES + 1, 'x');

    expect_change(f, APMIG_ACT_WRITE_STAMP, GUEST, two, APMIG_ACT_REFUSED, "it is not a stamp");
    expect_change(f, APMIG_ACT_WRITE_STAMP, GUEST, large, APMIG_ACT_REFUSED, "it is not a stamp");
    expect_change(f, APMIG_ACT_WRITE_STAMP, GUEST, "<keys scope='all'/>", APMIG_ACT_REFUSED,
                  "it is not a stamp");
    expect_change(f, APMIG_ACT_WRITE_STAMP, GUEST, "", APMIG_ACT_REFUSED, "it is not a stamp");
    g_assert_false(has_stamp(f));
}

/* libvirt would wait for its end. */
static void
test_stamp_during_a_job(Fixture *f, gconstpointer data)
{
    g_autofree char *stamp = make_stamp();

    migrates(60000);
    expect_change(f, APMIG_ACT_WRITE_STAMP, GUEST, stamp, APMIG_ACT_BUSY, "has a job");
    expect_change(f, APMIG_ACT_REMOVE_STAMP, GUEST, NULL, APMIG_ACT_BUSY, "has a job");
    fake_libvirt_fail("DomainGetJobStats", VIR_ERR_OPERATION_TIMEOUT);
    expect_change(f, APMIG_ACT_WRITE_STAMP, GUEST, stamp, APMIG_ACT_FAILED, "made to fail");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/act/carry-out/abort", Fixture, NULL, set_up, test_abort, tear_down);
    g_test_add("/act/carry-out/unaffected", Fixture, NULL, set_up, test_unaffected, tear_down);
    g_test_add("/act/carry-out/later-job", Fixture, NULL, set_up, test_later_job, tear_down);
    g_test_add("/act/carry-out/deadline", Fixture, NULL, set_up, test_deadline, tear_down);
    g_test_add("/act/carry-out/other-jobs", Fixture, NULL, set_up, test_other_jobs, tear_down);
    g_test_add("/act/carry-out/incoming", Fixture, NULL, set_up, test_incoming, tear_down);
    g_test_add("/act/carry-out/stamp", Fixture, NULL, set_up, test_stamp, tear_down);
    g_test_add("/act/carry-out/bad-stamps", Fixture, NULL, set_up, test_bad_stamps, tear_down);
    g_test_add("/act/carry-out/stamp-during-a-job", Fixture, NULL, set_up, test_stamp_during_a_job,
               tear_down);
    return g_test_run();
}
