/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core's files share. core.c binds the engine to the store, the hypervisor, the log and listeners, callers.c to who
 * asks and waits; keys.c to what is known of master keys, arrival.c to guests that come in, watch.c to changes of the host,
 * stamps.c to the stamps of guests; check.c asks it before a guest moves. Main loop's thread only.
 */
#pragma once

#include "core/core.h"

#include "cards/ap-monitor.h"
#include "core/fence-steps.h"
#include "libvirt/stamp-queue.h"

/* A function of whatever type of core.h: to be cast back by who answers. */
typedef void (*AnswerFunc)(void);

/* Who waits for an answer, under his number. */
typedef struct {
    ApmigCore *core;
    ApmigCaller number;
    AnswerFunc func; /* NULL: he is gone */
    gpointer user_data;
    gboolean is_question; /* not of the engine: its answer comes in any case */
} Caller;

typedef struct CoreWatch CoreWatch;

struct ApmigCore {
    ApmigEngine *engine;
    ApmigStore *store;
    ApmigHypervisor *hypervisor;
    ApmigFencer *fencer;
    ApmigApMonitor *ap_monitor; /* NULL until started */
    ApmigKeyView *key_view;
    ApmigDeclarer *declarer;
    GHashTable *key_readings; /* keys.c: set of its KeyReading: under way */
    GHashTable *checkings;    /* check.c: set of its Checking: under way */
    CoreWatch *watch;         /* watch.c */
    gint64 evidence_interval; /* the policy's, as the next */
    ApmigOnRelease on_release;
    ApmigQueueLister *queue_lister;
    ApmigRemap remap_devices;
    GPtrArray *arrivals;      /* arrival.c: of its Arrival: those that wait for the reading under way */
    gint64 arrivals_asked_at; /* boot time: when that began */
    ApmigGuestLister *guest_lister;
    ApmigStampQueue *stamps;
    GQueue due_stamps;       /* stamps.c: of ApmigAction: to be written once the cards have answered */
    gboolean keys_are_read;  /* the cards are being asked for them */
    gint64 keys_fresh_until; /* monotonic: until then they are not asked again */
    GHashTable *uncovered;   /* coverage.c: set of ids: of locks that are known to cover nothing here */
    ApmigHostIdentity *identity;
    char *stamp_trouble;  /* see apmig_core_stamp_trouble() */
    gboolean is_started;  /* what is loaded after that is late */
    GError *load_error;   /* why nothing was loaded; NULL: it was, or not yet */
    char *policy_trouble; /* see apmig_core_policy_trouble() */
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

/* --- callers.c ----------------------------------------------------------------------------------- */

/* Returns: his number; he is forgotten when he is answered or gone. */
ApmigCaller core_add_caller(ApmigCore *core, ApmigReplyFunc func, gpointer user_data);
/* @func: of the type that the question has. Returns: (transfer none): until core_end_question(), which its answer calls */
Caller *core_add_question(ApmigCore *core, AnswerFunc func, gpointer user_data);
void core_end_question(Caller *caller);
/* Whether he still waits. */
gboolean core_has_caller(const ApmigCore *core, ApmigCaller number);
/* @reply: (transfer full): an APMIG_ACTION_REPLY_*; given later, so that nobody gets his answer from within his own call */
void core_reply(ApmigCore *core, ApmigAction *reply);

/* --- stamps.c ------------------------------------------------------------------------------------ */

/* @action: (transfer full): an APMIG_ACTION_STAMP_GUEST */
void core_carry_out_stamp(ApmigCore *core, ApmigAction *action);
/* The connection is lost, and with it what was to be written. */
void core_stamps_lost(ApmigCore *core, const char *reason);

/* Has the cards asked, unless they were in the last evidence interval. */
void core_refresh_keys(ApmigCore *core);
/* Their keys may be others now. */
void core_forget_fresh_keys(ApmigCore *core);

/* --- check.c ------------------------------------------------------------------------------------- */

void core_checks_init(ApmigCore *core);

/* --- arrival.c ----------------------------------------------------------------------------------- */

/* What @guest brings, and what this host knows to compare it with; borrowed from both. Which devices are in use is not
 * among it. */
ApmigArrival core_describe_arrival(const ApmigCore *core, const ApmigGuest *guest);
/* @guests: (nullable) (element-type ApmigGuestDevices). Returns: (transfer container) (nullable): the UUIDs of all their
 * devices, ended by NULL; borrowed from @guests. */
GPtrArray *core_list_devices(const GPtrArray *guests);
/* From now on guests can come in. */
void core_expect_arrivals(ApmigCore *core);

/* --- keys.c -------------------------------------------------------------------------------------- */

/* From now on words that turn out wrong are told of. */
void core_keys_begin(ApmigCore *core, const ApmigPolicy *policy);
/* What the policy says of keys. */
void core_keys_policy(ApmigCore *core, const ApmigPolicy *policy);

/* What was declared in earlier runs counts again, and more can be declared. @declared: of ApmigEvidenceRecord */
void core_add_declared(ApmigCore *core, const GPtrArray *declared);

/* @action: an APMIG_ACTION_READ_KEYS; the engine gets APMIG_EVENT_KEYS_READ later. */
void core_carry_out_reading(ApmigCore *core, const ApmigAction *action);

/* @action: an APMIG_ACTION_READ_USES; the engine gets APMIG_EVENT_USES_READ later. */
void core_read_uses(ApmigCore *core, const ApmigAction *action);
/* Has the engine know whether there is a driver for guests' queues. */
void core_tell_hardware(ApmigCore *core);

/* As ApmigHypervisorCallbacks has it. */
void core_other_keys(const ApmigOtherKeys *other, gpointer core);

/* Has this host's crypto hardware read anew, for core_host_facts(). */
void core_read_host(ApmigCore *core);

/* What this host knows of itself, to compare with what a guest brings and to tell of in stamps: the one place that says.
 * @ret_hardware: (out) (optional) (transfer none) (nullable) */
const ApmigEvidence *core_host_facts(const ApmigCore *core, const ApmigApHost **ret_hardware);

/* --- coverage.c ---------------------------------------------------------------------------------- */

/* Tells the journal, once, when nothing of this host is covered. @lock: in force */
void core_tell_coverage(ApmigCore *core, const ApmigLock *lock);
/* @id: of a lock that has ended */
void core_forget_coverage(ApmigCore *core, const char *id);

/* --- watch.c ------------------------------------------------------------------------------------- */

/* From now on the host's hardware is watched, and its keys where @policy has it. */
void core_watch_begin(ApmigCore *core, const ApmigPolicy *policy);
void core_watch_end(ApmigCore *core);
/* What the policy says of it. */
void core_watch_policy(ApmigCore *core, const ApmigPolicy *policy);
/* What may not change depends on these. @id: of a lock or migration that is new or has changed, ended or not */
void core_watch_lock(ApmigCore *core, const char *id);
void core_watch_migration(ApmigCore *core, const char *id);
/* A release is asked for that has nothing read by itself. */
void core_watch_release(ApmigCore *core, const char *id);
