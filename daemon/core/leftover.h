/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mediated devices of guests that come in: what each has is kept from the first reading of the host in the migration, and
 * compared with what it has when that has failed and the guest is gone. What is left is logged once, and remembered until a
 * reading finds the device as it was, or gone. Main loop's thread.
 */
#pragma once

#include "ap/ap.h"
#include "engine/migration.h"

typedef struct ApmigLeftovers ApmigLeftovers;

ApmigLeftovers *apmig_leftovers_new(void);
/* @leftovers: (nullable) */
void apmig_leftovers_free(ApmigLeftovers *leftovers);

/**
 * apmig_leftovers_follow: @migration is new, has changed or just ended
 * @host: (nullable): the host as it was read just before; NULL: it was not
 *
 * Returns: whether a reading of the host is due, which begins from now on.
 */
gboolean apmig_leftovers_follow(ApmigLeftovers *leftovers, const ApmigMigration *migration,
                                const ApmigApHost *host);

/* @began_at: monotonic: of the reading */
void apmig_leftovers_read(ApmigLeftovers *leftovers, const ApmigApHost *host, gint64 began_at);

/* Returns: (transfer full): sentences; "" when nothing is left. */
char *apmig_leftovers_describe(const ApmigLeftovers *leftovers);
