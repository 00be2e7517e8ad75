/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One request from the proof to the act. Ends with nothing frozen and no duplicate open, but for a process that the
 * kernel keeps (driver.h).
 *
 * QEMU is frozen to be killed alone, by a process that asks no driver anything, so that nothing it does can sleep in the
 * kernel for long. It ends after %APMIG_FREEZE_LIMIT_USEC at the latest, by itself or killed by this one; and the kernel
 * lets QEMU run on when it ends.
 */
#pragma once

#include "fence/process.h"

#define APMIG_FREEZE_LIMIT_USEC (100 * 1000)

/* @reply: initialized; gets the outcome. */
void apmig_fence_carry_out(const ApmigFenceRequest *request, const ApmigFencePaths *paths,
                           ApmigFenceReply *reply);
