/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a watch compares of master keys, where no lock announces that they change: a NEW register that has begun to be
 * loaded, and a CUR that is another key. The CUR that is read first is no change; a NEW that is loaded then is.
 */
#pragma once

#include "ap/watch.h"
#include "keys/release-check.h"

extern const ApmigWatchKind apmig_key_kind;

/* @readings: (element-type ApmigKeyReading): of the queues that could be read. Returns: (transfer full): see
 * apmig_facts_new(). */
GHashTable *apmig_key_facts(const GPtrArray *readings);

/* A lock over @scope has ended: what the CUR of its queues are now was announced. */
void apmig_key_facts_forget(ApmigWatch *watch, const ApmigScope *scope);

/* Returns: (transfer full): every adapter of the domains of @queues, which a guest takes for one. */
ApmigScope *apmig_key_group(const ApmigScope *queues);
