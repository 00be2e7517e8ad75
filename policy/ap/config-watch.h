/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of the AP configuration while it has to stay: under a lock that is in force, and over a migration in progress.
 * What one reading of a host says of its queues otherwise than the one before it: which drivers they are for, which
 * mediated device has them, whether they are configured, checkstopped or there at all.
 *
 * The kernel never blocks such changes (Documentation/arch/s390/vfio-ap.rst of the series "s390/vfio-ap: Add live guest
 * migration support" v4), and has events for a part of them only (ap_send_*_uevent() in drivers/s390/crypto of Linux
 * 6.12). Times are handed in: of one clock, whichever. Not thread-safe: one thread owns a watch.
 */
#pragma once

#include "ap/ap.h"

/* What differs of one queue, and nothing else. */
typedef struct {
    ApmigApqn queue;
    char *was, *is; /* clauses that follow "was" and "is" */
} ApmigConfigFinding;

void apmig_config_finding_free(ApmigConfigFinding *finding);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigConfigFinding, apmig_config_finding_free)

/**
 * apmig_config_compare:
 * @before: as it was read
 * @now: as it was read later
 * @expected: (nullable) (array zero-terminated=1): UUIDs of mediated devices that may be given other queues: the kernel
 *   has a guest that comes in bring its source's configuration
 *
 * What is not known on either side is no difference. A guest that starts or stops changes nothing here.
 *
 * Returns: (transfer full) (element-type ApmigConfigFinding): at most one for each queue that is, or was, on the AP bus.
 */
GPtrArray *apmig_config_compare(const ApmigApHost *before, const ApmigApHost *now,
                                const char *const *expected);

/* --- over time ----------------------------------------------------------------------------------- */

typedef struct ApmigConfigWatch ApmigConfigWatch;

/* What was found, all of one reading. */
typedef struct {
    ApmigScope *queues; /* that have changed */
    char *message;      /* a sentence that says during what, and names the first few */
} ApmigConfigChanges;

/* @changes: (nullable) */
void apmig_config_changes_free(ApmigConfigChanges *changes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigConfigChanges, apmig_config_changes_free)

ApmigConfigWatch *apmig_config_watch_new(void);
/* @watch: (nullable) */
void apmig_config_watch_free(ApmigConfigWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigConfigWatch, apmig_config_watch_free)

/**
 * apmig_config_watch_begin: something begins during which the configuration has to stay; or its queues are others now
 * @id: of the lock or migration
 * @what: a clause that says during what: "under lock 0123abcd"
 * @expected: (nullable): see apmig_config_compare()
 *
 * Returns: whether it is new: then a reading is due, with which later ones are compared.
 */
gboolean apmig_config_watch_begin(ApmigConfigWatch *watch, const char *id, const char *what,
                                  ApmigScope *scope, const char *const *expected, gint64 at);

/* Returns: whether it had begun. Readings that were asked for until @at are still compared. */
gboolean apmig_config_watch_end(ApmigConfigWatch *watch, const char *id, gint64 at);

/**
 * apmig_config_watch_observe:
 * @host: as it was read
 * @asked_at: when the reading was asked for; not before that of the reading observed last
 *
 * Compares with the reading observed last, for what had begun before that one and has not ended before this one: what
 * was changed just before a lock was held, or just after its end, is nobody's concern. A reading that is not of one moment
 * is passed over: the next one is compared with the one before it.
 *
 * Returns: (transfer full) (nullable): NULL when nothing has changed; every change is told once.
 */
ApmigConfigChanges *apmig_config_watch_observe(ApmigConfigWatch *watch, const ApmigApHost *host,
                                               gint64 asked_at);
