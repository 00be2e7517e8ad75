/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core's files share. core.c binds the engine to the store, the hypervisor, the log, listeners and callers;
 * core-keys.c to what is known of master keys, core-stamps.c to the stamps of guests. Main loop's thread only.
 */
#pragma once

#include "core.h"

#include "ap-monitor.h"
#include "fence-steps.h"
#include "stamp-queue.h"

/* Who waits for an answer: through the one function that is set. */
typedef struct {
    ApmigReplyFunc reply;
    ApmigAdmitFunc admit;
    ApmigDeclaredFunc declared;
    gpointer user_data;
} Caller;

struct ApmigCore {
    ApmigEngine *engine;
    ApmigStore *store;
    ApmigHypervisor *hypervisor;
    ApmigFencer *fencer;
    ApmigApMonitor *ap_monitor; /* NULL until started */
    ApmigKeyView *key_view;
    ApmigDeclarer *declarer;
    GHashTable *key_readings; /* core-keys.c: set of its KeyReading: under way */
    GHashTable *declarings;   /* the same of its Declaring */
    ApmigKeyGuard *key_guard;
    gint64 evidence_interval; /* the policy's, as the next */
    ApmigOnUnannounced on_unannounced;
    ApmigQueueLister *queue_lister;
    ApmigStampQueue *stamps;
    GQueue due_stamps;       /* core-stamps.c: of ApmigAction: to be written once the cards have answered */
    gboolean keys_are_read;  /* the cards are being asked for them */
    gint64 keys_fresh_until; /* monotonic: until then they are not asked again */
    char *host_id;           /* in stamps; NULL: it has none */
    ApmigCoreListener listener;
    gpointer listener_data;
    char *hooks_dir;
    gboolean has_hook;
    gint64 hook_last_called;
    ApmigCaller last_caller;
    GHashTable *callers; /* number -> Caller */
    GQueue replies;      /* of ApmigAction: answers not given yet */
    GSource *reply_source;
    GSource *deadline_source;
};

/* --- core.c -------------------------------------------------------------------------------------- */

/* Gives @event its times and the engine @event, and has carried out what follows. Callers get their answers later. */
void core_handle(ApmigCore *core, ApmigEvent *event);

/* Returns: its number; it is forgotten when it is answered or gone. */
ApmigCaller core_add_caller(ApmigCore *core, ApmigReplyFunc reply, ApmigAdmitFunc admit, gpointer user_data);

/* Returns: (transfer full): one that no lock has. */
char *core_new_lock_id(ApmigCore *core);

/* --- core-stamps.c ------------------------------------------------------------------------------- */

/* @action: (transfer full): an APMIG_ACTION_STAMP_GUEST */
void core_carry_out_stamp(ApmigCore *core, ApmigAction *action);
/* The connection is lost, and with it what was to be written. */
void core_stamps_lost(ApmigCore *core, const char *reason);

/* Has the cards asked, unless they were in the last evidence interval. */
void core_freshen_keys(ApmigCore *core);
/* Their keys may be others now. */
void core_forget_fresh_keys(ApmigCore *core);

/* --- core-keys.c --------------------------------------------------------------------------------- */

/* Creates the key guard: from now on, changes that nobody announced and words that turn out wrong are told of. */
void core_watch_keys(ApmigCore *core, const ApmigPolicy *policy);
/* What the policy says of keys. */
void core_heed_policy(ApmigCore *core, const ApmigPolicy *policy);

/* What was declared in earlier runs counts again. @damage: as of apmig_store_load_declared() */
void core_load_declared(ApmigCore *core, GPtrArray *damage);

/* @action: an APMIG_ACTION_READ_KEYS; the engine gets APMIG_EVENT_KEYS_READ later. */
void core_carry_out_reading(ApmigCore *core, const ApmigAction *action);

/* @id: of a lock that has changed, ended or not */
void core_heed_lock_end(ApmigCore *core, const char *id);

/* Has this host's crypto hardware read anew, for core_know_host(). */
void core_read_host(ApmigCore *core);

/* What this host knows of itself, to compare with what a guest brings and to tell of in stamps: the one place that says.
 * @ret_hardware: (out) (optional) (transfer none) (nullable) */
const ApmigEvidence *core_know_host(const ApmigCore *core, const ApmigApHost **ret_hardware);
