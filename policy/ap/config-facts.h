/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a watch compares of the AP configuration, which has to stay under a lock that is in force and over a migration in
 * progress: which drivers a queue is for, which mediated device has it, whether it is configured, checkstopped or there
 * at all. A guest that starts or stops changes nothing here.
 *
 * The kernel never blocks such changes (Documentation/arch/s390/vfio-ap.rst of the series "s390/vfio-ap: Add live guest
 * migration support" v4), and has events for a part of them only (ap_send_*_uevent() in drivers/s390/crypto of Linux
 * 6.12).
 */
#pragma once

#include "ap/watch.h"

extern const ApmigWatchKind apmig_config_kind;

/* @host: as it was read. Returns: (transfer full): see apmig_facts_new(). */
GHashTable *apmig_config_facts(const ApmigApHost *host);
