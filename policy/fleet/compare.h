/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Master keys across the hosts of a fleet. A guest finds the same AP queues at its destination, and so one queue (APQN),
 * key class and register that is known on two hosts has to show the same pattern on both; and the adapters of one domain,
 * which a guest takes for one, the same key on each host. What is not known is named, and agrees with nothing.
 *
 * Patterns are evidence of keys, not proof; there is none of the SYM (DES) master key of CCA.
 */
#pragma once

#include "fleet/answer.h"

typedef enum {
    APMIG_FLEET_KEY_UNKNOWN = 0, /* on every host that has the queue */
    APMIG_FLEET_KEY_IN_PART,     /* known on some hosts, and in step there */
    APMIG_FLEET_KEY_IN_STEP,     /* on every host that has the queue */
    APMIG_FLEET_KEY_UNFINISHED,  /* NEW has been loaded, and is not set */
    APMIG_FLEET_KEY_DIFFERS,
} ApmigFleetKeyStanding;

/* What a register shows, and where. */
typedef struct {
    char *
        value; /* a pattern; "none" where it is known that there is no key; of NEW with its state before it */
    GPtrArray *hosts; /* of char *: names, as the document has them */
} ApmigFleetKeyValue;

/* Of one register. There is one of every CUR; of NEW and OLD where they are unfinished or differ; and one more of CUR where
 * two adapters of a host have different keys. */
typedef struct {
    guint adapter, domain;
    ApmigKeyClass key_class;
    ApmigRegister reg;
    ApmigFleetKeyStanding standing;
    GPtrArray *values;  /* of ApmigFleetKeyValue: the one of most hosts first */
    GPtrArray *unknown; /* of char *: names of hosts that have the queue, and do not know this */
    char *clause;       /* queue, values and hosts, to stand in a sentence */
} ApmigFleetKeyFinding;

/* "unknown", "in-part", "in-step", "unfinished", "differs". */
const char *apmig_fleet_key_standing_to_string(ApmigFleetKeyStanding standing);

/**
 * apmig_fleet_compare_keys:
 * @document: who the hosts are
 * @scope: of which queues; an adapter of the same domain is looked at for the sake of one of them
 * @keys: (element-type ApmigFleetKeys): what hosts have told, at most once each; who is no member, and who gave no
 *   answer, is passed over
 *
 * Returns: (transfer full) (element-type ApmigFleetKeyFinding): by queue, class and register.
 */
GPtrArray *apmig_fleet_compare_keys(const ApmigFleetDocument *document, const ApmigScope *scope,
                                    const GPtrArray *keys);
