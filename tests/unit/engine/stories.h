/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine, case by case: each test is one rule of a lock's or a migration's life, told as the events that lead to it.
 * The simulation looks for what these stories do not think of. Here is what several begin with: cora's lock aaaaaaaa, the
 * guests g1 and g2, and one of them on its way in.
 */
#pragma once

#include "engine/fixture.h"

#define G1 "11111111-1111-4111-8111-111111111111"
#define G2 "22222222-2222-4222-8222-222222222222"

void take(Story *story, ApmigCaller caller, const char *id, const char *scope, ApmigOnBusy on_busy,
          gboolean no_wait);
void release(Story *story, ApmigCaller caller, const char *id, gboolean force);

/* The guests that are asked for: none, g1, or both. */
void listed(Story *story, guint n_guests);
/* The guest that was asked about. @scope: (nullable): NULL: it is unaffected, or that is not told */
void answered(Story *story, ApmigJob job, const char *scope);

/* Every question there is, and that follows: g1 is of 04.0012 and has @job; GONE: it is not there. What is to be written is. */
void answer_all(Story *story, ApmigJob job);
/* The same, at least once a second. */
void live(Story *story, gint64 usec, ApmigJob job);
/* libvirt tells of g1. */
void news(Story *story, ApmigNews what);

/* Guest g1 by its name, with @uuid. @scope_text: (nullable): NULL: it is unaffected */
void admit(Story *story, ApmigCaller caller, const char *uuid, const char *scope_text, gboolean restore);
/* Whoever was answered as @caller has gone. */
void hook_ends(Story *story, ApmigCaller caller);
void expect_admit(Story *story, gboolean allowed, const char *needle);

/* A lock that is durable and waits to be held, with the hypervisor in view. */
void drain(Story *story, const char *scope, ApmigOnBusy on_busy);
/* A lock of @scope that is held, with guest g1 of scope 04.0012 active and idle. */
void hold(Story *story, const char *scope);
/* The guest of an admission, seen coming in; the lock with its token is durable and waits. */
void come_in(Story *story, const char *lock_scope);

/* Of a lock of everything, dddddddd. Returns: (transfer full) */
ApmigLockRecord *record_on_disk(ApmigLockOrigin origin, gint64 held_at);
