/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One request from the proof to the act. Ends with nothing frozen and no duplicate open; only the SET_STATE itself
 * can block (as long as the driver does), and while it does QEMU stays frozen: it must not land later, on a device
 * that has moved on. A driver that is blocked already shows in the look before the freeze.
 */
#pragma once

#include "fence/process.h"

#define APMIG_FREEZE_LIMIT_USEC (100 * 1000)

/* @reply: initialized; gets the outcome. */
void apmig_fence_carry_out(const ApmigFenceRequest *request, const ApmigFencePaths *paths,
                           ApmigFenceReply *reply);
