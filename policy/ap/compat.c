/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/compat.h"

#include "ap/find.h"

static const struct {
    const char *name;
    const char *what; /* of a sentence's beginning */
} codes[APMIG_N_COMPAT_CODES] = {
    [APMIG_COMPAT_BUS_ABSENT] = {"bus-absent", "AP bus"},
    [APMIG_COMPAT_NOT_MIGRATABLE] = {"not-migratable", "migration by vfio_ap"},
    [APMIG_COMPAT_DEVICE_ABSENT] = {"device-absent", "mediated device"},
    [APMIG_COMPAT_QUEUE_ABSENT] = {"queue-absent", "presence"},
    [APMIG_COMPAT_QUEUE_RESERVED] = {"queue-reserved", "reservation for the host's drivers"},
    [APMIG_COMPAT_QUEUE_NOT_VFIO_AP] = {"queue-not-vfio-ap", "driver"},
    [APMIG_COMPAT_CONTROL_DOMAIN] = {"control-domain", "administration"},
    [APMIG_COMPAT_CHECKSTOPPED] = {"checkstopped", "checkstop"},
    [APMIG_COMPAT_DECONFIGURED] = {"deconfigured", "configuration"},
    [APMIG_COMPAT_APSC] = {"apsc", "facility APSC"},
    [APMIG_COMPAT_AP4KM] = {"ap4km", "facility AP4KM"},
    [APMIG_COMPAT_AP4KC] = {"ap4kc", "facility AP4KC"},
    [APMIG_COMPAT_MODE] = {"mode", "mode"},
    [APMIG_COMPAT_APXA] = {"apxa", "facility APXA"},
    [APMIG_COMPAT_STATELESS_FILTERING] = {"stateless-filtering", "stateless command filtering"},
    [APMIG_COMPAT_NATIVE_FUNCTION] = {"native-function", "native function"},
    [APMIG_COMPAT_BINDING_STATE] = {"binding-state", "binding state"},
    [APMIG_COMPAT_AP_TYPE] = {"ap-type", "AP type"},
    [APMIG_COMPAT_NOT_COMPARED] = {"not-compared", "not compared"},
    [APMIG_COMPAT_QUEUE_IN_OTHER_DEVICE] = {"queue-in-other-device", "mediated device"},
};

const char *
apmig_compat_code_to_string(ApmigCompatCode code)
{
    g_return_val_if_fail((guint)code < APMIG_N_COMPAT_CODES, "");
    return codes[code].name;
}

/* --- findings ------------------------------------------------------------------------------------ */

void
apmig_compat_finding_free(ApmigCompatFinding *finding)
{
    if (!finding)
        return;
    g_free(finding->source);
    g_free(finding->destination);
    g_free(finding->remedy);
    g_free(finding);
}

static char *
describe_subject(const ApmigCompatFinding *finding)
{
    if (finding->domain == APMIG_COMPAT_NONE)
        return g_strdup("");
    if (finding->adapter == APMIG_COMPAT_NONE)
        return g_strdup_printf("Control domain %04x: ", finding->domain);
    return g_strdup_printf("AP queue %02x.%04x: ", finding->adapter, finding->domain);
}

char *
apmig_compat_finding_describe(const ApmigCompatFinding *finding)
{
    g_autofree char *subject = describe_subject(finding);
    char *text = g_strdup_printf("%s%s: source %s, destination %s. %s", subject, codes[finding->code].what,
                                 finding->source, finding->destination, finding->remedy);

    *text = g_ascii_toupper(*text);
    return text;
}

typedef struct {
    const ApmigApView *source;
    const ApmigApHost *destination;
    const char *uuid; /* NULL: not known */
    GPtrArray *findings;
} Check;

/* @remedy: (transfer full) */
static void
add(const Check *check, ApmigSeverity severity, ApmigCompatCode code, const ApmigApViewQueue *queue,
    const char *source, const char *destination, char *remedy)
{
    ApmigCompatFinding *finding = g_new0(ApmigCompatFinding, 1);

    finding->severity = severity;
    finding->code = code;
    finding->adapter = queue ? queue->adapter : APMIG_COMPAT_NONE;
    finding->domain = queue ? queue->domain : APMIG_COMPAT_NONE;
    finding->source = g_strdup(source);
    finding->destination = g_strdup(destination);
    finding->remedy = remedy;
    g_ptr_array_add(check->findings, finding);
}

static const ApmigApViewQueue *
queue_at(const Check *check, guint index)
{
    return &g_array_index(check->source->queues, ApmigApViewQueue, index);
}

/* --- the host and the device --------------------------------------------------------------------- */

static void
check_host(const Check *check)
{
    if (!check->destination->can_migrate)
        add(check, APMIG_SEVERITY_WARNING, APMIG_COMPAT_NOT_MIGRATABLE, NULL, "yes", "not announced",
            g_strdup("Boot a kernel there whose vfio_ap names \"migratable\" in its file features."));
    if (check->uuid && !apmig_ap_find_device(check->destination, check->uuid))
        add(check, APMIG_SEVERITY_ERROR, APMIG_COMPAT_DEVICE_ABSENT, NULL, check->uuid, "none of that UUID",
            g_strdup_printf(
                "Start the mediated device %s there with mdevctl or virsh nodedev-start; it may be "
                "empty.",
                check->uuid));
}

/* --- the place of each queue --------------------------------------------------------------------- */

/* While any queue has a driver_override, apmask and aqmask cannot be changed, and the other way round. */
static char *
remedy_of_reserved(const ApmigApHost *host, const ApmigApViewQueue *queue)
{
    if (apmig_ap_has_driver_override(host))
        return g_strdup_printf("Write vfio_ap to driver_override of queue %02x.%04x there.", queue->adapter,
                               queue->domain);
    return g_strdup_printf("Take adapter %02x out of apmask or domain %04x out of aqmask there (chzdev ap).",
                           queue->adapter, queue->domain);
}

static void
check_driver(const Check *check, const ApmigApViewQueue *queue, const ApmigApQueue *there)
{
    gboolean has_vfio_ap = g_str_equal(there->driver, "vfio_ap");
    const char *driver = *there->driver != '\0' ? there->driver : "no driver";
    g_autofree char *reserved = g_strdup_printf("reserved (%s)", driver);

    if (apmig_ap_is_reserved(check->destination, there) == APMIG_YES)
        add(check, has_vfio_ap ? APMIG_SEVERITY_WARNING : APMIG_SEVERITY_ERROR, APMIG_COMPAT_QUEUE_RESERVED,
            queue, "vfio_ap", reserved, remedy_of_reserved(check->destination, queue));
    else if (!has_vfio_ap)
        add(check, APMIG_SEVERITY_ERROR, APMIG_COMPAT_QUEUE_NOT_VFIO_AP, queue, "vfio_ap", driver,
            g_strdup("Load vfio_ap there, and see that no driver_override keeps it from the queue."));
}

static void
check_place(const Check *check, const ApmigApViewQueue *queue)
{
    const ApmigApQueue *there = apmig_ap_find_queue(check->destination, queue->adapter, queue->domain);

    if (there)
        check_driver(check, queue, there);
    else
        add(check, APMIG_SEVERITY_ERROR, APMIG_COMPAT_QUEUE_ABSENT, queue, "present", "absent",
            g_strdup_printf(
                "Give that partition adapter %02x and usage domain %04x (HMC), or move the guest to a "
                "host that has them.",
                queue->adapter, queue->domain));
}

/* --- control domains ----------------------------------------------------------------------------- */

static void
check_control_domains(const Check *check)
{
    const ApmigApHost *there = check->destination;

    if (check->source->has_control_domains != APMIG_YES) {
        add(check, APMIG_SEVERITY_WARNING, APMIG_COMPAT_NOT_COMPARED, NULL, "control domains unknown", "-",
            g_strdup(
                "Compare control_domains of the guest's mediated device with ap_control_domain_mask there."));
        return;
    }
    for (guint domain = 0; domain < APMIG_AP_NUMBERS; domain++) {
        const ApmigApViewQueue place = {APMIG_COMPAT_NONE, domain};

        if (!apmig_ap_view_has_control_domain(check->source, domain) ||
            (there->has_masks == APMIG_YES && apmig_ap_mask_has(&there->control_domains, domain)))
            continue;
        if (there->has_masks == APMIG_UNKNOWN)
            add(check, APMIG_SEVERITY_WARNING, APMIG_COMPAT_NOT_COMPARED, &place, "yes", "unknown",
                g_strdup("Look at ap_control_domain_mask there."));
        else
            add(check, APMIG_SEVERITY_ERROR, APMIG_COMPAT_CONTROL_DOMAIN, &place, "yes", "no",
                g_strdup_printf(
                    "Give that partition the control domain %04x (HMC), or take it from the guest's "
                    "mediated device.",
                    domain));
    }
}

/* --- the hardware of each queue ------------------------------------------------------------------ */

typedef enum {
    RULE_EQUAL,
    RULE_KEPT, /* what the source has, the destination has */
    RULE_ZERO, /* on both sides */
} RuleKind;

static const struct {
    ApmigCompatCode code;
    RuleKind kind;
    guint32 bits;
} rules[] = {
    {APMIG_COMPAT_APSC, RULE_EQUAL, APMIG_AP_APSC},
    {APMIG_COMPAT_AP4KM, RULE_EQUAL, APMIG_AP_AP4KM},
    {APMIG_COMPAT_AP4KC, RULE_EQUAL, APMIG_AP_AP4KC},
    {APMIG_COMPAT_MODE, RULE_EQUAL, APMIG_AP_MODES},
    {APMIG_COMPAT_APXA, RULE_EQUAL, APMIG_AP_APXA},
    {APMIG_COMPAT_STATELESS_FILTERING, RULE_EQUAL, APMIG_AP_SLCF},
    {APMIG_COMPAT_NATIVE_FUNCTION, RULE_KEPT, APMIG_AP_NATIVE},
    {APMIG_COMPAT_BINDING_STATE, RULE_ZERO, APMIG_AP_BINDING},
};

/* Some bits of one side. */
typedef struct {
    guint32 value;
    gboolean known;
} Bits;

static Bits
bits_of(const ApmigApViewQueue *queue, guint32 mask)
{
    static const guint32 of_mode[] = {
        [APMIG_AP_MODE_CCA] = APMIG_AP_CCA,
        [APMIG_AP_MODE_EP11] = APMIG_AP_EP11,
        [APMIG_AP_MODE_ACCELERATOR] = APMIG_AP_ACCELERATOR,
    };
    Bits bits = {queue->functions & mask, (queue->known_functions & mask) == mask};

    if (mask == APMIG_AP_MODES && !bits.known && queue->mode != APMIG_AP_MODE_UNKNOWN &&
        (guint)queue->mode < G_N_ELEMENTS(of_mode))
        return (Bits){of_mode[queue->mode], TRUE};
    return bits;
}

/* Returns: unknown when it depends on what is not known. */
static ApmigKnown
obeys(RuleKind kind, Bits source, Bits destination)
{
    gboolean both = source.known && destination.known;

    switch (kind) {
    case RULE_KEPT:
        if ((source.known && source.value == 0) || (destination.known && destination.value != 0))
            return APMIG_YES;
        return both ? APMIG_NO : APMIG_UNKNOWN;
    case RULE_ZERO:
        if ((source.known && source.value != 0) || (destination.known && destination.value != 0))
            return APMIG_NO;
        return both ? APMIG_YES : APMIG_UNKNOWN;
    case RULE_EQUAL:
    default:
        if (!both)
            return APMIG_UNKNOWN;
        return source.value == destination.value ? APMIG_YES : APMIG_NO;
    }
}

static char *
describe_bits(ApmigCompatCode code, Bits bits)
{
    static const char *const bindings[] = {"0 (usable)", "1 (usable without secure keys)",
                                           "2 (available for binding)", "3 (unusable)"};

    if (!bits.known)
        return g_strdup("unknown");
    if (code == APMIG_COMPAT_BINDING_STATE)
        return g_strdup(bindings[bits.value / APMIG_AP_BINDING_LOW]);
    if (code != APMIG_COMPAT_MODE)
        return g_strdup(bits.value != 0 ? "yes" : "no");
    switch (bits.value) {
    case APMIG_AP_CCA:
        return g_strdup(apmig_ap_mode_to_string(APMIG_AP_MODE_CCA));
    case APMIG_AP_EP11:
        return g_strdup(apmig_ap_mode_to_string(APMIG_AP_MODE_EP11));
    case APMIG_AP_ACCELERATOR:
        return g_strdup(apmig_ap_mode_to_string(APMIG_AP_MODE_ACCELERATOR));
    default:
        return g_strdup_printf("none that is known (ap_functions 0x%08X)", bits.value);
    }
}

static char *
find_remedy(ApmigCompatCode code, const ApmigApViewQueue *queue)
{
    switch (code) {
    case APMIG_COMPAT_MODE:
        return g_strdup_printf(
            "Set adapter %02x to the same mode on both machines (HMC, zeroizes it), or move the "
            "guest to another host.",
            queue->adapter);
    case APMIG_COMPAT_BINDING_STATE:
        return g_strdup("Unbind the queue from the secure execution guest that has it, or reset it.");
    case APMIG_COMPAT_AP_TYPE:
        return g_strdup_printf(
            "Move the guest to a host whose adapter %02x is of at least the source's type.", queue->adapter);
    default:
        return g_strdup_printf(
            "Move the guest to a host whose adapter %02x has the facilities of the source's.",
            queue->adapter);
    }
}

static void
note_unknown(GString *unknown, ApmigCompatCode code)
{
    g_string_append_printf(unknown, "%s%s", unknown->len > 0 ? ", " : "unknown: ", codes[code].what);
}

/* What could not be compared, because one side does not know it. */
typedef struct {
    GString *source, *destination;
} Unknowns;

static void
check_type(const Check *check, const ApmigApViewQueue *here, const ApmigApViewQueue *there,
           const Unknowns *unknowns)
{
    g_autofree char *source = g_strdup_printf("%u", here->raw_hwtype);
    g_autofree char *destination = g_strdup_printf("%u", there->raw_hwtype);

    if (here->raw_hwtype == 0)
        note_unknown(unknowns->source, APMIG_COMPAT_AP_TYPE);
    if (there->raw_hwtype == 0)
        note_unknown(unknowns->destination, APMIG_COMPAT_AP_TYPE);
    if (there->raw_hwtype != 0 && here->raw_hwtype > there->raw_hwtype)
        add(check, APMIG_SEVERITY_ERROR, APMIG_COMPAT_AP_TYPE, here, source, destination,
            find_remedy(APMIG_COMPAT_AP_TYPE, here));
}

static void
check_rule(const Check *check, guint index, const ApmigApViewQueue *here, const ApmigApViewQueue *there,
           const Unknowns *unknowns)
{
    ApmigCompatCode code = rules[index].code;
    Bits source = bits_of(here, rules[index].bits), destination = bits_of(there, rules[index].bits);
    ApmigKnown obeyed = obeys(rules[index].kind, source, destination);
    g_autofree char *source_text = describe_bits(code, source);
    g_autofree char *destination_text = describe_bits(code, destination);

    if (obeyed == APMIG_NO)
        add(check, APMIG_SEVERITY_ERROR, code, here, source_text, destination_text, find_remedy(code, here));
    if (obeyed == APMIG_UNKNOWN && !source.known)
        note_unknown(unknowns->source, code);
    if (obeyed == APMIG_UNKNOWN && !destination.known)
        note_unknown(unknowns->destination, code);
}

static void
check_functions(const Check *check, const ApmigApViewQueue *here, const ApmigApViewQueue *there)
{
    g_autoptr(GString) source = g_string_new(NULL);
    g_autoptr(GString) destination = g_string_new(NULL);
    const Unknowns unknowns = {source, destination};

    for (guint i = 0; i < G_N_ELEMENTS(rules); i++)
        check_rule(check, i, here, there, &unknowns);
    check_type(check, here, there, &unknowns);
    if (source->len > 0 || destination->len > 0)
        add(check, APMIG_SEVERITY_WARNING, APMIG_COMPAT_NOT_COMPARED, here,
            source->len > 0 ? source->str : "known", destination->len > 0 ? destination->str : "known",
            g_strdup("Compare ap_functions of the queue and raw_hwtype of its card on both hosts: the kernel "
                     "will."));
}

static void
check_health(const Check *check, const ApmigApViewQueue *queue, const ApmigApQueue *there)
{
    const ApmigApCard *card = apmig_ap_find_card(check->destination, queue->adapter);

    if (there->chkstop == APMIG_YES || (card && card->chkstop == APMIG_YES))
        add(check, APMIG_SEVERITY_WARNING, APMIG_COMPAT_CHECKSTOPPED, queue, "-", "checkstopped",
            g_strdup_printf(
                "Have adapter %02x repaired there: the guest would have a queue that does not answer.",
                queue->adapter));
    if (there->config == APMIG_NO || (card && card->config == APMIG_NO))
        add(check, APMIG_SEVERITY_WARNING, APMIG_COMPAT_DECONFIGURED, queue, "-", "deconfigured",
            g_strdup_printf("Configure adapter %02x there with chzcrypt --config-on: the guest would have a "
                            "queue that does not answer.",
                            queue->adapter));
}

static void
check_hardware(const Check *check, const ApmigApViewQueue *queue)
{
    const ApmigApQueue *there = apmig_ap_find_queue(check->destination, queue->adapter, queue->domain);
    ApmigApViewQueue view;

    if (!there)
        return;
    view = apmig_ap_view_describe_queue(check->destination, queue->adapter, queue->domain);
    check_health(check, queue, there);
    check_functions(check, queue, &view);
}

/* --- other devices ------------------------------------------------------------------------------- */

/* The kernel looks at what is assigned, which may be more than the device's guest has. */
static gboolean
is_assigned(const ApmigApDevice *device, const ApmigApViewQueue *queue)
{
    if (device->has_config == APMIG_YES)
        return apmig_ap_mask_has(&device->adapters, queue->adapter) &&
               apmig_ap_mask_has(&device->domains, queue->domain);
    return device->queues && apmig_scope_contains(device->queues, queue->adapter, queue->domain);
}

static void
check_other_devices(const Check *check, const ApmigApViewQueue *queue)
{
    ApmigSeverity severity = check->uuid ? APMIG_SEVERITY_ERROR : APMIG_SEVERITY_WARNING;

    for (guint i = 0; i < check->destination->devices->len; i++) {
        const ApmigApDevice *device = g_ptr_array_index(check->destination->devices, i);

        if (g_strcmp0(device->uuid, check->uuid) == 0 || !is_assigned(device, queue))
            continue;
        add(check, severity, APMIG_COMPAT_QUEUE_IN_OTHER_DEVICE, queue, check->uuid ? check->uuid : "unknown",
            device->uuid,
            g_strdup_printf(
                "Take the queue from the mediated device %s there (mdevctl modify), or move the guest to "
                "another host.",
                device->uuid));
    }
}

/* --- all of it ----------------------------------------------------------------------------------- */

static void
for_each_queue(const Check *check, void (*rule)(const Check *check, const ApmigApViewQueue *queue))
{
    for (guint i = 0; i < check->source->queues->len; i++)
        rule(check, queue_at(check, i));
}

GPtrArray *
apmig_compat_check(const ApmigApView *source, const ApmigApHost *destination, const char *uuid)
{
    const Check check = {source, destination, uuid,
                         g_ptr_array_new_with_free_func((GDestroyNotify)apmig_compat_finding_free)};

    if (!destination->present) {
        add(&check, APMIG_SEVERITY_ERROR, APMIG_COMPAT_BUS_ABSENT, NULL, "present", "absent",
            g_strdup("Move the guest to a host with crypto adapters."));
        return check.findings;
    }
    check_host(&check);
    for_each_queue(&check, check_place);
    check_control_domains(&check);
    for_each_queue(&check, check_hardware);
    for_each_queue(&check, check_other_devices);
    return check.findings;
}
