/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of master keys that nobody announced: what one reading of the cards says beyond the one before it, of queues
 * without a lock over them. A NEW register that has begun to be loaded, and a CUR that is another key.
 *
 * Not thread-safe: one thread owns a watch.
 */
#pragma once

#include "keys/release-check.h"

typedef struct ApmigKeyWatch ApmigKeyWatch;

/* What was found, all of one reading. */
typedef struct {
    ApmigScope *queues; /* that have changed */
    ApmigScope *group;  /* every adapter of their domains, which a guest takes for one */
    char *message;      /* a sentence that names the first few */
} ApmigKeyChanges;

ApmigKeyWatch *apmig_key_watch_new(void);
/* @watch: (nullable) */
void apmig_key_watch_free(ApmigKeyWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigKeyWatch, apmig_key_watch_free)

/**
 * apmig_key_watch_observe:
 * @readings: (element-type ApmigKeyReading): of the queues that could be read
 * @covered: the queues of all locks there are: changes of these are announced
 *
 * A register that is not known is no change; nor is the CUR that is read first. A NEW that is loaded then is.
 *
 * Returns: (transfer full) (nullable): NULL when nothing has changed; every change is told once.
 */
ApmigKeyChanges *apmig_key_watch_observe(ApmigKeyWatch *watch, const GPtrArray *readings,
                                         const ApmigScope *covered);

/* A lock over them has ended: what their CUR is now was announced. */
void apmig_key_watch_forget(ApmigKeyWatch *watch, const ApmigScope *scope);

/* @changes: (nullable) */
void apmig_key_changes_free(ApmigKeyChanges *changes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigKeyChanges, apmig_key_changes_free)
