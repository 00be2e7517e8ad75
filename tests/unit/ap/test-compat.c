/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/compat.h"
#include "ap/find.h"
#include "ap/fixture.h"

#include <string.h>

#define UUID  "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define OTHER "a1b2c3d4-f1bb-47f0-914d-000000000102"

/* Two hosts that are the same: adapter 2 (CCA) and 5 (EP11), domains 5 and 2c; the guest has all four queues. */
typedef struct {
    ApmigApHost *source, *destination;
    ApmigApDevice *guest; /* at the source */
    ApmigApDevice *place; /* at the destination */
} Fixture;

static ApmigApHost *
make_host(const char *uuid, const char *scope, ApmigApDevice **ret_device)
{
    static const guint adapters[] = {2, 5}, domains[] = {5, 0x2c};
    ApmigApHost *host = host_new();

    host_add_card(host, 2, "CEX8C");
    host_add_card(host, 5, "CEX8P");
    for (gsize i = 0; i < G_N_ELEMENTS(adapters); i++)
        for (gsize j = 0; j < G_N_ELEMENTS(domains); j++)
            host_add_queue(host, adapters[i], domains[j], "vfio_ap");
    apmig_ap_mask_add(&host->control_domains, 5);
    apmig_ap_mask_add(&host->control_domains, 6);
    *ret_device = host_add_device(host, uuid, scope);
    return host;
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->source = make_host(UUID, "02.0005,02.002c,05.0005,05.002c", &fixture->guest);
    fixture->destination = make_host(UUID, "77.0077", &fixture->place);
    apmig_ap_mask_add(&fixture->guest->control_domains, 5);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_ap_host_free(fixture->source);
    apmig_ap_host_free(fixture->destination);
}

/* Of 02.0005 at the destination. */
static ApmigApQueue *
queue_there(Fixture *fixture)
{
    return fixture->destination->queues->pdata[0];
}

static ApmigApQueue *
queue_here(Fixture *fixture)
{
    return fixture->source->queues->pdata[0];
}

static ApmigApCard *
card_there(Fixture *fixture)
{
    return fixture->destination->cards->pdata[0];
}

static ApmigApCard *
card_here(Fixture *fixture)
{
    return fixture->source->cards->pdata[0];
}

/* "error ap-type 02.0005 (14 / 13)", one a line */
static char *
show(const GPtrArray *findings)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < findings->len; i++) {
        const ApmigCompatFinding *finding = findings->pdata[i];
        g_autofree char *description = apmig_compat_finding_describe(finding);
        g_autofree char *adapter =
            finding->adapter == APMIG_COMPAT_NONE ? g_strdup("-") : g_strdup_printf("%02x", finding->adapter);
        g_autofree char *domain =
            finding->domain == APMIG_COMPAT_NONE ? g_strdup("-") : g_strdup_printf("%04x", finding->domain);

        g_test_message("%s", description);
        g_assert_true(g_ascii_isupper(*description));
        g_assert_true(g_str_has_suffix(finding->remedy, "."));
        g_assert_cmpint(finding->severity, !=, APMIG_SEVERITY_NONE);
        g_string_append_printf(text, "%s%s %s %s.%s (%s / %s)", text->len > 0 ? "\n" : "",
                               finding->severity == APMIG_SEVERITY_ERROR ? "error" : "warning",
                               apmig_compat_code_to_string(finding->code), adapter, domain, finding->source,
                               finding->destination);
    }
    return g_string_free(text, FALSE);
}

static char *
check(Fixture *fixture, const char *uuid)
{
    g_autoptr(ApmigApView) view = apmig_ap_view_new_of_device(fixture->source, fixture->guest);
    g_autoptr(GPtrArray) findings = apmig_compat_check(view, fixture->destination, uuid);

    return show(findings);
}

/* --- one rule at a time -------------------------------------------------------------------------- */

static void
change_nothing(Fixture *fixture)
{
}

static void
lose_bus(Fixture *fixture)
{
    fixture->destination->present = FALSE;
}

static void
lose_feature(Fixture *fixture)
{
    fixture->destination->can_migrate = FALSE;
}

static void
rename_device(Fixture *fixture)
{
    g_free(fixture->place->uuid);
    fixture->place->uuid = g_strdup(OTHER);
}

static void
lose_queue(Fixture *fixture)
{
    g_ptr_array_remove_index(fixture->destination->queues, 0);
}

static void
set_driver(ApmigApQueue *queue, const char *driver)
{
    g_free(queue->driver);
    queue->driver = g_strdup(driver);
}

static void
unbind(Fixture *fixture)
{
    set_driver(queue_there(fixture), "");
}

static void
reserve_adapter(Fixture *fixture)
{
    apmig_ap_mask_add(&fixture->destination->adapters_default, 2);
}

static void
reserve(Fixture *fixture)
{
    reserve_adapter(fixture);
    apmig_ap_mask_add(&fixture->destination->domains_default, 5);
}

static void
reserve_and_bind(Fixture *fixture)
{
    reserve(fixture);
    set_driver(queue_there(fixture), "cex4queue");
}

static void
override(ApmigApQueue *queue, const char *driver)
{
    g_free(queue->driver_override);
    queue->driver_override = g_strdup(driver);
}

/* It counts in the place of the masks. */
static void
reserve_and_override(Fixture *fixture)
{
    reserve(fixture);
    override(queue_there(fixture), "vfio_ap");
}

static void
override_for_the_host(Fixture *fixture)
{
    override(queue_there(fixture), "cex4queue");
    set_driver(queue_there(fixture), "cex4queue");
}

static void
reserve_unreadable(Fixture *fixture)
{
    reserve_and_bind(fixture);
    fixture->destination->has_default_masks = APMIG_UNKNOWN;
}

static void
control_more(Fixture *fixture)
{
    apmig_ap_mask_add(&fixture->guest->control_domains, 0x33);
    apmig_ap_mask_add(&fixture->source->control_domains, 0x33);
}

/* assigned, but not the source's to give */
static void
control_in_vain(Fixture *fixture)
{
    apmig_ap_mask_add(&fixture->guest->control_domains, 0x33);
}

static void
control_unreadable(Fixture *fixture)
{
    fixture->destination->has_masks = APMIG_UNKNOWN;
}

static void
control_impossible(Fixture *fixture)
{
    fixture->destination->has_masks = APMIG_NO;
}

static void
control_unknown(Fixture *fixture)
{
    fixture->guest->has_config = APMIG_UNKNOWN;
}

static void
checkstop(Fixture *fixture)
{
    queue_there(fixture)->chkstop = APMIG_YES;
}

static void
checkstop_card(Fixture *fixture)
{
    card_there(fixture)->chkstop = APMIG_YES;
}

static void
deconfigure(Fixture *fixture)
{
    queue_there(fixture)->config = APMIG_NO;
}

static void
older_type(Fixture *fixture)
{
    card_there(fixture)->raw_hwtype = 13;
}

/* The compatible type is the same, the raw one is not. */
static void
newer_raw_type_here(Fixture *fixture)
{
    card_here(fixture)->raw_hwtype = 15;
}

static void
newer_type(Fixture *fixture)
{
    card_there(fixture)->raw_hwtype = 16;
    card_there(fixture)->hwtype = 14;
}

static void
type_unreadable(Fixture *fixture)
{
    card_there(fixture)->raw_hwtype = 0;
}

static void
type_unreadable_here(Fixture *fixture)
{
    card_here(fixture)->raw_hwtype = 0;
}

static void
functions_of_card_alone(Fixture *fixture)
{
    queue_there(fixture)->has_functions = APMIG_UNKNOWN;
}

static void
functions_of_old_card_alone(Fixture *fixture)
{
    queue_there(fixture)->has_functions = APMIG_UNKNOWN;
    card_there(fixture)->functions &= ~APMIG_AP_SLCF;
}

/* The mode is still known by the type. */
static void
functions_unreadable(Fixture *fixture)
{
    queue_here(fixture)->has_functions = APMIG_NO;
    card_here(fixture)->has_functions = APMIG_NO;
}

/* By the type of the card where its functions are not known; otherwise they count. */
static void
mode_by_type(Fixture *fixture)
{
    functions_unreadable(fixture);
    card_here(fixture)->type[strlen("CEX8")] = 'A';
}

static void
assign_elsewhere(Fixture *fixture)
{
    host_add_device(fixture->destination, OTHER, "02-04.0003-0005");
}

static void
assign_elsewhere_filtered(Fixture *fixture)
{
    ApmigApDevice *device = host_add_device(fixture->destination, OTHER, "02-04.0003-0005");

    apmig_scope_unref(device->queues);
    device->queues = apmig_scope_new_none();
}

static void
assign_elsewhere_unreadable(Fixture *fixture)
{
    host_add_device(fixture->destination, OTHER, "02.0005")->has_config = APMIG_UNKNOWN;
}

static void
assign_here(Fixture *fixture)
{
    apmig_ap_mask_add(&fixture->place->adapters, 2);
    apmig_ap_mask_add(&fixture->place->domains, 5);
}

static const struct {
    void (*change)(Fixture *fixture);
    const char *findings;
} rules[] = {
    {change_nothing, ""},
    {lose_bus, "error bus-absent -.- (present / absent)"},
    {lose_feature, "warning not-migratable -.- (yes / not announced)"},
    {rename_device, "error device-absent -.- (" UUID " / none of that UUID)"},
    {lose_queue, "error queue-absent 02.0005 (present / absent)"},
    {unbind, "error queue-not-vfio-ap 02.0005 (vfio_ap / no driver)"},
    {reserve_adapter, ""}, /* both must be set */
    {reserve, "warning queue-reserved 02.0005 (vfio_ap / reserved (vfio_ap))"},
    {reserve_and_bind, "error queue-reserved 02.0005 (vfio_ap / reserved (cex4queue))"},
    {reserve_and_override, ""},
    {override_for_the_host, "error queue-reserved 02.0005 (vfio_ap / reserved (cex4queue))"},
    {reserve_unreadable, "error queue-not-vfio-ap 02.0005 (vfio_ap / cex4queue)"},
    {control_more, "error control-domain -.0033 (yes / no)"},
    {control_in_vain, ""},
    {control_unreadable, "warning not-compared -.0005 (yes / unknown)"},
    {control_impossible, "error control-domain -.0005 (yes / no)"},
    {control_unknown, "warning not-compared -.- (control domains unknown / -)"},
    {checkstop, "warning checkstopped 02.0005 (- / checkstopped)"},
    {checkstop_card, "warning checkstopped 02.0005 (- / checkstopped)\n"
                     "warning checkstopped 02.002c (- / checkstopped)"},
    {deconfigure, "warning deconfigured 02.0005 (- / deconfigured)"},
    {older_type, "error ap-type 02.0005 (14 / 13)\nerror ap-type 02.002c (14 / 13)"},
    {newer_raw_type_here, "error ap-type 02.0005 (15 / 14)\nerror ap-type 02.002c (15 / 14)"},
    {newer_type, ""},
    {type_unreadable, "warning not-compared 02.0005 (known / unknown: AP type)\n"
                      "warning not-compared 02.002c (known / unknown: AP type)"},
    {type_unreadable_here, "warning not-compared 02.0005 (unknown: AP type / known)\n"
                           "warning not-compared 02.002c (unknown: AP type / known)"},
    {functions_of_card_alone, "warning not-compared 02.0005 (known / unknown: binding state)"},
    {functions_of_old_card_alone,
     "warning not-compared 02.0005 (known / unknown: stateless command filtering, binding state)"},
    {functions_unreadable, "warning not-compared 02.0005 (unknown: facility APSC, facility AP4KM, facility "
                           "AP4KC, facility APXA, stateless "
                           "command filtering, binding state / known)"},
    {mode_by_type, "error mode 02.0005 (accelerator / CCA)\n"
                   "warning not-compared 02.0005 (unknown: facility APSC, facility AP4KM, "
                   "facility AP4KC, facility APXA, stateless "
                   "command filtering, binding state / known)"},
    {assign_elsewhere, "error queue-in-other-device 02.0005 (" UUID " / " OTHER ")"},
    {assign_elsewhere_filtered, "error queue-in-other-device 02.0005 (" UUID " / " OTHER ")"},
    {assign_elsewhere_unreadable, "error queue-in-other-device 02.0005 (" UUID " / " OTHER ")"},
    {assign_here, ""},
};

static void
test_rules(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rules); i++) {
        Fixture fixture;
        g_autofree char *findings = NULL;

        g_test_message("rule %zu", i);
        set_up(&fixture, NULL);
        rules[i].change(&fixture);
        findings = check(&fixture, UUID);
        g_assert_cmpstr(findings, ==, rules[i].findings);
        tear_down(&fixture, NULL);
    }
}

/* --- bits ---------------------------------------------------------------------------------------- */

static const struct {
    guint32 source, destination; /* ap_functions of 02.0005 */
    const char *findings;
} bits[] = {
    {0x93800000, 0x93800000, ""},
    {0x13800000, 0x93800000, "error apsc 02.0005 (no / yes)"},
    {0x93800000, 0x13800000, "error apsc 02.0005 (yes / no)"},
    {0xd3800000, 0x93800000, "error ap4km 02.0005 (yes / no)"},
    {0x93800000, 0xb3800000, "error ap4kc 02.0005 (no / yes)"},
    {0x93800000, 0x8b800000, "error mode 02.0005 (CCA / accelerator)"},
    {0x93800000, 0x87800000, "error mode 02.0005 (CCA / EP11)"},
    {0x93800000, 0x9b800000, "error mode 02.0005 (CCA / none that is known (ap_functions 0x18000000))"},
    {0x91800000, 0x93800000, "error apxa 02.0005 (no / yes)"},
    {0x93800000, 0x92800000, "error stateless-filtering 02.0005 (yes / no)"},
    {0x93800000, 0x93000000, "error native-function 02.0005 (yes / no)"},
    {0x93000000, 0x93800000, ""}, /* may gain it */
    {0x93800000, 0x93804000, "error binding-state 02.0005 (0 (usable) / 1 (usable without secure keys))"},
    {0x93808000, 0x93800000, "error binding-state 02.0005 (2 (available for binding) / 0 (usable))"},
    {0x9380c000, 0x9380c000,
     "error binding-state 02.0005 (3 (unusable) / 3 (unusable))"}, /* equal is not enough */
    {0x93800000, 0x93c00000, ""}, /* stateless only, and the rest, are not examined */
    {0x93bf0000, 0x938f3fff, ""},
    {0x93800000, 0x00000000,
     "error apsc 02.0005 (yes / no)\n"
     "error mode 02.0005 (CCA / none that is known (ap_functions 0x00000000))\n"
     "error apxa 02.0005 (yes / no)\n"
     "error stateless-filtering 02.0005 (yes / no)\n"
     "error native-function 02.0005 (yes / no)"},
};

static void
test_bits(Fixture *fixture, gconstpointer data)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bits); i++) {
        g_autofree char *findings = NULL;

        queue_here(fixture)->functions = bits[i].source;
        queue_there(fixture)->functions = bits[i].destination;
        findings = check(fixture, UUID);
        g_assert_cmpstr(findings, ==, bits[i].findings);
    }
}

/* Where driver_override is used the masks cannot be changed. */
static void
test_remedy_of_reserved(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigApView) view = apmig_ap_view_new_of_device(fixture->source, fixture->guest);

    reserve_and_bind(fixture);
    for (int overridden = 0; overridden < 2; overridden++) {
        g_autoptr(GPtrArray) findings = apmig_compat_check(view, fixture->destination, UUID);
        const ApmigCompatFinding *finding = findings->pdata[0];

        g_assert_cmpstr(
            finding->remedy, ==,
            overridden ? "Write vfio_ap to driver_override of queue 02.0005 there."
                       : "Take adapter 02 out of apmask or domain 0005 out of aqmask there (chzdev ap).");
        override(fixture->destination->queues->pdata[1], "vfio_ap");
    }
}

/* A binding state that is known to be wrong is wrong whatever the other side is. */
static void
test_binding_with_unknown(Fixture *fixture, gconstpointer data)
{
    g_autofree char *findings = NULL;

    queue_here(fixture)->functions |= APMIG_AP_BINDING;
    queue_there(fixture)->has_functions = APMIG_UNKNOWN;
    findings = check(fixture, UUID);
    g_assert_cmpstr(findings, ==, "error binding-state 02.0005 (3 (unusable) / unknown)");
}

/* --- the whole ----------------------------------------------------------------------------------- */

static void
test_unknown_device(Fixture *fixture, gconstpointer data)
{
    g_autofree char *findings = NULL;

    assign_here(fixture);
    findings = check(fixture, NULL);
    g_assert_cmpstr(findings, ==, "warning queue-in-other-device 02.0005 (unknown / " UUID ")");
}

/* The first error is the one at which the driver would stop. */
static void
test_order(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigApView) view = NULL;
    g_autoptr(GPtrArray) findings = NULL;
    g_autofree char *shown = NULL;

    queue_there(fixture)->functions ^= APMIG_AP_APSC;
    card_there(fixture)->raw_hwtype = 12;
    set_driver(fixture->destination->queues->pdata[3], "");
    control_more(fixture);
    host_add_device(fixture->destination, OTHER, "02.0005");
    view = apmig_ap_view_new_of_device(fixture->source, fixture->guest);
    findings = apmig_compat_check(view, fixture->destination, UUID);
    shown = show(findings);
    g_assert_cmpstr(shown, ==,
                    "error queue-not-vfio-ap 05.002c (vfio_ap / no driver)\n"
                    "error control-domain -.0033 (yes / no)\n"
                    "error apsc 02.0005 (yes / no)\n"
                    "error ap-type 02.0005 (14 / 12)\n"
                    "error ap-type 02.002c (14 / 12)\n"
                    "error queue-in-other-device 02.0005 (" UUID " / " OTHER ")");
}

static void
test_words(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigApView) view = apmig_ap_view_new_of_device(fixture->source, fixture->guest);
    g_autoptr(GPtrArray) findings = NULL;
    g_autofree char *type = NULL;
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

    older_type(fixture);
    findings = apmig_compat_check(view, fixture->destination, UUID);
    type = apmig_compat_finding_describe(findings->pdata[0]);
    g_assert_cmpstr(
        type, ==,
        "AP queue 02.0005: AP type: source 14, destination 13. Move the guest to a host whose adapter 02 "
        "is of at least the source's type.");
    for (int i = 0; i < APMIG_N_COMPAT_CODES; i++)
        g_assert_true(g_hash_table_add(names, (gpointer)apmig_compat_code_to_string((ApmigCompatCode)i)));
}

/* What travels may be anything. */
static void
test_numbers_out_of_range(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigApView) view = apmig_ap_view_new();
    const ApmigApViewQueue queues[] = {{256, 5, 0, 0, 0, (ApmigApMode)99}, {2, G_MAXUINT, 1, 0, G_MAXUINT}};
    g_autoptr(GPtrArray) findings = NULL;
    g_autofree char *shown = NULL;

    g_array_append_vals(view->queues, queues, G_N_ELEMENTS(queues));
    view->has_control_domains = APMIG_YES;
    memset(&fixture->place->adapters, 0xff, sizeof fixture->place->adapters);
    memset(&fixture->place->domains, 0xff, sizeof fixture->place->domains);
    findings = apmig_compat_check(view, fixture->destination, NULL);
    shown = show(findings);
    assert_says(shown, "error queue-absent 100.0005");
    g_assert_cmpuint(findings->len, ==, 2);
}

static void
test_view(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigApView) view = apmig_ap_view_new_of_device(fixture->source, fixture->guest);
    const ApmigApViewQueue *last = &g_array_index(view->queues, ApmigApViewQueue, 3);

    g_assert_cmpuint(view->queues->len, ==, 4);
    g_assert_cmpuint(last->adapter, ==, 5);
    g_assert_cmpuint(last->domain, ==, 0x2c);
    g_assert_cmphex(last->functions, ==, FUNCTIONS_EP11);
    g_assert_cmphex(last->known_functions, ==, G_MAXUINT32);
    g_assert_cmpuint(last->raw_hwtype, ==, 14);
    g_assert_cmpint(last->mode, ==, APMIG_AP_MODE_EP11);
    ((ApmigApCard *)fixture->source->cards->pdata[1])->has_functions = APMIG_NO;
    g_assert_cmpint(apmig_ap_find_mode(fixture->source, 5), ==, APMIG_AP_MODE_EP11);
    g_assert_cmpint(apmig_ap_find_mode(fixture->source, 6), ==, APMIG_AP_MODE_UNKNOWN);
    g_assert_true(apmig_ap_view_has_control_domain(view, 5));
    g_assert_false(apmig_ap_view_has_control_domain(view, 6));
    g_clear_pointer(&fixture->guest->queues, apmig_scope_unref);
    g_assert_null(apmig_ap_view_new_of_device(fixture->source, fixture->guest));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add(path, Fixture, NULL, set_up, test, tear_down)
    g_test_add_func("/ap-compat/rules", test_rules);
    ADD("/ap-compat/bits", test_bits);
    ADD("/ap-compat/remedy-of-reserved", test_remedy_of_reserved);
    ADD("/ap-compat/binding-with-unknown", test_binding_with_unknown);
    ADD("/ap-compat/unknown-device", test_unknown_device);
    ADD("/ap-compat/order", test_order);
    ADD("/ap-compat/words", test_words);
    ADD("/ap-compat/numbers-out-of-range", test_numbers_out_of_range);
    ADD("/ap-compat/view", test_view);
#undef ADD
    return g_test_run();
}
