/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which mediated device of this host takes the place of the one that an arriving guest had at its source. That both have
 * the same UUID is a demand of libvirt's and QEMU's command line, not of the kernel: what the guest has of its device
 * travels, and replaces what the device here has assigned.
 *
 * Source: the review of the series "s390/vfio-ap: Add live guest migration support" v1, and the documentation of its v4.
 */
#pragma once

#include "ap/view.h"

typedef enum {
    APMIG_REMAP_OFF = 0,
    APMIG_REMAP_MATCHING,          /* to a device with the queues and control domains that the guest has */
    APMIG_REMAP_MATCHING_OR_EMPTY, /* where there is none, to one with nothing assigned */
} ApmigRemap;

/* By number, NULL-terminated. */
extern const char *const apmig_remap_words[];

typedef struct {
    ApmigRemap remap;          /* not off */
    const char *device;        /* UUID of the one at the source, lower case, like all others */
    const ApmigApView *source; /* (nullable): what the guest has there; NULL: not known */
    const ApmigApHost *host;   /* (nullable): this host; NULL: not known */
    const char *const *taken;  /* UUIDs of devices that other guests have here, or are promised */
    gboolean guests_known;     /* whether all guests that are active here have told their devices */
    const char *const
        *promised;        /* (nullable): UUIDs that this guest was promised before: they are preferred */
    gboolean may_be_here; /* it may have come with one of those: that it is in use is no obstacle then */
} ApmigRemapQuestion;

/**
 * apmig_device_remap_choose:
 * @ret_why_not: (out) (transfer full): with %NULL, a sentence with the devices that there are and what each lacks
 *
 * The device of the same UUID where it is here and free, whatever it has; then the first by UUID that is free and
 * matches. A device is free when it is not taken, the kernel says of none of its queues that a guest uses it, and that
 * is known: by the guests' own devices, or by the kernel, of all its queues. Control domains that are not known on one
 * side are not compared: the source's take their place in any case.
 *
 * Returns: (transfer full) (nullable): its UUID
 */
char *apmig_device_remap_choose(const ApmigRemapQuestion *question,
                                char **ret_why_not) G_GNUC_WARN_UNUSED_RESULT;
