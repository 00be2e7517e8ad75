/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The steps that end a migration through the guest's device: each is carried out by apmigd-fence, the helper with
 * capabilities. Main loop's thread.
 */
#pragma once

#include "engine/engine.h"

typedef struct ApmigFencer ApmigFencer;

/* As APMIG_EVENT_STEP_FINISHED has it. */
typedef struct {
    guint64 op;
    ApmigStepOutcome outcome;
    const char *message;
    guint64 qemu;
    gboolean state_is_vain;
} ApmigFencerAnswer;

/* Not called from within apmig_fencer_run(). */
typedef void (*ApmigFencerFunc)(const ApmigFencerAnswer *answer, gpointer user_data);
/* The same of apmig_fencer_look(). @saving: whether the device is known to be being saved */
typedef void (*ApmigFencerLookFunc)(guint64 op, gboolean saving, gpointer user_data);

/* @socket_path: where systemd listens for the helper. */
ApmigFencer *apmig_fencer_new(const char *socket_path, ApmigFencerFunc func, ApmigFencerLookFunc look_func,
                              gpointer user_data);
/* No callback after it. */
void apmig_fencer_free(ApmigFencer *fencer);

/**
 * apmig_fencer_run:
 * @action: of type APMIG_ACTION_RUN_STEP with APMIG_STEP_VFIO_STATE or APMIG_STEP_KILL_INCOMING; copied
 *
 * The first step on a migration asks the helper which process the guest's QEMU is; the steps then name that process
 * by pid and start time, so that none is ever carried out on a later one. "kill-incoming" is no more than that question
 * unless the action names the process that was found: only whoever has asked libvirt since may do so.
 */
void apmig_fencer_run(ApmigFencer *fencer, const ApmigAction *action);

/**
 * apmig_fencer_look:
 * @action: of type APMIG_ACTION_LOOK_AT_GUEST; copied
 *
 * Asks the helper, which looks at /proc alone: neither QEMU nor the driver is asked, stopped or kept.
 */
void apmig_fencer_look(ApmigFencer *fencer, const ApmigAction *action);

/* What is remembered of a migration's QEMU is no longer needed. */
void apmig_fencer_forget(ApmigFencer *fencer, const char *migration_id);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFencer, apmig_fencer_free)
