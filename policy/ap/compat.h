/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Can this host take the guest's AP configuration? The rules are the kernel's. It applies them at the destination, after
 * the guest's memory was sent and the guest was stopped, because vfio-ap migrates in STOP_COPY alone; here they are
 * applied before. What the kernel does not look at (master keys, EP11 operation modes, firmware, extra queues of the
 * destination's device, which it simply loses) is not looked at here.
 *
 * Source: vfio_ap_migration.c and the documentation of the series "s390/vfio-ap: Add live guest migration support" v4.
 * Where its documentation and its code differ, the code counts: the AP type is the raw one, and hardware that does not
 * match is EINVAL.
 */
#pragma once

#include "ap/view.h"
#include "base/severity.h"

/*
 * In the order of the driver; in brackets, what it answers. Its rule that neither host's kernel may be a secure
 * execution guest (EPERM) cannot be seen from outside: such a kernel offers no migration at all. Two queues whose bits
 * 0..17 and AP type are identical, with a binding state of 0, it accepts without further looks; so do these rules. It
 * does not compare the number of queues.
 */
typedef enum {
    /* There is no AP bus [ENODEV]. */
    APMIG_COMPAT_BUS_ABSENT,
    /* vfio_ap's features do not name "migratable". A warning: the word is a convention. */
    APMIG_COMPAT_NOT_MIGRATABLE,
    /* There is no mediated device of that UUID: QEMU cannot open it. What it has assigned does not matter, the source's
     * configuration takes its place. */
    APMIG_COMPAT_DEVICE_ABSENT,
    /* The host has no such queue [ENODEV]. */
    APMIG_COMPAT_QUEUE_ABSENT,
    /* apmask and aqmask, or its driver_override, reserve the queue for the host's drivers [ENODEV, and EADDRNOTAVAIL when it is applied]. Of a
     * queue that vfio_ap has nevertheless, a warning: a change that is under way. */
    APMIG_COMPAT_QUEUE_RESERVED,
    /* Free for guests, but not bound to vfio_ap [ENODEV]. */
    APMIG_COMPAT_QUEUE_NOT_VFIO_AP,
    /* The guest administers a domain that this host may not [ENODEV]. */
    APMIG_COMPAT_CONTROL_DOMAIN,
    /* The kernel lets both pass, and the guest has a queue that does not answer: warnings. */
    APMIG_COMPAT_CHECKSTOPPED,
    APMIG_COMPAT_DECONFIGURED,
    /* Facilities that must be equal [EINVAL]: bits 0, 1, 2, 6 and 7 of ap_functions. */
    APMIG_COMPAT_APSC,
    APMIG_COMPAT_AP4KM,
    APMIG_COMPAT_AP4KC,
    /* CCA, accelerator or EP11: bits 3, 4 and 5 [EINVAL]. */
    APMIG_COMPAT_MODE,
    APMIG_COMPAT_APXA,
    APMIG_COMPAT_STATELESS_FILTERING,
    /* Bit 8: what the source has, the destination must have [EINVAL]. */
    APMIG_COMPAT_NATIVE_FUNCTION,
    /* Bits 16 and 17: 0 on both sides [EINVAL]. */
    APMIG_COMPAT_BINDING_STATE,
    /* raw_hwtype: the destination's is at least the source's [EINVAL]. */
    APMIG_COMPAT_AP_TYPE,
    /* Something of the above could not be read on one side: a warning. */
    APMIG_COMPAT_NOT_COMPARED,
    /* Another mediated device has the queue [EADDRINUSE when it is applied]. A warning when it is not known which device
     * the guest will have. */
    APMIG_COMPAT_QUEUE_IN_OTHER_DEVICE,
} ApmigCompatCode;

#define APMIG_N_COMPAT_CODES (APMIG_COMPAT_QUEUE_IN_OTHER_DEVICE + 1)
#define APMIG_COMPAT_NONE    G_MAXUINT /* of an adapter or domain: the finding is not about one */

/* "bus-absent", "queue-not-vfio-ap", "ap-type", ... */
const char *apmig_compat_code_to_string(ApmigCompatCode code);

typedef struct {
    ApmigSeverity severity; /* error: the kernel will refuse */
    ApmigCompatCode code;
    guint adapter, domain; /* or APMIG_COMPAT_NONE; a control domain has no adapter */
    char *source;          /* what the source has, in few words */
    char *destination;     /* what this host has */
    char *remedy;          /* a sentence */
} ApmigCompatFinding;

/* @finding: (nullable) */
void apmig_compat_finding_free(ApmigCompatFinding *finding);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigCompatFinding, apmig_compat_finding_free)

/* Returns: (transfer full): "AP queue 04.0012: AP type: source 14, destination 13. Move the guest to ...". */
char *apmig_compat_finding_describe(const ApmigCompatFinding *finding);

/**
 * apmig_compat_check:
 * @source: what the guest has where it comes from
 * @destination: the host where it goes, as it was read
 * @uuid: (nullable): of the mediated device that it is to have there, lower case; %NULL: not known, and then neither is
 *   whether it exists
 *
 * Returns: (transfer full) (element-type ApmigCompatFinding): in the driver's order, so that the first error is the one
 * that the kernel would stop at; empty when the guest fits.
 */
GPtrArray *apmig_compat_check(const ApmigApView *source, const ApmigApHost *destination, const char *uuid);
