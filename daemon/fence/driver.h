/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking the driver of a device, and changing its state: all that makes an ioctl(). vfio_ap has one lock for all of its
 * devices, which it may keep for long, and for which whoever asks it waits in a state in which no signal ends it. So each
 * time a process of its own asks, which traces nobody, and of which there is one for a device until it is gone.
 *
 * The state is changed while QEMU runs, so that what it was changed for may no longer be so a moment later. Whether the
 * session lasted until after the change tells: if not, a STOP is taken back, for it may have hit the device of a guest
 * that runs; so whoever changes it is not killed, however long that takes. (Setting RUNNING brings no session back; QEMU sets it itself when it starts a guest.)
 */
#pragma once

#include "fence/device.h"

#define APMIG_DRIVER_LIMIT_USEC (1000 * 1000)

/**
 * apmig_driver_ask:
 * @reply: gets the driver and the device's state; then what came of a "fence", and otherwise nothing more. On failure
 *   %APMIG_FENCE_REFUSED or %APMIG_FENCE_FAILED and a sentence
 *
 * With the verb "fence" the state is changed where decide.h says so.
 *
 * Returns: whether the driver has answered.
 */
gboolean apmig_driver_ask(const ApmigFenceRequest *request, const ApmigFencePaths *paths,
                          const ApmigProcess *process, const ApmigDevice *device,
                          ApmigFenceReply *reply) G_GNUC_WARN_UNUSED_RESULT;
