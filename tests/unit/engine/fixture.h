/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of the engine tell it, and what they expect of it: a story of events, in which the test is the disk, the
 * hypervisor and the clock. The verbs are short, for the stories are made of them.
 */
#pragma once

#include "engine/engine.h"

/* The wall clock when the story's own is at 0. */
#define STORY_REALTIME G_GINT64_CONSTANT(1800000000000000)

typedef struct {
    ApmigEngine *engine;
    ApmigPolicy *policy;
    GPtrArray *actions; /* not yet looked at */
    gint64 now;
    gboolean workers_busy; /* heartbeats are left to the test; else they are answered at once */
} Story;

/* With the default policy, but without stamps: they have a test of their own. Nothing is loaded yet. */
void begin(Story *story);
/* @policy: (transfer full) */
void begin_with(Story *story, ApmigPolicy *policy);
void end(Story *story);

/* --- telling ------------------------------------------------------------------------------------- */

/* With the time that it is. */
void tell(Story *story, ApmigEvent event);
/* As in the daemon, with an event at each deadline and at the end. */
void pass(Story *story, gint64 usec);
/* The daemon, or its host, stands still for so long. */
void stand_still(Story *story, gint64 usec);

/* @lock, @admission: (nullable): all that was on disk */
void load(Story *story, ApmigLockRecord *lock, ApmigAdmission *admission);
/* Nothing was on disk, and the connection to the hypervisor is there. */
void open_view(Story *story);

/* A request of cora's for an AES rotation; @event: with what else is asked for in .take */
void take_lock(Story *story, const char *id, const char *scope_text, ApmigEvent event);

/* --- what the engine does ------------------------------------------------------------------------ */

/* Returns: (transfer full) (nullable): the oldest action of @type not yet looked at. */
ApmigAction *next(Story *story, ApmigActionType type);
/* @uuid: (nullable): about that guest */
ApmigAction *next_about(Story *story, ApmigActionType type, const char *uuid);
/* Returns: (transfer full) */
ApmigAction *expect(Story *story, ApmigActionType type);
void expect_none(Story *story, ApmigActionType type);

void expect_error(Story *story, ApmigCaller caller, ApmigError code, const char *part);
/* Entries of other kinds before it are passed over. */
void expect_log(Story *story, ApmigLog log, const char *part);
/* Returns: (transfer none): the lock, which must be there. */
const ApmigLock *find_lock(Story *story, const char *id);
void expect_state(Story *story, const char *id, const char *state);

/* --- answers ------------------------------------------------------------------------------------- */

/* Each answers the oldest question of its kind. Returns: FALSE: there is none. */

gboolean answer_list(Story *story, const ApmigGuestName *guests, guint n_guests);
/* @scope_text: (nullable): of the guest that was asked about; it is affected then. @event: with what else is known in
 * .answered: the facts are told if they were asked for, which of a guest that comes in or is gone they cannot be */
gboolean answer_query(Story *story, const char *scope_text, ApmigEvent event);
/* @uuid: (nullable): the oldest about that guest */
gboolean answer_query_about(Story *story, const char *uuid, const char *scope_text, ApmigEvent event);
/* Of a lock's record or its removal, with success. */
gboolean answer_write(Story *story);

/* The disk's answer to what must have been asked. @error: (nullable): NULL: success */
void written(Story *story, ApmigActionType type, const char *error);
