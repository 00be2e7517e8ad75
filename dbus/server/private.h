/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the bus server share. Everything runs in the main loop's thread.
 */
#pragma once

#include "server/authorize.h"
#include "base/requester.h"
#include "names.h"
#include "server/server.h"
#include "base/text.h"
#include "server/user-name.h"

#include <systemd/sd-event.h>

#define APMIG_SHOWN_MAX_BYTES 80 /* of what a caller gave, as a message shows it */

/* --- the server (server.c) --------------------------------------------------------------------------- */

typedef struct ApmigBus ApmigBus;
typedef struct ApmigPeer ApmigPeer;
typedef struct ApmigPublicBus ApmigPublicBus;
typedef struct ApmigPrivateSocket ApmigPrivateSocket;
typedef struct ApmigReadings ApmigReadings;
typedef struct ApmigLoopback ApmigLoopback;

struct ApmigServer {
    ApmigCore *core;
    ApmigPublicBus *public_bus;         /* (nullable) */
    ApmigPrivateSocket *private_socket; /* (nullable) */
    ApmigReadings *readings;
    ApmigLoopback *loopback; /* (nullable): until it is needed */
    GHashTable *buses;       /* sd_bus -> ApmigBus */
    GHashTable *peers;       /* of the public bus: name -> ApmigPeer */
    GHashTable *locks;       /* id -> ApmigObject, also ended ones until they are forgotten */
    GHashTable *migrations;  /* the same */
    GHashTable *calls;       /* set of ApmigCall: those not answered yet */
    GStrv manager_texts;     /* see apmig_server_emit_changes() */
    gint64 started_at;       /* realtime, usec */
    gint64 refusals_since;   /* audit.c: monotonic */
    guint refusals;          /* told in the journal since then */
    guint refusals_untold;
};

/* A lock or a migration on the bus; the userdata of its vtable. */
typedef struct {
    ApmigServer *server;
    char *id;
    char *path;
    GStrv texts;         /* see apmig_server_emit_changes() */
    gboolean end_is_out; /* of a lock: LockEnded was sent */
} ApmigObject;

/* Registers all our objects on @bus (tree.c). Returns: negative errno on failure. */
int apmig_tree_register(ApmigServer *server, sd_bus *bus);

/* Each registers the objects of its kind on @bus. Returns: negative errno on failure. */
int apmig_manager_register(ApmigServer *server, sd_bus *bus);
int apmig_lock_objects_register(ApmigServer *server, sd_bus *bus);
int apmig_migration_objects_register(ApmigServer *server, sd_bus *bus);

/* Bring the buses up to date with the engine. */
void apmig_manager_refresh(ApmigServer *server);
void apmig_lock_object_refresh(ApmigServer *server, const char *id);
void apmig_migration_object_refresh(ApmigServer *server, const char *id);

/* Returns: (transfer none): its canonical scope; what is not known counts as all. */
const char *apmig_migration_scope_text(const ApmigMigration *migration);

/* --- who speaks to us (peers.c) -------------------------------------------------------------------- */

/* What came of the question whose @peer is. @error: (nullable): it is not known */
typedef void (*ApmigPeerFunc)(ApmigPeer *peer, const GError *error);

/* A connection to the public bus, or the other end of one to the private socket. Who it is, is asked once. */
struct ApmigPeer {
    ApmigBus *bus;
    char *name; /* on the public bus; NULL at the private socket */
    gboolean identified;
    guint32 uid;
    guint32 pid; /* 0: not known */
    int pidfd;   /* of who connected, until it has been looked up; -1: not known */
    gboolean looked_up;
    ApmigRequester requester; /* what was found, once it is looked up */
    sd_bus_slot *question;
    ApmigPeerFunc identified_func;
    GQueue waiting;   /* of ApmigCall: those that wait for the answer, as they came */
    GArray *followed; /* of ApmigCaller: answered, and the core is told when the peer has gone */
    /* inspect.c */
    gboolean reading_is_decided;
    GError *reading_denied;         /* (nullable): once it is decided; NULL: it may read */
    ApmigAuthorization *inspection; /* the question to polkit under way */
    ApmigPeerFunc inspected_func;
    GQueue readers; /* of ApmigCall: those that wait for the answer, as they came */
};

/* Returns: (transfer full): one of @bus, whose it is nobody knows yet. @name: (nullable): see above */
ApmigPeer *apmig_peer_new(ApmigBus *bus, const char *name);
void apmig_peer_free(ApmigPeer *peer);

/* Returns: (transfer none) (nullable): who sent @message; NULL: it does not say. */
ApmigPeer *apmig_peer_of(ApmigServer *server, sd_bus_message *message);

/* The core is told when @peer, which has been answered as @caller, has gone; of the oldest of very many at once. */
void apmig_peer_follow(ApmigPeer *peer, ApmigCaller caller);

/* Asks the bus whose @peer is, unless that is being asked. @func: called later. Returns: negative errno on failure. */
int apmig_peer_identify(ApmigPeer *peer, ApmigPeerFunc func);

/* Once, for the journal: which process @peer, whose user is known, is (its requester). */
void apmig_peer_look_up(ApmigPeer *peer);

/* --- who may read (inspect.c) ----------------------------------------------------------------------- */

/* Returns: whether it is known that @peer may read; else apmig_peer_inspect() is to be called, or its answer a no. */
gboolean apmig_peer_may_read(const ApmigPeer *peer);

/**
 * apmig_peer_inspect: asks polkit whether @peer, who is not root, may read, unless that is being asked
 * @message: of the peer's; by it polkit is told who asks, and whether a dialogue is allowed
 * @func: called later, with why not. What polkit has answered is kept as long as the peer is there.
 * @error: the question could not be sent
 */
gboolean apmig_peer_inspect(ApmigPeer *peer, sd_bus_message *message, ApmigPeerFunc func, GError **error);

/* --- the buses (buses.c) ---------------------------------------------------------------------------- */

typedef void (*ApmigBusFunc)(ApmigBus *bus, gpointer user_data);

/* One that speaks to us: the public bus, or a connection to the private socket, which has one peer. */
struct ApmigBus {
    ApmigServer *server;
    sd_bus *bus;
    ApmigPeer *peer;  /* at the other end of the private socket; NULL: the public bus */
    guint queue_max;  /* of messages that it has not read yet */
    gboolean is_slow; /* it was given up for that */
    guint
        begun_id; /* of the private socket's: it is to be looked at whether a call came with its beginning */
    guint lost_id;
    ApmigBusFunc lost_func;
    ApmigBusFunc unread_func; /* (nullable): called when something was sent that has not gone out */
    gpointer data;            /* of both */
};

/**
 * apmig_bus_new:
 * @bus: (transfer full): started, or about to be; closed on failure
 * @queue_max: so many messages may wait for it to read them; with more it is given up
 * @lost: called once, later, when it has ended or is given up; it is to free it. Nothing is sent to it any more.
 *
 * Returns: (nullable): it; else @ret_error is a negative errno
 */
ApmigBus *apmig_bus_new(ApmigServer *server, sd_bus *bus, sd_event *event, guint queue_max, ApmigBusFunc lost,
                        gpointer user_data, int *ret_error) G_GNUC_WARN_UNUSED_RESULT;
/* Returns: (nullable): the next one of the server's that can be sent to. */
ApmigBus *apmig_bus_next(GHashTableIter *iter);
/* Gives it up when it does not read; after something was sent to it. */
void apmig_bus_check_queue(ApmigBus *bus);
/* Has it lost, later. */
void apmig_bus_give_up(ApmigBus *bus);
/* @flush: waits until it has read everything */
void apmig_bus_free(ApmigBus *bus, gboolean flush);

/* --- the public bus (public-bus.c) ------------------------------------------------------------------ */

/* Connects, and goes on trying for as long as it takes. @opened: see apmig_server_open() */
ApmigPublicBus *apmig_public_bus_new(ApmigServer *server, ApmigOpenedFunc opened, gpointer user_data);
void apmig_public_bus_free(ApmigPublicBus *public_bus);

/* --- reading that must wait (hold-back.c, loopback.c) ------------------------------------------------ */

/* Of the public bus, before sd-bus sees @message: takes it where it would be answered at once and it is not known yet whether
 * the caller may read. Returns: what a filter of sd-bus returns. */
int apmig_hold_back(ApmigServer *server, sd_bus_message *message);

/* Returns: (transfer full) (nullable): both ends of a connection of ours to ourselves; else @ret_error is a negative errno */
ApmigLoopback *apmig_loopback_new(ApmigServer *server, int *ret_error) G_GNUC_WARN_UNUSED_RESULT;
/* Has our objects answer @call, of a method that is answered at once. Returns: negative errno on failure; an error of the
 * method is a reply as any other. */
int apmig_loopback_call(ApmigLoopback *loopback, sd_bus_message *call, sd_bus_message **ret_reply);
void apmig_loopback_free(ApmigLoopback *loopback);

/* --- the private socket (private-socket.c) ---------------------------------------------------------- */

/* @path: where it is made; one that is there is replaced */
ApmigPrivateSocket *apmig_private_socket_new(ApmigServer *server, const char *path,
                                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
void apmig_private_socket_free(ApmigPrivateSocket *socket);

/* --- objects and texts (objects.c) ------------------------------------------------------------ */

/* Returns: (transfer full): a table of the server for objects of one kind. */
GHashTable *apmig_objects_new(void);

/**
 * apmig_object_find_or_add:
 * @objects: the server's table of the kind
 *
 * A new object is not announced yet: that is apmig_object_announce()'s, once it can be read.
 */
ApmigObject *apmig_object_find_or_add(ApmigServer *server, GHashTable *objects, const char *prefix,
                                      const char *id, gboolean *ret_added);
void apmig_object_announce(ApmigObject *object);
void apmig_object_remove(GHashTable *objects, const char *id);

/* Of a fallback vtable and a node enumerator; @prefix: of the paths of @objects. */
int apmig_objects_find(GHashTable *objects, const char *prefix, const char *path, void **ret_found);
int apmig_objects_enumerate(GHashTable *objects, char ***ret_paths);

/**
 * apmig_server_emit_changes: PropertiesChanged for what differs from what was sent last
 * @names: NULL-terminated, properties that emit a change
 * @last: (inout): what these properties were, as texts in the order of @names; NULL: never announced
 * @now: what they are, NULL-terminated; its texts are taken over, not the array
 */
void apmig_server_emit_changes(ApmigServer *server, const char *path, const char *interface,
                               const char *const *names, GStrv *last, char **now);

/* A signal of the object at @path, on all buses. @signature: as of sd_bus_message_append() */
void apmig_server_emit_signal(ApmigServer *server, const char *path, const char *interface,
                              const char *member, const char *signature, ...);

/* The same text with what is not valid UTF-8 replaced: sd-bus refuses to send anything else. NULL is "". */
char *apmig_bus_text(const char *text);
int apmig_append_text(sd_bus_message *message, const char *text);
/* Appends an "ao". @locks: of ApmigLock */
int apmig_append_lock_paths(sd_bus_message *message, GPtrArray *locks);

/* --- method calls that are answered later (call.c) ------------------------------------------- */

#define APMIG_GUEST_NAME_MAX_BYTES 1024

typedef struct ApmigCall ApmigCall;

/* The next step of a call; @denied NULL: go on. It is the step's duty to answer a denied call. */
typedef void (*ApmigCallFunc)(ApmigCall *call, const GError *denied);

/* What a request came to. @reply: of the kind that was asked for, never an error, which the call has been failed with */
typedef void (*ApmigAnswerFunc)(ApmigCall *call, const ApmigAction *reply);

struct ApmigCall {
    ApmigServer *server;
    ApmigPeer *peer; /* who calls; a call ends with it */
    sd_bus_message *message;
    ApmigEvent
        event; /* of a request: what is asked for; its texts are borrowed from @message, its scope from @data */
    const ApmigMethodRule *rule;
    gboolean identified;
    guint32 uid;
    const char *request; /* (nullable): its rule's; what the journal is told of it, with the next two */
    char *lock_id;       /* (nullable) */
    char *change_id;     /* (nullable) */
    guint32 owner_uid;   /* of lock_id's lock, when the polkit action was chosen; with the next owner.c's */
    ApmigCallFunc owner_next;
    ApmigAuthorization *authorization; /* the question to polkit under way */
    ApmigUserLookup *user_lookup;
    ApmigUserNameFunc name_func;
    ApmigCallFunc next;
    ApmigCaller caller; /* the core's number while it works for the call, else 0 */
    ApmigAnswerFunc answered;
    gpointer data; /* the method's own */
    GDestroyNotify free_data;
};

/**
 * apmig_call_start: for a method's handler, to be returned from it
 * @data: (transfer full): what the method read of its arguments
 * @next: called when the caller is known, is within its limits and, with APMIG_ACCESS_ROOT, root; may be called from within
 *
 * A call whose caller vanishes ends silently, and the core is told.
 */
int apmig_call_start(ApmigServer *server, sd_bus_message *message, gpointer data, GDestroyNotify free_data,
                     ApmigCallFunc next);

/* As apmig_call_start(), of a method that has the engine decide. @event: what is asked for, as far as its arguments say */
int apmig_call_start_request(ApmigServer *server, sd_bus_message *message, const ApmigEvent *event,
                             gpointer data, GDestroyNotify free_data, ApmigCallFunc next);

/* Hands the call's event to the core. @answered: it is to end the call; NULL: there is nothing to say */
void apmig_call_request(ApmigCall *call, ApmigAnswerFunc answered);
/* An ApmigReplyFunc for @call, which calls what apmig_call_request() was given. */
void apmig_call_replied(const ApmigAction *reply, gpointer call);

/* @action: polkit's, from the call's rule. @next may be called from within. */
void apmig_call_authorize(ApmigCall *call, const char *action, ApmigCallFunc next);

/* Calls @func, a step of @call, with the name of the caller; of root at once: nothing may be in the way then, the name
 * service is not. */
void apmig_call_look_up_name(ApmigCall *call, ApmigUserNameFunc func);

/* Each answers the call and frees it. @signature: as of sd_bus_message_append(). */
void apmig_call_reply(ApmigCall *call, const char *signature, ...);
/* @r: negative when @reply could not be made. */
void apmig_call_send(ApmigCall *call, sd_bus_message *reply, int r);
void apmig_call_fail(ApmigCall *call, const GError *error);
/* Frees it without an answer. */
void apmig_call_free(ApmigCall *call);

/* Ends the calls of a peer that is gone, and frees it. */
void apmig_peer_gone(ApmigPeer *peer);

/* Answers @message with the D-Bus name of @error. Returns: what a handler returns. */
int apmig_reply_error(sd_bus_message *message, const GError *error);
/* For the handler of a method with APMIG_ACCESS_FREE that answers at once. Returns: FALSE when its row does not
 * say so; then @error is set. */
gboolean apmig_method_is_free(sd_bus_message *message, GError **error);

/* --- what the journal is told of calls that change something (audit.c) ----------------------- */

/* That @call, which is allowed, asks for @request now. @guest: (nullable); @format: a clause after "user N asks to" */
void apmig_call_log_request(const ApmigCall *call, const char *request, const char *guest, const char *format,
                            ...) G_GNUC_PRINTF(4, 5);
/* That nothing came of it. Of users other than root only so many are told: whoever may call could fill the journal. */
void apmig_call_log_refusal(const ApmigCall *call, const GError *error);

/* --- calls about a lock (owner.c) ------------------------------------------------------------- */

/* Returns: FALSE: those on disk have not been read yet; @error: APMIG_ERROR_STATE_FAILURE */
gboolean apmig_server_knows_locks(const ApmigServer *server, GError **error);
/* @error: APMIG_ERROR_NO_SUCH_LOCK, with whether it has ended; or as of apmig_server_knows_locks() */
const ApmigLock *apmig_server_find_living_lock(const ApmigServer *server, const char *id, GError **error);

/**
 * apmig_call_authorize_for_lock:
 * @id: of the lock
 * @next: called when the caller may do with it what is asked; may be called from within
 *
 * The owner needs the rule's action, others its others_action, where it has one; a refusal of that is
 * APMIG_ERROR_NOT_OWNER and names the owner.
 */
void apmig_call_authorize_for_lock(ApmigCall *call, const char *id, ApmigCallFunc next);

/* The same lock, later: somebody may have typed a password meanwhile, and it may be gone (APMIG_ERROR_NO_SUCH_LOCK) or
 * be another's (APMIG_ERROR_NOT_OWNER). */
const ApmigLock *apmig_call_find_same_lock(const ApmigCall *call, GError **error);

/* Returns: (transfer none): the id in the path of a lock's object that @message is for; as long as the message. */
const char *apmig_message_lock_id(sd_bus_message *message);

/* --- arguments (options.c) ------------------------------------------------------------------- */

/* One option of a method; arrays of them end with a name of NULL. */
typedef struct {
    const char *name;
    const char *type; /* of D-Bus: "s", "t", "b" or "a{ss}" */
    gboolean given;
    union {
        const char *text; /* borrowed from the message */
        guint64 number;
        int flag;
        GPtrArray *pairs; /* the caller's: each key and its value, borrowed from the message */
    };
} ApmigOption;

#define APMIG_OPTION_MAX_PAIRS 256 /* in one option */

/* Reads an a{sv}; on failure no option has pairs. @error: APMIG_ERROR_INVALID_OPTION for an unknown key, a wrong type, a key twice. */
gboolean apmig_options_read(sd_bus_message *message, ApmigOption *options, GError **error);
/* @option: not given, or from 1 to @maximum microseconds; else APMIG_ERROR_INVALID_OPTION. */
gboolean apmig_option_is_duration(const ApmigOption *option, guint64 maximum, GError **error);
/* Whether @text is 1 to @max_bytes bytes of UTF-8, not all white space, without control and format
 * characters and line separators. @what: subject of the sentence in @error, which has @code. */
gboolean apmig_text_is_presentable(const char *text, gsize max_bytes, const char *what, ApmigError code,
                                   GError **error);
/* Reads an "a{ss}" of at most so many pairs. @what: subject of the sentence in @error. Returns: (transfer container) (nullable):
 * each key and its value, borrowed from @message. */
GPtrArray *apmig_pairs_read(sd_bus_message *message, const char *what, GError **error);
/* Reads an "s". Returns: (transfer none) (nullable): it, as long as @message, when it is presentable; else @error is set, as
 * above. */
const char *apmig_text_read(sd_bus_message *message, gsize max_bytes, const char *what, ApmigError code,
                            GError **error);

/* --- what is declared of master keys (declare.c) --------------------------------------------- */

/* Returns: (transfer full): one that declares nothing yet. */
ApmigDeclarationRequest *apmig_declaration_request_new(void);
void apmig_declaration_request_free(ApmigDeclarationRequest *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigDeclarationRequest, apmig_declaration_request_free)

/**
 * apmig_declarations_read:
 * @request: gets what is declared, and its class
 * @pairs: (nullable): of an "a{ss}": see apmig_declaration_parse_pair()
 * @evidence: the option that names the class, "declared" where it is not given
 * @error: APMIG_ERROR_INVALID_OPTION
 */
gboolean apmig_declarations_read(ApmigDeclarationRequest *request, const GPtrArray *pairs,
                                 const ApmigOption *evidence, GError **error);

/* Hands @request to the core for @call. @answered: gets the warnings */
void apmig_call_declare(ApmigCall *call, const ApmigDeclarationRequest *request, ApmigAnswerFunc answered);

/* --- methods of their own files -------------------------------------------------------------------------- */

/* A handler of sd-bus, with the server as userdata. */
int apmig_method_take_lock(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
int apmig_method_rehearse_lock(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
int apmig_method_list_guests(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
int apmig_method_remove_stamps(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
int apmig_method_describe_policy(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);

/* check.c: the same */
int apmig_method_describe_guest(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
int apmig_method_check_migration(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);

/* reading.c: the thread for that. @guest: (transfer full) (nullable): what was read; else @error says why it cannot be */
typedef void (*ApmigReadingFunc)(ApmigCall *call, ApmigGuest *guest, const GError *error);
ApmigReadings *apmig_readings_new(void);
/* All calls are over. */
void apmig_readings_free(ApmigReadings *readings);
/* Reads @xml and calls @func, unless @call is over by then. The call has no data of its own. */
void apmig_call_read_guest(ApmigCall *call, const char *xml, ApmigReadingFunc func);

/* permits.c: the same */
int apmig_method_permit_migration(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
int apmig_method_revoke_permit(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
int apmig_method_list_permits(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
/* Returns: (transfer full): what differs when a permit comes, goes or is used. */
char *apmig_permits_text(const ApmigServer *server);
/* Returns: (transfer full): whether the guest could migrate now (@ret_allowed), and why not; or that it may, in spite of
 * what, by a permit. @guest: name or UUID; @ret_locks: (out) (transfer container): the locks over it. */
char *apmig_server_check_guest(const ApmigEngine *engine, const char *guest, const ApmigGuestFacts *facts,
                               gboolean *ret_allowed, GPtrArray **ret_locks);

/* declare.c: the same */
int apmig_method_declare_keys(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);

/* keys.c: handlers of sd-bus, with the server as userdata. */
int apmig_method_list_queues(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);
int apmig_method_list_keys(sd_bus_message *message, void *user_data, sd_bus_error *ret_error);

/* amend.c: Lock.TakeOver, Lock.Extend and Lock.Annotate. @message: not read yet */
int apmig_amend_lock(ApmigServer *server, sd_bus_message *message, ApmigAmendment what);

/* inquire.c: Lock.Check, as apmig_amend_lock(); and the answer to Manager.RehearseLock. */
int apmig_check_lock(ApmigServer *server, sd_bus_message *message);
void apmig_rehearsal_answered(ApmigCall *call, const ApmigAction *reply);

/**
 * apmig_release_lock: release.c: ReleaseLock and Lock.Release from their options on
 * @id: of the lock; borrowed from @message
 * @message: read up to its options
 */
int apmig_release_lock(ApmigServer *server, sd_bus_message *message, const char *id);
