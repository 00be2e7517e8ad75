/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which mediated device takes the place of one that is not here, and what is said where none can. */
#include "ap/fixture.h"
#include "ap/device-remap.h"

#include <string.h>

#define OWN "00000000-1234-4455-926a-d65c16db1809" /* at the source */
#define A   "aaaaaaaa-1234-4455-926a-d65c16db1809"
#define B   "bbbbbbbb-1234-4455-926a-d65c16db1809"
#define C   "cccccccc-1234-4455-926a-d65c16db1809"
#define D   "dddddddd-1234-4455-926a-d65c16db1809"
#define E   "eeeeeeee-1234-4455-926a-d65c16db1809"

typedef struct {
    ApmigApHost *host;
    ApmigApView *source; /* 04.0012 and 05.0012 */
    ApmigRemapQuestion question;
} Fixture;

static const char *const nobody[] = {NULL};

static ApmigApView *
view_of(const char *scope, gint control_domain)
{
    g_autoptr(ApmigApHost) there = host_new();
    ApmigApDevice *device = host_add_device(there, OWN, scope);

    if (control_domain >= 0) {
        apmig_ap_mask_add(&there->control_domains, (guint)control_domain);
        apmig_ap_mask_add(&device->control_domains, (guint)control_domain);
    }
    return apmig_ap_view_new_of_device(there, device);
}

static void
set_source(Fixture *fixture, ApmigApView *source)
{
    apmig_ap_view_free(fixture->source);
    fixture->question.source = fixture->source = source;
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->host = host_new();
    host_add_card(fixture->host, 4, "CEX8C");
    host_add_card(fixture->host, 5, "CEX8C");
    for (guint adapter = 4; adapter <= 5; adapter++)
        for (guint domain = 0x12; domain <= 0x14; domain++)
            host_add_queue(fixture->host, adapter, domain, "vfio_ap")->status = APMIG_AP_STATUS_ASSIGNED;
    fixture->question = (ApmigRemapQuestion){.remap = APMIG_REMAP_MATCHING,
                                             .device = OWN,
                                             .host = fixture->host,
                                             .taken = nobody,
                                             .guests_known = TRUE};
    set_source(fixture, view_of("04-05.0012", -1));
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_ap_view_free(fixture->source);
    apmig_ap_host_free(fixture->host);
}

static ApmigApDevice *
add_empty(Fixture *fixture, const char *uuid)
{
    ApmigApDevice *device = apmig_ap_device_new(uuid);

    device->queues = apmig_scope_new_none();
    device->has_config = APMIG_YES;
    g_ptr_array_add(fixture->host->devices, device);
    return device;
}

static void
set_status(Fixture *fixture, guint adapter, guint domain, ApmigApStatus status)
{
    for (guint i = 0; i < fixture->host->queues->len; i++) {
        ApmigApQueue *queue = fixture->host->queues->pdata[i];

        if (queue->adapter == adapter && queue->domain == domain)
            queue->status = status;
    }
}

static void
assert_gets(const Fixture *fixture, const char *uuid)
{
    g_autofree char *why_not = NULL;
    g_autofree char *chosen = apmig_device_remap_choose(&fixture->question, &why_not);

    g_assert_cmpstr(why_not, ==, NULL);
    g_assert_cmpstr(chosen, ==, uuid);
}

static void
assert_none(const Fixture *fixture, const char *part)
{
    g_autofree char *why_not = NULL;

    g_assert_null(apmig_device_remap_choose(&fixture->question, &why_not));
    assert_says(why_not, OWN);
    assert_says(why_not, part);
}

/* --- which fits ---------------------------------------------------------------------------------- */

static void
test_same_uuid(Fixture *fixture, gconstpointer data)
{
    host_add_device(fixture->host, A, "04-05.0012");
    host_add_device(fixture->host, OWN, "04.0014"); /* the source's configuration takes the place of that */
    assert_gets(fixture, OWN);
    fixture->question.source = NULL;
    fixture->question.guests_known = FALSE;
    assert_gets(fixture, OWN);
}

static void
test_same_uuid_taken(Fixture *fixture, gconstpointer data)
{
    static const char *const taken[] = {OWN, NULL};

    host_add_device(fixture->host, OWN, "04-05.0012");
    fixture->question.taken = taken;
    assert_none(fixture, "is another guest's here");
    assert_none(fixture, "there is no other one");
    host_add_device(fixture->host, B, "04-05.0012");
    assert_gets(fixture, B);
    fixture->question.source = NULL;
    assert_none(fixture, "without a stamp that counts");
}

static void
test_matching(Fixture *fixture, gconstpointer data)
{
    assert_none(fixture, "there is no other one");
    host_add_device(fixture->host, A, "04.0012");
    assert_none(fixture, A " lacks AP queues 05.0012");
    host_add_device(fixture->host, B, "04-05.0012-0013");
    assert_none(fixture, B " has besides AP queues 04.0013, 05.0013");
    host_add_device(fixture->host, C, "04-05.0014");
    assert_none(fixture, C " lacks AP queues 04.0012, 05.0012, has besides AP queues 04.0014, 05.0014");
    add_empty(fixture, D);
    assert_none(fixture, D " lacks AP queues 04.0012, 05.0012");
    assert_none(fixture, "with AP queues 04.0012, 05.0012: ");
    host_add_device(fixture->host, E, "04-05.0012");
    assert_gets(fixture, E);
    set_source(fixture, apmig_ap_view_new());
    assert_gets(fixture, D);
}

static void
test_control_domains(Fixture *fixture, gconstpointer data)
{
    ApmigApDevice *device = host_add_device(fixture->host, A, "04-05.0012");

    set_source(fixture, view_of("04-05.0012", 0x12));
    assert_none(fixture, A " lacks control domains 0012");
    fixture->source->has_control_domains = APMIG_UNKNOWN;
    assert_gets(fixture, A);
    fixture->source->has_control_domains = APMIG_YES;
    apmig_ap_mask_add(&device->control_domains, 0x12);
    assert_none(fixture, A " lacks control domains 0012"); /* this host has no such one to give */
    apmig_ap_mask_add(&fixture->host->control_domains, 0x12);
    assert_gets(fixture, A);
    apmig_ap_mask_add(&fixture->host->control_domains, 0x13);
    apmig_ap_mask_add(&device->control_domains, 0x13);
    assert_none(fixture, A " has besides control domains 0013");
}

static void
test_empty(Fixture *fixture, gconstpointer data)
{
    ApmigApDevice *device = add_empty(fixture, A);

    assert_none(fixture, "Give a free one that configuration, or");
    fixture->question.remap = APMIG_REMAP_MATCHING_OR_EMPTY;
    assert_gets(fixture, A);
    host_add_device(fixture->host, B, "04-05.0012");
    assert_gets(fixture, B); /* the one that matches comes first */
    g_ptr_array_set_size(fixture->host->devices, 1);
    apmig_ap_mask_add(&device->adapters, 7); /* filtered: its guest has nothing of it */
    assert_none(fixture, "Give a free one that configuration or none, or");
    device->has_config = APMIG_UNKNOWN;
    assert_none(fixture, A " lacks");
}

static void
test_unreadable(Fixture *fixture, gconstpointer data)
{
    ApmigApDevice *device = host_add_device(fixture->host, A, "04-05.0012");

    g_clear_pointer(&device->queues, apmig_scope_unref);
    assert_none(fixture, A " does not tell its AP queues");
    fixture->question.host = NULL;
    assert_none(fixture, "was not read in time");
}

/* --- which is free ------------------------------------------------------------------------------- */

static void
test_taken(Fixture *fixture, gconstpointer data)
{
    static const char *const taken[] = {B, C, NULL};

    host_add_device(fixture->host, A, "04.0013");
    host_add_device(fixture->host, B, "04-05.0012");
    host_add_device(fixture->host, C, "04.0014");
    fixture->question.taken = taken;
    assert_none(fixture, B " matches, but another guest has it, or is promised it");
    assert_none(fixture, "has besides AP queues 04.0014, and another guest has it");
    fixture->question.taken = nobody;
    assert_gets(fixture, B);
    set_status(fixture, 5, 0x12, APMIG_AP_STATUS_IN_USE); /* by a guest that nobody else has heard of */
    assert_none(fixture, B " matches, but another guest has it");
}

/* What libvirt has not told the kernel may: of every queue, or it tells nothing. */
static void
test_guests_unknown(Fixture *fixture, gconstpointer data)
{
    host_add_device(fixture->host, A, "04-05.0012");
    fixture->question.guests_known = FALSE;
    assert_gets(fixture, A);
    set_status(fixture, 5, 0x12, APMIG_AP_STATUS_UNKNOWN);
    assert_none(fixture, A " matches, but libvirt has not told in time");
    fixture->question.guests_known = TRUE;
    assert_gets(fixture, A);

    fixture->question.remap = APMIG_REMAP_MATCHING_OR_EMPTY;
    fixture->question.guests_known = FALSE;
    g_ptr_array_set_size(fixture->host->devices, 0);
    add_empty(fixture, B);
    assert_none(fixture, B " is empty, but libvirt has not told in time");
}

static void
test_order(Fixture *fixture, gconstpointer data)
{
    static const char *const promised[] = {C, NULL}, *const taken[] = {C, NULL};

    host_add_device(fixture->host, D, "04-05.0012");
    host_add_device(fixture->host, B, "04-05.0012");
    host_add_device(fixture->host, C, "04-05.0012");
    assert_gets(fixture, B);
    fixture->question.promised = promised;
    assert_gets(fixture, C);
    fixture->question.taken = taken;
    assert_gets(fixture, B);
}

/* The nearest first, and never more than a few. */
static void
test_sentence_is_bounded(Fixture *fixture, gconstpointer data)
{
    g_autofree char *why_not = NULL;

    set_source(fixture, view_of("00-7f.0012-0015", -1));
    for (guint i = 0; i < 200; i++) {
        g_autofree char *uuid = g_strdup_printf("%08x-1234-4455-926a-d65c16db1809", i + 1);

        host_add_device(fixture->host, uuid, i == 150 ? "00-7e.0012-0015" : "80-ff.0000-0003");
    }
    g_assert_null(apmig_device_remap_choose(&fixture->question, &why_not));
    assert_says(why_not, ": 00000097-1234-4455-926a-d65c16db1809 lacks AP queues 7f.0012, 7f.0013, 7f.0014, "
                         "7f.0015; 00000001-");
    assert_says(why_not, " and 196 more");
    g_assert_cmpuint(strlen(why_not), <, 1200);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/device-remap/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("same-uuid", test_same_uuid);
    ADD("same-uuid-taken", test_same_uuid_taken);
    ADD("matching", test_matching);
    ADD("control-domains", test_control_domains);
    ADD("empty", test_empty);
    ADD("unreadable", test_unreadable);
    ADD("taken", test_taken);
    ADD("guests-unknown", test_guests_unknown);
    ADD("order", test_order);
    ADD("sentence-is-bounded", test_sentence_is_bounded);
#undef ADD
    return g_test_run();
}
