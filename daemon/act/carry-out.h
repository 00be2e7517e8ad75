/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd-act does, and what it makes sure of before, each time anew and by itself: of what whoever asks believes
 * nothing counts but which guest is meant, when it was asked for, and until when it may be begun.
 */
#pragma once

#include "act/protocol.h"
#include "libvirt/connection.h"

/* A request, and what came of it. */
typedef struct {
    ApmigActRequest request;
    char *stamp; /* (nullable) */
    char *guest; /* (nullable): the guest's name, as libvirt has it; NULL: not known */
    ApmigActReply reply;
} ApmigActTask;

/* @request: a checked one. @stamp: (transfer full) (nullable). Returns: (transfer full) */
ApmigActTask *apmig_act_task_new(const ApmigActRequest *request, char *stamp);
/* @task: (nullable) */
void apmig_act_task_free(ApmigActTask *task);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigActTask, apmig_act_task_free)

/**
 * apmig_act_carry_out:
 * @connection: with full access, of this thread; blocks, some calls for 30 s and more
 * @task: its reply is set
 *
 * An abort needs a guest that is affected by its own XML, whose job is an outgoing migration, not in post-copy, which did
 * not surely begin after the request. libvirt tells for how long a job has been there, from its Begin phase on, in whole
 * milliseconds of the clock that people set (qemuDomainJobDataUpdateTime(); virDomainObjBeginAsyncJob() notes the
 * beginning once it has the job): where that clock was set back in between, the job counts as new. virDomainAbortJob()
 * would also kill a save, a dump, a snapshot or a backup; one that takes the migration's place between the two calls cannot
 * be told. %APMIG_ACT_DONE proves nothing: a migration whose transfer is complete goes on although libvirt said yes.
 *
 * A stamp is written to a guest that is affected by its own XML, and taken away from any that has one; into the live
 * metadata alone, for what a host says of a guest is not true elsewhere, nor after its next start. It has to be just what
 * apmigd writes: see apmig_stamp_from_xml(). The job is looked at right before: virDomainSetMetadata() waits 30 s for the
 * end of a migration, and then fails. One that begins between the two calls cannot be told.
 */
void apmig_act_carry_out(ApmigLibvirtConnection *connection, ApmigActTask *task);
