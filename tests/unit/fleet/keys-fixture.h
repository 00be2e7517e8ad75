/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What hosts tell of their keys, in few words. */
#pragma once

#include "fleet/fixture.h"

#define K1 "0x00000000000000a1"
#define K2 "0x00000000000000a2"
#define K3 "0x00000000000000a3"

/* Returns: (transfer full): an answer of kvmN at FLEET_REVISION, without keys. */
ApmigFleetKeys *fleet_keys_new(guint n);

/* What the card said of @key_class, for each register as the file mkvps has it, such as "full 0x..."; %NULL: unknown. */
ApmigEvidenceRecord *fleet_keys_add(ApmigFleetKeys *keys, guint adapter, guint domain,
                                    ApmigKeyClass key_class, const char *new_text, const char *cur,
                                    const char *old);
/* A queue that the host has, and knows nothing of. */
void fleet_keys_add_unknown(ApmigFleetKeys *keys, guint adapter, guint domain, ApmigKeyClass key_class);
/* AES with nothing loaded, and @cur. */
void fleet_keys_add_aes(ApmigFleetKeys *keys, guint adapter, guint domain, const char *cur);
