/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Binds the engine to the world: hands it events with the time, and has its actions carried out by the store,
 * the hypervisor, the log and whoever listens (the bus). It decides nothing. Main loop's thread only.
 */
#pragma once

#include "ap/watch.h"
#include "base/host-identity.h"
#include "core/declarer.h"
#include "engine/engine.h"
#include "core/guest-lister.h"
#include "guest/xml.h"
#include "libvirt/hypervisor.h"
#include "cards/key-view.h"
#include "core/queue-lister.h"
#include "store/store.h"

typedef struct ApmigCore ApmigCore;

/* What came of a request: an APMIG_ACTION_REPLY_*, of the kind that was asked for or an error: see apmig_reply_get_error().
 * Borrowed. */
typedef void (*ApmigReplyFunc)(const ApmigAction *reply, gpointer user_data);

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

/**
 * apmig_core_new:
 * @store: (transfer full)
 * @hypervisor: (transfer full)
 * @key_view: (transfer full)
 * @identity: (transfer full): of this host
 * @hooks_dir: libvirt's hooks folder, where our script must stand
 * @fence_socket: where systemd listens for apmigd-fence
 * @has_hook: whether the hypervisor is one that calls it, as far as is known before it is connected
 */
ApmigCore *apmig_core_new(const ApmigPolicy *policy, ApmigStore *store, ApmigHypervisor *hypervisor,
                          ApmigKeyView *key_view, ApmigHostIdentity *identity, const char *hooks_dir,
                          const char *fence_socket, gboolean has_hook);
void apmig_core_free(ApmigCore *core);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigCore, apmig_core_free)

void apmig_core_set_listener(ApmigCore *core, const ApmigCoreListener *listener, gpointer user_data);

/* Loads the store into the engine and starts the hypervisor. A store that cannot be read is an error; one that does not answer
 * is not: then nothing affected is let in and no lock is taken until it has answered. */
gboolean apmig_core_start(ApmigCore *core, GError **error);

/* --- requests and questions ---------------------------------------------------------------------- */

/*
 * @func is called once, later, never from within the call, unless the core is freed before. The number returned is the
 * caller's: after apmig_core_caller_gone() @func is not called any more. Of a caller that was let in a guest the engine wants to
 * know that it has gone after its answer as well.
 */
void apmig_core_caller_gone(ApmigCore *core, ApmigCaller caller);

/**
 * apmig_core_request: has the engine decide
 * @event: what is asked for: TAKE, RELEASE, AMEND, CHECK, PERMIT or REVOKE, by a caller who is authorized; borrowed for the
 *   call. It gets its caller and its times.
 */
ApmigCaller apmig_core_request(ApmigCore *core, ApmigEvent *event, ApmigReplyFunc func, gpointer user_data);
/* Returns: (transfer full): one that no lock and no permit has, for an event that needs a fresh one. */
char *apmig_core_new_id(ApmigCore *core);

/* @guest: (transfer full): as its XML says. What this host has is read before, if that was not so a moment ago, for a second
 * at most. The reply is a REPLY_ADMIT. */
ApmigCaller apmig_core_admit(ApmigCore *core, ApmigGuest *guest, gboolean restore, ApmigReplyFunc func,
                             gpointer user_data);

/* What is declared stays so, also when the caller is gone or the release that was to follow fails. The reply is a
 * REPLY_DECLARED. */
ApmigCaller apmig_core_declare_keys(ApmigCore *core, const ApmigDeclarationRequest *request,
                                    ApmigReplyFunc func, gpointer user_data);

/* Facts of a guest, by name or UUID, from the hypervisor. */
ApmigCaller apmig_core_look_up_facts(ApmigCore *core, const char *guest, ApmigGuestFactsFunc func,
                                     gpointer user_data);

/* Takes away the stamps of a guest, by name or UUID, or with "" of all active ones, until there is a cause to write them
 * again. */
ApmigCaller apmig_core_remove_stamps(ApmigCore *core, const char *guest, ApmigStampsRemovedFunc func,
                                     gpointer user_data);

/**
 * apmig_core_describe_guest: what the destination of a guest would be asked with, were it to leave now
 * @guest: name or UUID
 *
 * The stamp in there is made for this, of what the cards say now (see apmig_core_read_keys()), whatever the policy has
 * written; the guest's own stays as it is.
 */
ApmigCaller apmig_core_describe_guest(ApmigCore *core, const char *guest, ApmigGuestDescribedFunc func,
                                      gpointer user_data);

/* @check NULL: @error says why (APMIG_ERROR_TIMEOUT). Both are borrowed. */
typedef void (*ApmigArrivalCheckFunc)(const ApmigArrivalCheck *check, const GError *error,
                                      gpointer user_data);

/**
 * apmig_core_check_arrival: the dry run of apmig_core_admit() for a migration, with this host's crypto hardware read anew
 * @guest: (transfer full)
 */
ApmigCaller apmig_core_check_arrival(ApmigCore *core, ApmigGuest *guest, ApmigArrivalCheckFunc func,
                                     gpointer user_data);

/* The active guests that are affected, and their queues; NULL: the hypervisor does not answer. */
ApmigCaller apmig_core_list_guests(ApmigCore *core, ApmigGuestDevicesFunc func, gpointer user_data);

/* What this host has of crypto hardware, and which guests use it. */
ApmigCaller apmig_core_list_queues(ApmigCore *core, ApmigQueuesFunc func, gpointer user_data);

/**
 * apmig_core_read_keys: what is known of the keys of the queues in @scope, see apmig_key_view_read()
 * @fresh: the cards are asked, unless they were a moment ago; else only when that was longer ago than the policy says
 */
ApmigCaller apmig_core_read_keys(ApmigCore *core, const ApmigScope *scope, gboolean fresh,
                                 ApmigKeyViewFunc func, gpointer user_data);

/* --- at once ------------------------------------------------------------------------------------- */

/* Returns: (transfer full) (nullable): why the hook would not be called, as a clause; NULL: it would, or this hypervisor
 * has none. */
char *apmig_core_describe_hook_problem(const ApmigCore *core);

/* Returns: (transfer full): a sentence on what is odd about the keys as they are known now; "" when nothing is. */
char *apmig_core_describe_key_trouble(const ApmigCore *core);

/* Returns: (transfer full) (nullable) (element-type utf8): the AP queues of this host in @scope, such as "04.0012", as they
 * were read last; NULL: they were not. */
GPtrArray *apmig_core_list_covered_queues(const ApmigCore *core, const ApmigScope *scope);

const ApmigHostIdentity *apmig_core_identity(const ApmigCore *core);
/* Returns: a sentence on what is wrong with this host's id in stamps, as was noticed since the start; "" when nothing is. */
const char *apmig_core_stamp_trouble(const ApmigCore *core);

/* Returns: (transfer full): sentences on mediated devices that have kept what a guest brought whose migration has failed, as
 * they were read last, for which they are read anew; "" when there are none. */
char *apmig_core_describe_device_trouble(ApmigCore *core);

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

/* Whether the parts that the watchdog vouches for are alive: the writers. (The main loop vouches for
 * itself by calling this.) */
gboolean apmig_core_is_alive(ApmigCore *core);
