/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking things up in the description of a host's crypto hardware.
 */
#pragma once

#include "ap/ap.h"

/* Returns: (transfer none) (nullable) */
const ApmigApCard *apmig_ap_find_card(const ApmigApHost *host, guint adapter);
/* Returns: (transfer none) (nullable) */
const ApmigApQueue *apmig_ap_find_queue(const ApmigApHost *host, guint adapter, guint domain);
/* @uuid: lower case. Returns: (transfer none) (nullable) */
const ApmigApDevice *apmig_ap_find_device(const ApmigApHost *host, const char *uuid);

/* Returns: the mode of an adapter, by its functions, of which exactly one of the bits 3, 4 and 5 is set (card_probe() in
 * drivers/s390/crypto/zcrypt_cex4.c of Linux 6.12), or by the last letter of its type, as in "CEX8C". */
ApmigApMode apmig_ap_find_mode(const ApmigApHost *host, guint adapter);
/* "CCA", "EP11", "accelerator", "unknown". */
const char *apmig_ap_mode_to_string(ApmigApMode mode);

/* Returns: whether the queue is kept for the host's own drivers: by its driver_override, and without one by apmask and
 * aqmask. */
ApmigKnown apmig_ap_is_reserved(const ApmigApHost *host, const ApmigApQueue *queue);
/* Returns: whether any queue has a driver_override, in which case the kernel lets nobody change apmask and aqmask. */
gboolean apmig_ap_has_driver_override(const ApmigApHost *host);
