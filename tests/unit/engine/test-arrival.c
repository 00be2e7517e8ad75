/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest brings that comes in, against what this host knows: who is let in, and what is said of it. */
#include "engine/arrival-fixture.h"

#include <syslog.h>

static void
come(Fixture *fixture, gboolean restore)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();

    g_ptr_array_set_size(fixture->story.actions, 0);
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                      .caller = 7,
                      .admit = {.uuid = G1,
                                .name = "g1",
                                .restore = restore,
                                .facts = {APMIG_AFFECTED_YES, fixture->scope ? fixture->scope : all},
                                .arrival = fixture->arrival}});
}

static const ApmigAction *
find(const Fixture *fixture, ApmigActionType type, ApmigLog log)
{
    for (guint i = 0; i < fixture->story.actions->len; i++) {
        const ApmigAction *action = fixture->story.actions->pdata[i];

        if (action->type == type && (type != APMIG_ACTION_LOG || action->entry.log == log))
            return action;
    }
    return NULL;
}

static void
assert_let_in(Fixture *fixture, const char *doubt)
{
    const ApmigAction *entry;

    come(fixture, FALSE);
    entry = find(fixture, APMIG_ACTION_LOG, APMIG_LOG_ADMISSION_DOUBTFUL);
    g_assert_nonnull(find(fixture, APMIG_ACTION_PERSIST_ADMISSION, 0));
    g_assert_cmpint(entry != NULL, ==, doubt != NULL);
    if (!entry)
        return;
    assert_says(entry->entry.message, doubt);
    g_assert_cmpstr(entry->entry.uuid, ==, G1);
    g_assert_cmpint(entry->entry.priority, ==, LOG_WARNING);
}

static void
assert_denied(Fixture *fixture, const char *reason)
{
    const ApmigAction *reply;

    come(fixture, FALSE);
    reply = find(fixture, APMIG_ACTION_REPLY_ADMIT, 0);
    g_assert_null(find(fixture, APMIG_ACTION_PERSIST_ADMISSION, 0));
    g_assert_nonnull(reply);
    g_assert_false(reply->reply.allowed);
    assert_says(reply->reply.message, reason);
    g_assert_nonnull(find(fixture, APMIG_ACTION_LOG, APMIG_LOG_ADMISSION_DENIED));
}

static void
assert_restored(Fixture *fixture, gboolean allowed, const char *doubt)
{
    const ApmigAction *reply;
    const ApmigAction *entry;

    come(fixture, TRUE);
    reply = find(fixture, APMIG_ACTION_REPLY_ADMIT, 0);
    entry = find(fixture, APMIG_ACTION_LOG, APMIG_LOG_ADMISSION_DOUBTFUL);
    g_assert_nonnull(reply);
    g_assert_cmpint(reply->reply.allowed, ==, allowed);
    g_assert_cmpint(entry != NULL, ==, doubt != NULL);
    if (entry)
        assert_says(entry->entry.message, doubt);
}

static ApmigStampLock *
make_lock(void)
{
    ApmigStampLock *lock = g_new0(ApmigStampLock, 1);

    lock->id = g_strdup("0123456f");
    lock->owner = g_strdup("anna");
    lock->reason = g_strdup("AES rotation");
    return lock;
}

/* --- keys and locks at the source ----------------------------------------------------------------- */

static void
test_keys(Fixture *fixture, gconstpointer data)
{
    assert_let_in(fixture, NULL);

    know(fixture->here, KEY_B);
    assert_denied(fixture, "Master keys differ: AP queue 04.0012");
    fixture->story.policy->keys_differ = APMIG_STAMP_WARN;
    set_policy(fixture);
    assert_let_in(fixture, "Master keys differ: AP queue 04.0012");

    fixture->arrival.evidence = NULL;
    assert_let_in(fixture, "is not known: 04.0012");
    fixture->story.policy->keys_unknown = APMIG_STAMP_OK;
    set_policy(fixture);
    assert_let_in(fixture, NULL);
    fixture->story.policy->keys_unknown = APMIG_STAMP_DENY;
    set_policy(fixture);
    assert_denied(fixture, "is not known: 04.0012");
}

static void
test_locked_at_the_source(Fixture *fixture, gconstpointer data)
{
    fixture->story.policy->keys_differ = APMIG_STAMP_WARN;
    fixture->story.policy->keys_unknown = fixture->story.policy->stamp_missing = APMIG_STAMP_OK;
    set_policy(fixture);
    restamp(fixture, 1, make_lock());
    assert_denied(fixture, "lock 0123456f of anna");
    assert_denied(fixture, "apmigctl unlock 0123456f");
    assert_denied(fixture, "apmigctl unstamp " G1);
    assert_denied(fixture, "host " SOURCE ":");
    fixture->stamp->host_name = g_strdup("zhost1"); /* what people know it by */
    assert_denied(fixture, "host zhost1 (" SOURCE "):");
}

static void
test_no_stamp(Fixture *fixture, gconstpointer data)
{
    fixture->arrival.stamp = NULL;
    assert_let_in(fixture, "brings no stamp");
    fixture->arrival.stamp_problem = "<queue> has no at";
    assert_let_in(fixture, "does not read: <queue> has no at.");
    fixture->story.policy->stamp_missing = APMIG_STAMP_DENY;
    set_policy(fixture);
    assert_denied(fixture, "does not read: <queue> has no at.");
    fixture->arrival.stamp_problem = NULL;
    assert_denied(fixture, "brings no stamp");
    fixture->story.policy->stamp_missing = APMIG_STAMP_OK;
    set_policy(fixture);
    assert_let_in(fixture, NULL);
}

static void
test_what_does_not_count(Fixture *fixture, gconstpointer data)
{
    restamp(fixture, REALTIME - 91 * DAY, NULL);
    assert_let_in(fixture, "more than 7776000 s ago");
    restamp(fixture, REALTIME - 89 * DAY, NULL);
    assert_let_in(fixture, NULL);
    fixture->arrival.host_id = SOURCE;
    assert_let_in(fixture, "this host's own");
}

/* Of a host with the same id, as clones of a disk have; unless the lock is one of this host's, be it that it has ended. */
static void
test_lock_under_the_same_id(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigScope) other = scope_of("05.0012");
    const ApmigEvent take = {
        .type = APMIG_EVENT_TAKE,
        .take = {
            .id = "0123456f", .scope = other, .reason = "AES rotation", .user = "anna", .no_wait = TRUE}};

    restamp(fixture, REALTIME, make_lock());
    g_assert_cmpstr(fixture->stamp->lock->id, ==, take.take.id);
    fixture->arrival.host_id = SOURCE;
    assert_denied(fixture, "This host has the same id");
    tell(&fixture->story, take);
    while (answer_write(&fixture->story))
        ;
    assert_denied(fixture, "lock 0123456f");
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .release = {"0123456f", TRUE}});
    while (answer_write(&fixture->story))
        ;
    assert_let_in(fixture, "this host's own");
}

/* --- whose queues it has -------------------------------------------------------------------------- */

static void
assert_admitted_scope(Fixture *fixture, const char *scope)
{
    const ApmigAction *action;

    come(fixture, FALSE);
    action = find(fixture, APMIG_ACTION_PERSIST_ADMISSION, 0);
    g_assert_nonnull(action);
    g_assert_cmpstr(apmig_scope_to_string(action->admission->scope), ==, scope);
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_ADMISSION_PERSISTED, .persisted = {action->op, "no"}});
}

static void
test_scope(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigScope) declared = scope_of("06.0001");

    assert_admitted_scope(fixture, "04.0012");
    fixture->arrival.declared = declared;
    assert_admitted_scope(fixture, "04.0012,06.0001");
    fixture->stamp->digest[0] ^= 1; /* then it does not count */
    assert_admitted_scope(fixture, "all");
    fixture->stamp->digest[0] ^= 1;
    restamp(fixture, REALTIME - 91 * DAY, NULL);
    assert_admitted_scope(fixture, "all");
    fixture->arrival.stamp = NULL;
    assert_admitted_scope(fixture, "all");
    fixture->arrival.has_device = FALSE;
    fixture->scope = scope_of("06.0001");
    assert_admitted_scope(fixture, "06.0001");
}

/* A stamp of queues that are declared tells of keys, and nothing of a device that the guest has got since. */
static void
test_declared_queues(Fixture *fixture, gconstpointer data)
{
    ApmigApHost *bare = host_new();

    fixture->stamp->is_declared = TRUE;
    assert_admitted_scope(fixture, "all");
    fixture->arrival.host = bare;
    assert_admitted_scope(fixture, "all");

    fixture->arrival.has_device = FALSE;
    fixture->scope = scope_of("04.0012");
    assert_let_in(fixture, NULL);
    know(fixture->here, KEY_B);
    assert_denied(fixture, "Master keys differ: AP queue 04.0012: AES CUR is 0x00000000000000a1");
    apmig_ap_host_free(bare);
}

static void
test_lock_of_other_queues_lets_it_in(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigScope) other = scope_of("05.0012"), own = scope_of("04.0012");
    ApmigEvent take = {
        .type = APMIG_EVENT_TAKE,
        .take = {
            .id = "aaaaaaaa", .scope = other, .reason = "AES rotation", .user = "cora", .no_wait = TRUE}};

    tell(&fixture->story, take);
    assert_let_in(fixture, NULL);
    take.take.id = "bbbbbbbb";
    take.take.scope = own;
    tell(&fixture->story, take);
    assert_denied(fixture, "lock bbbbbbbb");
}

/* --- hardware ------------------------------------------------------------------------------------- */

static void
test_hardware(Fixture *fixture, gconstpointer data)
{
    ApmigApHost *other = host_new();

    host_add_card(other, 4, "CEX8P");
    host_add_queue(other, 4, 0x12, "vfio_ap");
    host_add_device(other, MDEV, "04.0012");
    fixture->arrival.host = other;
    assert_denied(fixture, "AP queue 04.0012");
    fixture->arrival.device = "bbbbbbbb-1234-9455-926a-d65c16db1809";
    assert_denied(fixture, "bbbbbbbb-1234");

    fixture->arrival.has_device = FALSE; /* it was detached: the kernel compares nothing */
    assert_let_in(fixture, NULL);
    fixture->arrival.has_device = TRUE;
    fixture->arrival.host = NULL;
    assert_let_in(fixture, NULL);
    apmig_ap_host_free(other);
}

static void
test_hardware_doubts(Fixture *fixture, gconstpointer data)
{
    fixture->host->can_migrate = FALSE;
    assert_let_in(fixture, "migrat");
}

/* --- a device of another UUID --------------------------------------------------------------------- */

#define OTHER       "bbbbbbbb-1234-9455-926a-d65c16db1809"
#define YET_ANOTHER "cccccccc-1234-9455-926a-d65c16db1809"
#define G2          "c7a5fdbd-edaf-9455-926a-d65c16db1810"

static const char *const no_devices[] = {NULL};

/* A host with two devices that have what the guest has at its source, where its device has a third UUID. Two such cannot
 * be: the kernel gives a queue to one of them. The comparison of hardware says so, unless the guest has its device under
 * another model. */
static void
allow_remap(Fixture *fixture)
{
    g_ptr_array_set_size(fixture->host->devices, 0);
    host_add_device(fixture->host, OTHER, "04.0012");
    host_add_device(fixture->host, YET_ANOTHER, "04.0012");
    fixture->arrival.in_use = no_devices;
    fixture->arrival.asked_at = G_USEC_PER_SEC;
    fixture->arrival.has_device = FALSE;
    fixture->scope = scope_of("04.0012");
    fixture->story.policy->remap_devices = APMIG_REMAP_MATCHING;
    set_policy(fixture);
}

static void
come_as(Fixture *fixture, const char *uuid, gboolean restore)
{
    static const char *const devices[] = {MDEV, "dddddddd-1234-9455-926a-d65c16db1809", NULL};

    g_ptr_array_set_size(fixture->story.actions, 0);
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                                       .caller = 7,
                                       .admit = {.uuid = uuid,
                                                 .name = "g1",
                                                 .restore = restore,
                                                 .facts = {APMIG_AFFECTED_YES, fixture->scope, devices},
                                                 .arrival = fixture->arrival}});
}

/* @device: NULL: it is denied */
static void
assert_gets(Fixture *fixture, const char *uuid, const char *device)
{
    const ApmigAction *persist, *reply;
    guint64 op;

    come_as(fixture, uuid, FALSE);
    persist = find(fixture, APMIG_ACTION_PERSIST_ADMISSION, 0);
    g_assert_cmpint(persist != NULL, ==, device != NULL);
    if (!persist)
        return;
    g_assert_cmpuint(g_strv_length(persist->admission->devices), ==, 2);
    g_assert_cmpstr(persist->admission->devices[0], ==, device);
    op = persist->op;
    g_ptr_array_set_size(fixture->story.actions, 0);
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_ADMISSION_PERSISTED, .persisted = {op, NULL}});
    reply = find(fixture, APMIG_ACTION_REPLY_ADMIT, 0);
    g_assert_true(reply && reply->reply.allowed);
    g_assert_cmpstr(reply->reply.device_map ? g_hash_table_lookup(reply->reply.device_map, MDEV) : MDEV, ==,
                    device);
    g_assert_cmpuint(reply->reply.device_map ? g_hash_table_size(reply->reply.device_map) : 0, ==,
                     !g_str_equal(device, MDEV));
}

static void
test_remap_off(Fixture *fixture, gconstpointer data)
{
    allow_remap(fixture);
    fixture->story.policy->remap_devices = APMIG_REMAP_OFF;
    set_policy(fixture);
    assert_gets(fixture, G1, MDEV);
    fixture->arrival.has_device = TRUE;
    assert_denied(fixture, "none of that UUID");
}

static void
test_remap(Fixture *fixture, gconstpointer data)
{
    allow_remap(fixture);
    assert_gets(fixture, G1, OTHER);
    assert_says(find(fixture, APMIG_ACTION_LOG, APMIG_LOG_ADMISSION_ALLOWED)->entry.message,
                "with mediated device " OTHER " in the place of " MDEV);
    come_as(fixture, G2, TRUE); /* a restore */
    g_assert_null(find(fixture, APMIG_ACTION_REPLY_ADMIT, 0)->reply.device_map);
    fixture->arrival.device = NULL;
    assert_gets(fixture, G2, MDEV);
}

/* The hardware is compared with the device that it gets. */
static void
test_remap_hardware(Fixture *fixture, gconstpointer data)
{
    allow_remap(fixture);
    g_ptr_array_set_size(fixture->host->devices, 1);
    fixture->arrival.has_device = TRUE;
    assert_gets(fixture, G1, OTHER);
    g_ptr_array_set_size(fixture->host->queues, 0);
    assert_denied(fixture, "presence: source present, destination absent");
}

static void
test_remap_to_nobody_elses(Fixture *fixture, gconstpointer data)
{
    static const char *const in_use[] = {OTHER, NULL};

    allow_remap(fixture);
    assert_gets(fixture, G1, OTHER);
    assert_gets(fixture, G1, OTHER); /* it asks again */
    assert_gets(fixture, G2, YET_ANOTHER);
    assert_gets(fixture, "c7a5fdbd-edaf-9455-926a-d65c16db1811", NULL);

    fixture->arrival.device = OTHER; /* the one of that UUID is here, and promised */
    come_as(fixture, "c7a5fdbd-edaf-9455-926a-d65c16db1811", FALSE);
    g_assert_false(find(fixture, APMIG_ACTION_REPLY_ADMIT, 0)->reply.allowed);

    fixture->arrival.device = MDEV;
    fixture->arrival.in_use = in_use;
    assert_gets(fixture, G2, YET_ANOTHER); /* it was promised that before */
}

/* A guest that came in while libvirt was asked is in neither its answer nor in progress any more. */
static void
test_remap_while_another_arrives(Fixture *fixture, gconstpointer data)
{
    ApmigGuestName g1 = {G1, "g1"};
    guint64 token;

    allow_remap(fixture);
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    g_assert_true(answer_list(&fixture->story, NULL, 0));
    assert_gets(fixture, G1, OTHER);
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    token = find(fixture, APMIG_ACTION_LIST_GUESTS, 0)->query.token;
    g_ptr_array_set_size(fixture->story.actions, 0);
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {token, NULL, &g1, 1}});
    token = find(fixture, APMIG_ACTION_QUERY_GUEST, 0)->query.token;
    g_ptr_array_set_size(fixture->story.actions, 0);
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED, .answered = {token, G1, APMIG_JOB_NONE}});
    g_assert_nonnull(find(fixture, APMIG_ACTION_LOG, APMIG_LOG_MIGRATION_ENDED));
    assert_gets(fixture, G2, YET_ANOTHER);
}

/* Its QEMU has the device of the first yes. A stranger may have it while the guest is known not to be here. */
static void
test_remap_while_it_comes_in(Fixture *fixture, gconstpointer data)
{
    ApmigApQueue *queue = NULL;

    allow_remap(fixture);
    for (guint i = 0; i < fixture->host->queues->len; i++) {
        queue = g_ptr_array_index(fixture->host->queues, i);
        if (queue->adapter == 0x04 && queue->domain == 0x12)
            break;
    }
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    g_assert_true(answer_list(&fixture->story, NULL, 0));
    assert_gets(fixture, G1, OTHER);
    queue->status = APMIG_AP_STATUS_IN_USE;
    assert_gets(fixture, G1, YET_ANOTHER);
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, "g1", APMIG_NEWS_ARRIVING}});
    assert_gets(fixture, G1, OTHER);
    fixture->arrival.in_use = NULL;
    assert_gets(fixture, G1, OTHER);
}

static void
test_remap_to_what_was_promised_before_a_restart(Fixture *fixture, gconstpointer data)
{
    ApmigAdmission admission = {.uuid = (char *)G1, .name = (char *)"g1"};
    char *devices[] = {(char *)OTHER, NULL};
    g_autoptr(ApmigScope) scope = scope_of("04.0012");
    g_autoptr(GPtrArray) admissions = g_ptr_array_new(), none = g_ptr_array_new();

    admission.scope = scope;
    admission.devices = devices;
    g_ptr_array_add(admissions, &admission);
    apmig_engine_free(fixture->story.engine);
    fixture->story.engine = apmig_engine_new(fixture->story.policy, "5709");
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {none, admissions}});
    allow_remap(fixture);
    assert_gets(fixture, G2, YET_ANOTHER);
    assert_gets(fixture, G1, OTHER);
}

static void
test_remap_without_what_it_needs(Fixture *fixture, gconstpointer data)
{
    allow_remap(fixture);
    restamp(fixture, REALTIME - 91 * DAY, NULL);
    come_as(fixture, G1, FALSE);
    assert_says(find(fixture, APMIG_ACTION_REPLY_ADMIT, 0)->reply.message, "without a stamp that counts");
    restamp(fixture, REALTIME - DAY, make_lock());
    come_as(fixture, G1, FALSE);
    assert_says(find(fixture, APMIG_ACTION_REPLY_ADMIT, 0)->reply.message, "lock 0123456f of anna");
    restamp(fixture, REALTIME - DAY, NULL);
    fixture->arrival.host = NULL;
    come_as(fixture, G1, FALSE);
    assert_says(find(fixture, APMIG_ACTION_REPLY_ADMIT, 0)->reply.message, "was not read in time");
    g_assert_nonnull(find(fixture, APMIG_ACTION_LOG, APMIG_LOG_ADMISSION_DENIED));
}

/* --- restore -------------------------------------------------------------------------------------- */

/* The image was saved on this host or another, at any time, perhaps under a lock: its keys are compared, and only keys
 * that differ keep it out. */
static void
test_restore(Fixture *fixture, gconstpointer data)
{
    fixture->story.policy->stamp_missing = fixture->story.policy->keys_unknown = APMIG_STAMP_DENY;
    set_policy(fixture);
    restamp(fixture, 1, make_lock());
    fixture->arrival.host_id = SOURCE;
    fixture->arrival.device = OTHER; /* this host has none of that UUID */
    assert_restored(fixture, TRUE, NULL);
    fixture->arrival.evidence = NULL;
    assert_restored(fixture, TRUE, "is not known");
    fixture->arrival.evidence = fixture->here;
    know(fixture->here, KEY_B);
    assert_restored(fixture, FALSE, NULL);
    fixture->arrival.stamp = NULL;
    assert_restored(fixture, TRUE, "brings no stamp");
    g_assert_nonnull(fixture->stamp->lock); /* as it was */
}

/* A permit passes locks over, on both hosts, and nothing else: it is kept when the keys differ. */
static void
test_permit(Fixture *fixture, gconstpointer data)
{
    const ApmigAction *write;

    restamp(fixture, REALTIME, make_lock());
    assert_denied(fixture, "locked at the source");
    permit(fixture);
    write = find(fixture, APMIG_ACTION_PERSIST_PERMIT, 0);
    g_assert_nonnull(write);
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_PERMIT_WRITTEN, .persisted = {write->op, NULL}});
    know(fixture->here, KEY_B);
    assert_denied(fixture, "Master keys differ: AP queue 04.0012");
    know(fixture->here, KEY_A);
    assert_let_in(fixture, NULL);
    write = find(fixture, APMIG_ACTION_PERSIST_PERMIT, 0);
    g_assert_cmpstr(write->permit->used_by, ==, G1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func)                                                                                      \
    g_test_add("/engine-arrival/" path, Fixture, NULL, arrival_set_up, func, arrival_tear_down)
    ADD("keys", test_keys);
    ADD("locked-at-the-source", test_locked_at_the_source);
    ADD("lock-under-the-same-id", test_lock_under_the_same_id);
    ADD("no-stamp", test_no_stamp);
    ADD("what-does-not-count", test_what_does_not_count);
    ADD("scope", test_scope);
    ADD("declared-queues", test_declared_queues);
    ADD("lock-of-other-queues", test_lock_of_other_queues_lets_it_in);
    ADD("hardware", test_hardware);
    ADD("hardware-doubts", test_hardware_doubts);
    ADD("remap-off", test_remap_off);
    ADD("remap", test_remap);
    ADD("remap-hardware", test_remap_hardware);
    ADD("remap-to-nobody-elses", test_remap_to_nobody_elses);
    ADD("remap-while-another-arrives", test_remap_while_another_arrives);
    ADD("remap-while-it-comes-in", test_remap_while_it_comes_in);
    ADD("remap-after-a-restart", test_remap_to_what_was_promised_before_a_restart);
    ADD("remap-without-what-it-needs", test_remap_without_what_it_needs);
    ADD("restore", test_restore);
    ADD("permit", test_permit);
#undef ADD
    return g_test_run();
}
