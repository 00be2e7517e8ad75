/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Binds the engine to the world: hands it events with the time, and has its actions carried out by the store,
 * the hypervisor, the log and whoever listens (the bus). It decides nothing. Main loop's thread only.
 */
#pragma once

#include "ap/watch.h"
#include "core/declarer.h"
#include "engine/engine.h"
#include "core/guest-lister.h"
#include "guest/xml.h"
#include "libvirt/hypervisor.h"
#include "cards/key-view.h"
#include "core/queue-lister.h"
#include "base/requester.h"
#include "store/store.h"

typedef struct ApmigCore ApmigCore;

/* @id: the lock's; @error NULL: success. */
typedef void (*ApmigReplyFunc)(const char *id, const GError *error, gpointer user_data);
/* @device_map: (nullable): UUIDs of mediated devices in the guest's XML, and of those that are to take their place; NULL:
 * none is */
typedef void (*ApmigAdmitFunc)(gboolean allowed, const char *reason, GHashTable *device_map,
                               gpointer user_data);

/* What came of a reading that somebody asked for. */
typedef struct {
    gboolean ready;
    const char *reason;        /* why not; "" when ready */
    gint64 read_at;            /* realtime, usec: it is of after that */
    const GPtrArray *findings; /* (nullable) (element-type ApmigRehearsed): of a rehearsal */
} ApmigVerdict;

/* @verdict NULL: @error says why. */
typedef void (*ApmigVerdictFunc)(const ApmigVerdict *verdict, const GError *error, gpointer user_data);

/* @permit NULL: @error says why. */
typedef void (*ApmigPermitFunc)(const ApmigPermit *permit, const GError *error, gpointer user_data);

/* What a listener is told; it looks the object up by its id. */
typedef struct {
    void (*lock_changed)(const char *id,
                         gpointer user_data); /* new, changed, or just ended: then lock->result is set */
    void (*lock_forgotten)(const char *id, gpointer user_data);
    void (*migration_changed)(const char *id, gpointer user_data);
    void (*migration_forgotten)(const char *id, gpointer user_data);
    void (*view_changed)(gpointer user_data);
    void (*keys_changed)(const ApmigWatchChanges *changes, gpointer user_data);
    void (*policy_changed)(gpointer user_data); /* it, or its trouble */
    void (*config_changed)(const ApmigWatchChanges *changes, gpointer user_data);
    void (*permits_changed)(gpointer user_data);
} ApmigCoreListener;

typedef struct {
    ApmigScope *scope;
    const char *reason;
    const char *change_id;
    guint32 uid;
    const char *user;
    ApmigOnBusy on_busy;
    gint64 timeout_usec;
    gint64 expected_duration_usec;
    gboolean no_wait;
    gboolean allow_missing_hook;
    const ApmigRequester *requester; /* (nullable) */
} ApmigTakeRequest;

/* A change of a lock; of its members those count that belong to @what, see APMIG_EVENT_AMEND in engine.h. */
typedef struct {
    const char *id;
    ApmigAmendment what;
    guint32 uid;
    const char *user;
    guint32 owner_uid;
    const char *text;
    gboolean replace;
    gint64 duration_usec;
} ApmigAmendRequest;

typedef struct {
    const char *guest; /* name or UUID, of one that need not be known here */
    const char *reason;
    guint32 uid;
    gint64 login_uid; /* -1: not known */
    const char *user;
    gint64 duration_usec;
} ApmigPermitRequest;

/**
 * apmig_core_new:
 * @store: (transfer full)
 * @hypervisor: (transfer full)
 * @key_view: (transfer full)
 * @hooks_dir: libvirt's hooks folder, where our script must stand
 * @fence_socket: where systemd listens for apmigd-fence
 * @has_hook: whether the hypervisor is one that calls it, as far as is known before it is connected
 */
ApmigCore *apmig_core_new(const ApmigPolicy *policy, ApmigStore *store, ApmigHypervisor *hypervisor,
                          ApmigKeyView *key_view, const char *hooks_dir, const char *fence_socket,
                          gboolean has_hook);
void apmig_core_free(ApmigCore *core);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigCore, apmig_core_free)

/* Before the start: has metrics kept in a file, see metrics.h. */
void apmig_core_set_metrics_file(ApmigCore *core, const char *path);

void apmig_core_set_listener(ApmigCore *core, const ApmigCoreListener *listener, gpointer user_data);

/* Loads the store into the engine and starts the writer and the hypervisor. */
gboolean apmig_core_start(ApmigCore *core, GError **error);

/* Requests: @func is called once, later, never from within the call. The number returned is the caller's, for
 * apmig_core_caller_gone(), after which @func is not called any more. */
ApmigCaller apmig_core_take_lock(ApmigCore *core, const ApmigTakeRequest *request, ApmigReplyFunc func,
                                 gpointer user_data);
/* @warnings: (nullable): to what was declared before, see apmig_core_declare_keys() */
ApmigCaller apmig_core_release_lock(ApmigCore *core, const char *id, gboolean force, const char *warnings,
                                    ApmigReplyFunc func, gpointer user_data);
ApmigCaller apmig_core_amend_lock(ApmigCore *core, const ApmigAmendRequest *request, ApmigReplyFunc func,
                                  gpointer user_data);
/* @func: once the permit is durable */
ApmigCaller apmig_core_permit_migration(ApmigCore *core, const ApmigPermitRequest *request,
                                        ApmigPermitFunc func, gpointer user_data);
/* @guest: name or UUID; @func: once no hook would honour the permit any more */
ApmigCaller apmig_core_revoke_permit(ApmigCore *core, const char *guest, ApmigPermitFunc func,
                                     gpointer user_data);
/* Whether the keys of a lock may be changed now, by a reading that begins now. @limit_usec: of that */
ApmigCaller apmig_core_check_lock(ApmigCore *core, const char *id, gint64 limit_usec, ApmigVerdictFunc func,
                                  gpointer user_data);
/* What would be done if the lock were taken. */
ApmigCaller apmig_core_rehearse_lock(ApmigCore *core, const ApmigTakeRequest *request, ApmigVerdictFunc func,
                                     gpointer user_data);
/* What is declared stays so, also when the caller is gone or the release that was to follow fails. */
ApmigCaller apmig_core_declare_keys(ApmigCore *core, const ApmigDeclarationRequest *request,
                                    ApmigDeclaredFunc func, gpointer user_data);
/* @guest: (transfer full): as its XML says. What this host has is read before, if that was not so a moment ago, for a second
 * at most. */
ApmigCaller apmig_core_admit(ApmigCore *core, ApmigGuest *guest, gboolean restore, ApmigAdmitFunc func,
                             gpointer user_data);
void apmig_core_caller_gone(ApmigCore *core, ApmigCaller caller);

/* Facts of a guest, by name or UUID, from the hypervisor. */
void apmig_core_look_up_facts(ApmigCore *core, const char *guest, ApmigGuestFactsFunc func,
                              gpointer user_data);

/* Takes away the stamps of a guest, by name or UUID, or with "" of all active ones, until there is a cause to write them
 * again. @func is called once, later. */
void apmig_core_remove_stamps(ApmigCore *core, const char *guest, ApmigStampsRemovedFunc func,
                              gpointer user_data);

/**
 * apmig_core_describe_guest: what the destination of a guest would be asked with, were it to leave now
 * @guest: name or UUID
 * @func: called once, later, unless the core is freed before
 *
 * The stamp in there is made for this, of what the cards say now (see apmig_core_read_keys()), whatever the policy has
 * written; the guest's own stays as it is.
 */
void apmig_core_describe_guest(ApmigCore *core, const char *guest, ApmigGuestDescribedFunc func,
                               gpointer user_data);

/* @check NULL: @error says why (APMIG_ERROR_TIMEOUT). Both are borrowed. */
typedef void (*ApmigArrivalCheckFunc)(const ApmigArrivalCheck *check, const GError *error, gpointer user_data);

/**
 * apmig_core_check_arrival: the dry run of apmig_core_admit() for a migration, with this host's crypto hardware read anew
 * @guest: (transfer full)
 * @func: called once, perhaps from within the call, unless the core is freed before
 */
void apmig_core_check_arrival(ApmigCore *core, ApmigGuest *guest, ApmigArrivalCheckFunc func,
                              gpointer user_data);

/* Returns: (transfer full) (nullable): why the hook would not be called, as a clause; NULL: it would, or this hypervisor
 * has none. */
char *apmig_core_describe_hook_problem(const ApmigCore *core);

/* The active guests that are affected, and their queues; NULL: the hypervisor does not answer. @func: called once, later,
 * unless the core is freed before. */
void apmig_core_list_guests(ApmigCore *core, ApmigGuestDevicesFunc func, gpointer user_data);

/* What this host has of crypto hardware, and which guests use it. @func: called once, later, unless the core is freed
 * before. */
void apmig_core_list_queues(ApmigCore *core, ApmigQueuesFunc func, gpointer user_data);

/**
 * apmig_core_read_keys: what is known of the keys of the queues in @scope, see apmig_key_view_read()
 * @fresh: the cards are asked, unless they were a moment ago; else only when that was longer ago than the policy says
 */
void apmig_core_read_keys(ApmigCore *core, const ApmigScope *scope, gboolean fresh, ApmigKeyViewFunc func,
                          gpointer user_data);
/* Returns: (transfer full): a sentence on what is odd about the keys as they are known now; "" when nothing is. */
char *apmig_core_describe_key_trouble(const ApmigCore *core);

/* For reading: see engine.h. */
const ApmigEngine *apmig_core_engine(const ApmigCore *core);

/* The policy of the files; what was wrong with them before is over. */
void apmig_core_set_policy(ApmigCore *core, const ApmigPolicy *policy);
/* @trouble: why the policy of the files is not taken, and the old one stays in force */
void apmig_core_set_policy_trouble(ApmigCore *core, const char *trouble);
/* Returns: (transfer none): a sentence; "" when the policy in force is that of the files as they were read last. */
const char *apmig_core_policy_trouble(const ApmigCore *core);

/* Whether the script stands where libvirt looks and is executable. @ret_problem: (out) (optional) (transfer
 * full): a clause with the path and what is wrong with it, when it is not. */
gboolean apmig_core_hook_installed(const ApmigCore *core, char **ret_problem);
/* Realtime, usec, of the last AdmitMigration; 0: never since the start of the daemon. */
gint64 apmig_core_hook_last_called(const ApmigCore *core);

/* Whether the parts that the watchdog vouches for are alive: the writer thread. (The main loop vouches for
 * itself by calling this.) */
gboolean apmig_core_is_alive(ApmigCore *core);
