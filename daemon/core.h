/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Binds the engine to the world: hands it events with the time, and has its actions carried out by the store,
 * the hypervisor, the log and whoever listens (the bus). It decides nothing. Main loop's thread only.
 */
#pragma once

#include "config-watch.h"
#include "declarer.h"
#include "engine.h"
#include "hypervisor.h"
#include "key-guard.h"
#include "key-view.h"
#include "queue-lister.h"
#include "store.h"

typedef struct ApmigCore ApmigCore;

/* @id: the lock's; @error NULL: success. */
typedef void (*ApmigReplyFunc)(const char *id, const GError *error, gpointer user_data);
typedef void (*ApmigAdmitFunc)(gboolean allowed, const char *reason, gpointer user_data);

/* What a listener is told; it looks the object up by its id. */
typedef struct {
    void (*lock_changed)(const char *id,
                         gpointer user_data); /* new, changed, or just ended: then lock->result is set */
    void (*lock_forgotten)(const char *id, gpointer user_data);
    void (*migration_changed)(const char *id, gpointer user_data);
    void (*migration_forgotten)(const char *id, gpointer user_data);
    void (*view_changed)(gpointer user_data);
    void (*keys_changed)(const ApmigKeyChanges *changes, gpointer user_data);
    void (*config_changed)(const ApmigConfigChanges *changes, gpointer user_data);
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
} ApmigTakeRequest;

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
/* What is declared stays so, also when the caller is gone or the release that was to follow fails. */
ApmigCaller apmig_core_declare_keys(ApmigCore *core, const ApmigDeclarationRequest *request,
                                    ApmigDeclaredFunc func, gpointer user_data);
/* @guest: as its XML says; borrowed for the call. */
ApmigCaller apmig_core_admit(ApmigCore *core, const ApmigGuest *guest, gboolean restore, ApmigAdmitFunc func,
                             gpointer user_data);
void apmig_core_caller_gone(ApmigCore *core, ApmigCaller caller);

/* Facts of a guest, by name or UUID, from the hypervisor. */
void apmig_core_look_up_facts(ApmigCore *core, const char *guest, ApmigGuestFactsFunc func,
                              gpointer user_data);

/* Takes away the stamps of a guest, by name or UUID, or with "" of all active ones, until there is a cause to write them
 * again. @func is called once, later. */
void apmig_core_remove_stamps(ApmigCore *core, const char *guest, ApmigStampsRemovedFunc func,
                              gpointer user_data);

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

void apmig_core_set_policy(ApmigCore *core, const ApmigPolicy *policy);

/* Whether the script stands where libvirt looks and is executable. @ret_problem: (out) (optional) (transfer
 * full): a clause with the path and what is wrong with it, when it is not. */
gboolean apmig_core_hook_installed(const ApmigCore *core, char **ret_problem);
/* Realtime, usec, of the last AdmitMigration; 0: never since the start of the daemon. */
gint64 apmig_core_hook_last_called(const ApmigCore *core);

/* Whether the parts that the watchdog vouches for are alive: the writer thread. (The main loop vouches for
 * itself by calling this.) */
gboolean apmig_core_is_alive(ApmigCore *core);
