/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The crypto hardware of one host as its sysfs describes it, at one moment: plain values, which daemon/ reads and
 * policy/ judges. Numbers are those of sysfs. What could not be read is "unknown", never a guess.
 *
 * Sources: drivers/s390/crypto/{ap_bus,ap_card,ap_queue,zcrypt_queue,zcrypt_cex4,vfio_ap_ops}.c of Linux 6.12,
 * Documentation/arch/s390/vfio-ap.rst.
 */
#pragma once

#include <glib.h>

#include "ap/scope.h"

#define APMIG_AP_NUMBERS 256 /* adapters, and domains */

typedef enum {
    APMIG_UNKNOWN = 0,
    APMIG_NO,
    APMIG_YES,
} ApmigKnown;

/* A set of adapters or of domains. Bit 0 is the leftmost of sysfs' text "0x" and 64 hexadecimal digits. */
typedef struct {
    guint8 bytes[APMIG_AP_NUMBERS / 8];
} ApmigApMask;

typedef enum {
    APMIG_AP_MODE_UNKNOWN = 0,
    APMIG_AP_MODE_CCA,
    APMIG_AP_MODE_EP11,
    APMIG_AP_MODE_ACCELERATOR,
} ApmigApMode;

typedef struct {
    guint adapter;
    char *type;        /* "CEX8C"; "" when it cannot be read */
    char *serial;      /* "" when it was not read */
    guint hwtype;      /* the compatible type; 0: unknown */
    guint raw_hwtype;  /* as the hardware says: what a migration compares; 0: unknown */
    guint32 functions; /* bits 0..31 of GR2 of TAPQ, without those that the card's file masks out */
    ApmigKnown has_functions;
    ApmigKnown online, config, chkstop;
} ApmigApCard;

typedef enum {
    APMIG_AP_STATUS_UNKNOWN = 0, /* not bound to vfio_ap, or not readable */
    APMIG_AP_STATUS_UNASSIGNED,
    APMIG_AP_STATUS_ASSIGNED, /* to a mediated device */
    APMIG_AP_STATUS_IN_USE,   /* passed through to a running guest */
} ApmigApStatus;

typedef struct {
    guint adapter, domain;
    char *driver; /* "cex4queue", "vfio_ap"; "" when none is bound */
    char *
        driver_override; /* the one that alone may have it, whatever apmask and aqmask say; "" for none (before 6.19) */
    guint32 functions; /* of this queue, unmasked: with the binding state in bits 16 and 17 */
    ApmigKnown has_functions;
    ApmigKnown online, config, chkstop;
    ApmigApStatus status;
    gboolean hangs; /* it did not tell in time, and all of this is unknown */
} ApmigApQueue;

/* A mediated device of vfio_ap. */
typedef struct {
    char *uuid; /* lower case */
    /* What its guest has, or would have: the file guest_matrix, and matrix where a kernel has no such file; NULL: neither
     * can be read */
    ApmigScope *queues;
    /* As assigned: the file ap_config, and matrix and control_domains where a kernel has no such file */
    ApmigApMask adapters, domains, control_domains;
    ApmigKnown has_config; /* whether the three could be read */
} ApmigApDevice;

typedef struct {
    gboolean present;            /* there is an AP bus */
    GPtrArray *cards;            /* of ApmigApCard, by adapter */
    GPtrArray *queues;           /* of ApmigApQueue, by adapter and domain */
    GPtrArray *devices;          /* of ApmigApDevice, by UUID */
    ApmigApMask usage_domains;   /* that this partition may use */
    ApmigApMask control_domains; /* that it may administer */
    ApmigKnown has_masks;        /* whether both could be read; APMIG_NO: the machine has no such facility */
    /* apmask and aqmask: both set: reserved for the host's drivers */
    ApmigApMask adapters_default, domains_default;
    ApmigKnown has_default_masks;
    gboolean can_migrate; /* vfio_ap's features name "migratable" */
} ApmigApHost;

gboolean apmig_ap_mask_has(const ApmigApMask *mask, guint number);
/* A number above 255 is none. */
void apmig_ap_mask_add(ApmigApMask *mask, guint number);

/* What is new is all unknown, its strings "". Of every free function the argument is (nullable). */
ApmigApCard *apmig_ap_card_new(guint adapter);
ApmigApCard *apmig_ap_card_copy(const ApmigApCard *card);
void apmig_ap_card_free(ApmigApCard *card);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigApCard, apmig_ap_card_free)

ApmigApQueue *apmig_ap_queue_new(guint adapter, guint domain);
ApmigApQueue *apmig_ap_queue_copy(const ApmigApQueue *queue);
void apmig_ap_queue_free(ApmigApQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigApQueue, apmig_ap_queue_free)

/* @uuid: lower case */
ApmigApDevice *apmig_ap_device_new(const char *uuid);
ApmigApDevice *apmig_ap_device_copy(const ApmigApDevice *device);
void apmig_ap_device_free(ApmigApDevice *device);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigApDevice, apmig_ap_device_free)

/* A host without an AP bus. The arrays own what is added to them. */
ApmigApHost *apmig_ap_host_new(void);
/* A deep copy. */
ApmigApHost *apmig_ap_host_copy(const ApmigApHost *host);
void apmig_ap_host_free(ApmigApHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigApHost, apmig_ap_host_free)
