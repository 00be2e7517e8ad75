/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The queues of a guest that is active on this host.
 */
#pragma once

#include "cards/sysfs.h"
#include "guest/xml.h"

/**
 * apmig_guest_read_queues:
 * @guest: an active one of this host, as its XML was parsed or as this was called before; its scope is set anew
 * @sysfs: where its devices are read
 *
 * The scope becomes the queues of its vfio-ap devices, whatever model libvirt has them under, and what it declares; all
 * when the queues of one of model vfio-ap cannot be read. Its scope varies as long as it has such a device.
 *
 * Not for a guest that is to come in: the configuration of its device here is replaced by that of its source when the
 * device's state is loaded (vfio-ap's migration), so what this host's sysfs says proves nothing.
 *
 * Blocks; for worker threads (see ap-sysfs.h).
 */
void apmig_guest_read_queues(ApmigGuest *guest, ApmigSysfs *sysfs);
