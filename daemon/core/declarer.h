/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way of a declaration of master keys: held against this host's queues, made durable, and then known. One at a
 * time, so that no write to the disk lacks what another has just said. Main loop's thread only; nothing blocks.
 */
#pragma once

#include "keys/declaration.h"
#include "cards/key-view.h"
#include "store/store.h"

typedef struct ApmigDeclarer ApmigDeclarer;

typedef struct {
    GPtrArray *declarations; /* of ApmigDeclaration: all that one user says at once */
    ApmigEvidenceClass evidence;
    ApmigScope *within; /* (nullable): of the lock that they are made for */
    guint32 uid;
    const char *user;
    const char *lock_id;   /* (nullable): the lock's */
    const char *change_id; /* (nullable): for the journal */
} ApmigDeclarationRequest;

/* @warnings: (element-type utf8): sentences; with @error NULL. APMIG_ERROR_INVALID_OPTION: no queue or not the lock's,
 * or a contradiction; APMIG_ERROR_STATE_FAILURE: nothing was declared, or that is not known, as it says: the disk has not
 * answered. */
typedef void (*ApmigDeclaredFunc)(const GPtrArray *warnings, const GError *error, gpointer user_data);

/* @store, @view: borrowed, to outlive it */
ApmigDeclarer *apmig_declarer_new(ApmigStore *store, ApmigKeyView *view);
/* @declarer: (nullable): what is under way may be durable or not; no answer comes */
void apmig_declarer_free(ApmigDeclarer *declarer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigDeclarer, apmig_declarer_free)

/* What was declared before is known now; without it nothing can be written beside it. */
void apmig_declarer_open(ApmigDeclarer *declarer);

/* @request: copied. @func: called once, later, never from within the call. */
void apmig_declarer_declare(ApmigDeclarer *declarer, const ApmigDeclarationRequest *request,
                            ApmigDeclaredFunc func, gpointer user_data);

/* What the store answered to what the declarer had it write. */
void apmig_declarer_persisted(ApmigDeclarer *declarer, guint64 op, const char *error);
