/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fleet's document: who its members are, and the locks that are asked of all of them. It is one JSON text, so that the
 * revision of its store is the fleet's whole truth in one number, and that number is the question that answers name. Where
 * there is no store, whoever asks makes one document for what he asks, and numbers his questions.
 *
 * Plain values. Times are realtime, usec; they are shown, and nothing is decided by them.
 */
#pragma once

#include <glib.h>

#include "ap/scope.h"
#include "rules/policy.h"

#define APMIG_FLEET_MAX_BYTES        (1024 * 1024) /* of a text; a store takes 1.5 MiB for a request */
#define APMIG_FLEET_MAX_HOSTS        500
#define APMIG_FLEET_MAX_LOCKS        64
#define APMIG_FLEET_MAX_SCOPE_LENGTH (16 * 1024) /* bytes of a lock's scope, in its canonical form */
#define APMIG_FLEET_MAX_NAME_LENGTH  255         /* bytes of a fleet's, a host's and an owner's name */

typedef enum {
    APMIG_FLEET_LOCKED,
    APMIG_FLEET_RELEASING, /* somebody has asked for its release, and keys are compared */
    APMIG_FLEET_RELEASED,  /* kept until every member has answered a later revision and nobody is left out */
} ApmigFleetLockState;

typedef struct {
    char *id;   /* its HostId, a UUID in lower case; "" where it has not told it. A text always has one */
    char *name; /* by which administrators call it; not two of a fleet are called the same */
} ApmigFleetMember;

/* A host of which a lock proves nothing, and whose keys are not to be changed. */
typedef struct {
    char *host;   /* a member's id or name */
    char *by;     /* who left it out */
    char *reason; /* and why */
    gint64 at;
} ApmigFleetLeftOut;

typedef struct {
    char *id; /* see apmig_fleet_lock_id_is_valid() */
    ApmigScope *scope;
    char *reason;
    char *change_id; /* "" when there is none */
    char *owner;     /* a name to show, no user of any host */
    gint64 requested_at;
    ApmigOnBusy on_busy;
    ApmigFleetLockState state;
    GPtrArray *left_out; /* of ApmigFleetLeftOut */
} ApmigFleetLock;

typedef struct {
    char *fleet;        /* its name */
    GPtrArray *members; /* of ApmigFleetMember */
    GPtrArray *locks;   /* of ApmigFleetLock */
} ApmigFleetDocument;

/* "locked", "releasing", "released". */
const char *apmig_fleet_lock_state_to_string(ApmigFleetLockState state);

/* Whether @text is 8 to 32 hexadecimal digits in lower case, as the ids of locks of a fleet and of a host are. */
gboolean apmig_fleet_lock_id_is_valid(const char *text);

/* Without members and locks. Of every free function the argument is (nullable). */
ApmigFleetDocument *apmig_fleet_document_new(const char *fleet);
void apmig_fleet_document_free(ApmigFleetDocument *document);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFleetDocument, apmig_fleet_document_free)

/* Its strings are "", its scope is NULL, nobody is left out. */
ApmigFleetLock *apmig_fleet_lock_new(void);
void apmig_fleet_lock_free(ApmigFleetLock *lock);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFleetLock, apmig_fleet_lock_free)

/* Adds a member; its number is not looked at. */
void apmig_fleet_document_add_member(ApmigFleetDocument *document, const char *id, const char *name);
/* Adds a host that is left out. */
void apmig_fleet_lock_leave_out(ApmigFleetLock *lock, const char *host, const char *by, const char *reason,
                                gint64 at);

/* Returns: (transfer none) (nullable): the lock of that id. */
const ApmigFleetLock *apmig_fleet_document_find_lock(const ApmigFleetDocument *document, const char *id);

/* Whether @host is its id, where it has one, or its name. */
gboolean apmig_fleet_member_is(const ApmigFleetMember *member, const char *host);

/* Returns: (transfer none) (nullable): the member of that id or name. */
const ApmigFleetMember *apmig_fleet_document_find_member(const ApmigFleetDocument *document,
                                                         const char *host);

/* Returns: (transfer none) (nullable): that this member is left out of the lock. */
const ApmigFleetLeftOut *apmig_fleet_lock_find_left_out(const ApmigFleetLock *lock,
                                                        const ApmigFleetMember *member);

/**
 * apmig_fleet_document_opens:
 * @document: as it was read from the store, for certain and not long ago: that is for the caller to see to
 * @id: of a lock that a host has
 * @host: that host, by its id
 *
 * Only by this does a document open a host, or by force. Absence never does: neither of the lock nor of the host.
 *
 * Returns: whether the lock stands there as released, and the host is listed and not left out of it.
 */
gboolean apmig_fleet_document_opens(const ApmigFleetDocument *document, const char *id, const char *host);

/* Whether both are the same lock in the same state with the same hosts left out, in the same order and by the same words. */
gboolean apmig_fleet_lock_equal(const ApmigFleetLock *a, const ApmigFleetLock *b);

/**
 * apmig_fleet_document_check:
 * @document: whoever made it
 * @error: #APMIG_ERROR_INVALID_OPTION; the sentence names the member or the lock, and what is wrong with it
 *
 * Whether it is one that can be judged by: members and locks in their bounds, no host and no lock twice, nobody left out
 * who is no member or who is left out twice, and every lock with a scope.
 */
gboolean apmig_fleet_document_check(const ApmigFleetDocument *document,
                                    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_fleet_document_parse:
 * @text: JSON; need not be terminated, nor UTF-8
 * @length: its bytes, at most %APMIG_FLEET_MAX_BYTES
 * @origin: what it is called in errors, such as the key of the store
 * @error: #APMIG_ERROR_INVALID_OPTION; the sentence says where in the text what is wrong
 *
 * Strict: a member of the text that this version does not know, or that is missing, is an error, for what is asked of a
 * host must not be half understood. A document that cannot be parsed opens no host.
 *
 * Returns: (transfer full) (nullable): a document that apmig_fleet_document_check() is content with, and whose members
 *   all have an id.
 */
ApmigFleetDocument *apmig_fleet_document_parse(const char *text, gsize length, const char *origin,
                                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_fleet_document_write:
 * @document: what is to be written
 * @error: as apmig_fleet_document_parse(): it is one that could not be parsed again
 *
 * Returns: (transfer full) (nullable): the text, of which apmig_fleet_document_parse() makes the same document.
 */
char *apmig_fleet_document_write(const ApmigFleetDocument *document,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;
