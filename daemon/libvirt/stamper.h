/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the stamp of a guest is to say: put together from the guest, this host's hardware, what is known of its keys, and
 * the lock that covers it. Whether and when is decided elsewhere (stamps.c).
 */
#pragma once

#include "cards/sysfs.h"
#include "engine/action.h"
#include "guest/xml.h"

/* This host's hardware as it was read last, for the stamps of many guests in a row. Any thread, one at a time waits for
 * the other. */
typedef struct ApmigStampHost ApmigStampHost;

/* Reads nothing yet. @sysfs: where sysfs is mounted */
ApmigStampHost *apmig_stamp_host_new(ApmigSysfs *sysfs);
ApmigStampHost *apmig_stamp_host_ref(ApmigStampHost *host);
/* @host: (nullable) */
void apmig_stamp_host_unref(ApmigStampHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStampHost, apmig_stamp_host_unref)

/* All that is needed besides the guest. Owned by whoever carries it out, and not shared. */
typedef struct {
    ApmigStampForm form; /* off: what stamp there is is taken away */
    char *host_id;       /* (nullable): NULL as off: a stamp without its host counts for nothing */
    char *host_name;     /* (nullable): this host's */
    gint64 now;          /* realtime, usec */
    GPtrArray *locks;    /* of ApmigLockRecord: see apmig_stamp_choose_lock() */
    ApmigEvidence *evidence;
    ApmigNews change; /* that is the cause of it */
} ApmigStampOrder;

/**
 * apmig_stamp_order_new:
 * @action: an APMIG_ACTION_STAMP_GUEST
 * @host_id: (nullable): this host's
 * @host_name: (nullable): what people call it
 * @now: realtime, usec
 * @evidence: what is known of this host's keys; copied
 *
 * Returns: (transfer full)
 */
ApmigStampOrder *apmig_stamp_order_new(const ApmigAction *action, const char *host_id, const char *host_name,
                                       gint64 now, const ApmigEvidence *evidence);
/* @order: (nullable) */
void apmig_stamp_order_free(ApmigStampOrder *order);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStampOrder, apmig_stamp_order_free)

typedef enum {
    APMIG_STAMP_KEEP, /* there is nothing to write */
    APMIG_STAMP_WRITE,
    APMIG_STAMP_REMOVE,
} ApmigStampChange;

/**
 * apmig_stamp_compose:
 * @guest: an active one, with its queues read (apmig_guest_read_queues())
 * @host: is read when the guest has a vfio-ap device, or declares its queues; blocks then, for worker threads
 * @ret_xml: (out) (transfer full): with %APMIG_STAMP_WRITE, for virDomainSetMetadata()
 *
 * A guest with one vfio-ap device, whatever model libvirt has it under, gets what that has. One without, whose stamp names
 * queues of a device, keeps these, and what was known of their keys: it had them where the device was taken away, and its
 * keys were made there. One that has neither, but a device in its persistent configuration, gets what that would have. One
 * that has never had a device gets what this host has of the queues that it declares, of "all" or of wide wildcards too: as
 * much as a stamp holds (see apmig_stamp_to_xml()). Where that is nothing, and of a device that cannot be read, the stamp
 * tells only of the lock. A guest that is not affected gets none.
 *
 * Returns: what is to be done; nothing when the guest's stamp is this host's and says the same already.
 */
ApmigStampChange apmig_stamp_compose(const ApmigGuest *guest, ApmigStampHost *host,
                                     const ApmigStampOrder *order, char **ret_xml);

/**
 * apmig_stamp_describe:
 * @xml: of a guest of this host
 * @guest: as that was parsed, with its queues read
 * @host: as of apmig_stamp_compose()
 * @order: its form is not off
 * @error: #APMIG_ERROR_INVALID_GUEST
 *
 * Returns: (transfer full) (nullable): what its destination would be asked with, were it to leave now: the XML as of
 * apmig_guest_reduce(), with the stamp that @order makes in place of the one that is there.
 */
char *apmig_stamp_describe(const char *xml, const ApmigGuest *guest, ApmigStampHost *host,
                           const ApmigStampOrder *order, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A guest that runs on other keys than it had. */
typedef struct {
    char *uuid, *name;
    ApmigNews change; /* what it did */
    char *sentence;
} ApmigOtherKeys;

/* @other: (nullable) */
void apmig_other_keys_free(ApmigOtherKeys *other);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigOtherKeys, apmig_other_keys_free)

/**
 * apmig_stamp_find_other_keys:
 * @guest: as before its stamp is written
 *
 * A guest that was just started, or given back its vfio-ap device, with a stamp that says other keys of its queues than
 * this host knows: its own keys were made for those.
 *
 * Returns: (transfer full) (nullable): %NULL when the keys agree, or it is not known that they do not.
 */
ApmigOtherKeys *apmig_stamp_find_other_keys(const ApmigGuest *guest, const ApmigStampOrder *order);
