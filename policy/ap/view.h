/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What one guest has of its host's crypto hardware: the source's half of the comparison that the kernel makes when the
 * guest arrives somewhere else. Plain values, fit to travel.
 *
 * Sources: vfio_ap_mdev_filter_matrix() and _filter_cdoms() in drivers/s390/crypto/vfio_ap_ops.c, and
 * TAPQ_CARD_HWINFO_MASK in ap_bus.h, of Linux 6.12; the series "s390/vfio-ap: Add live guest migration support" v4.
 */
#pragma once

#include "ap/ap.h"

/* Of ap_functions: bit 0 is the leftmost. */
#define APMIG_AP_APSC        0x80000000u /* bit 0 */
#define APMIG_AP_AP4KM       0x40000000u /* bit 1 */
#define APMIG_AP_AP4KC       0x20000000u /* bit 2 */
#define APMIG_AP_CCA         0x10000000u /* bit 3 */
#define APMIG_AP_ACCELERATOR 0x08000000u /* bit 4 */
#define APMIG_AP_EP11        0x04000000u /* bit 5 */
#define APMIG_AP_MODES       (APMIG_AP_CCA | APMIG_AP_ACCELERATOR | APMIG_AP_EP11)
#define APMIG_AP_APXA        0x02000000u /* bit 6 */
#define APMIG_AP_SLCF        0x01000000u /* bit 7: stateless filtering */
#define APMIG_AP_NATIVE      0x00800000u /* bit 8: native (full) function */
#define APMIG_AP_BINDING     0x0000c000u /* bits 16 and 17: binding state */
#define APMIG_AP_BINDING_LOW 0x00004000u /* the last of them */

typedef struct {
    guint adapter, domain;
    guint32 functions;       /* bits 0..31 of GR2 of TAPQ */
    guint32 known_functions; /* which of them are known; the others are 0 */
    guint raw_hwtype;        /* of its card; 0: unknown */
    ApmigApMode mode;        /* of its card */
} ApmigApViewQueue;

typedef struct {
    GArray *queues;                 /* of ApmigApViewQueue, by adapter and domain */
    ApmigApMask control_domains;    /* that the guest really has: assigned, and its host's as well */
    ApmigKnown has_control_domains; /* whether they are known; never APMIG_NO */
} ApmigApView;

/* Returns: (transfer full): a view of no queues, with unknown control domains. */
ApmigApView *apmig_ap_view_new(void);

/**
 * apmig_ap_view_new_of_device:
 * @host: as it was read
 * @device: one of its mediated devices
 *
 * Returns: (transfer full) (nullable): what the device's guest has; %NULL when its queues are not known.
 */
ApmigApView *apmig_ap_view_new_of_device(const ApmigApHost *host, const ApmigApDevice *device);

/**
 * apmig_ap_view_new_of_scope:
 * @host: as it was read
 * @scope: of any size: what counts of it are the queues that the host has
 *
 * Returns: (transfer full) (nullable): these queues, with unknown control domains; %NULL when the host has none of them.
 */
ApmigApView *apmig_ap_view_new_of_scope(const ApmigApHost *host, const ApmigScope *scope);

/**
 * apmig_ap_view_describe_queue:
 *
 * Returns: one queue of @host, as far as it can be read. Without the queue's own file ap_functions that of its card
 * stands in, which has no binding state and, in kernels before commit 123b7c7c2ba7, no bit 7.
 */
ApmigApViewQueue apmig_ap_view_describe_queue(const ApmigApHost *host, guint adapter, guint domain);

/* @view: (nullable) */
void apmig_ap_view_free(ApmigApView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigApView, apmig_ap_view_free)

/* Returns: (transfer full): its queues. */
ApmigScope *apmig_ap_view_scope(const ApmigApView *view);

gboolean apmig_ap_view_has_control_domain(const ApmigApView *view, guint domain);
