/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stamps are written one at a time: libvirt answers a write within milliseconds, but one to a guest whose migration begins
 * at that moment after 30 s. So at most one call of libvirt's clients and one of its workers waits for that. Main loop's
 * thread only.
 */
#pragma once

#include "libvirt/hypervisor.h"

typedef struct ApmigStampQueue ApmigStampQueue;

/* @hypervisor: must outlive the queue */
ApmigStampQueue *apmig_stamp_queue_new(ApmigHypervisor *hypervisor);
/* What has not been answered is not any more. @queue: (nullable) */
void apmig_stamp_queue_free(ApmigStampQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStampQueue, apmig_stamp_queue_free)

/* Ends in the hypervisor's stamp_finished(), or in apmig_stamp_queue_lost(). @order: (transfer full) */
void apmig_stamp_queue_write(ApmigStampQueue *queue, guint64 op, const char *uuid, ApmigStampOrder *order);

/* @guest: name or UUID; "": all active ones. @func is called once, later. */
void apmig_stamp_queue_remove(ApmigStampQueue *queue, const char *guest, ApmigStampsRemovedFunc func,
                              gpointer user_data);

/* The hypervisor has finished what it was given. */
void apmig_stamp_queue_next(ApmigStampQueue *queue);
/* The hypervisor will not finish it: everything ends. @reason: a clause */
void apmig_stamp_queue_lost(ApmigStampQueue *queue, const char *reason);
