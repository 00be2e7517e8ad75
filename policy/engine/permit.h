/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A permit as the engine knows it: one migration of one guest that goes through whatever locks there are. It counts at this
 * host only, and says nothing of master keys: whoever gives it answers for them. Read-only outside policy/.
 */
#pragma once

#include <glib.h>

#define APMIG_PERMIT_ID_LENGTH        8 /* lower-case hexadecimal digits */
#define APMIG_PERMITS_MAX             64
#define APMIG_PERMIT_MIN_USEC         G_USEC_PER_SEC
#define APMIG_PERMIT_MAX_USEC         (4 * 3600 * (gint64)G_USEC_PER_SEC)
#define APMIG_PERMIT_DEFAULT_USEC     (15 * 60 * (gint64)G_USEC_PER_SEC)
#define APMIG_PERMIT_NO_LOGIN         G_MAXUINT32
#define APMIG_PERMIT_GUEST_MAX_LENGTH 255 /* bytes of a name */

typedef struct {
    char *id;
    char *uuid;        /* of the guest, lower case; "": it was given by a name that this host does not know */
    char *name;        /* "": it was given by a UUID that this host does not know */
    char *reason;      /* as of a lock */
    guint32 owner_uid; /* who gave it */
    guint32 login_uid; /* who that was at login; APMIG_PERMIT_NO_LOGIN: not known */
    gboolean login_verified; /* it is the process's that connected, whatever became of its number */
    char *owner_name;
    gint64 given_at;   /* realtime, usec */
    gint64 until;      /* realtime, usec, as the clock went when it was given */
    gint64 expires_at; /* boot time, usec: what counts */
    char *used_by;     /* (nullable): UUID of the guest whose migration uses it; NULL: it is open */
    gboolean outgoing; /* direction of that */
} ApmigPermit;

ApmigPermit *apmig_permit_copy(const ApmigPermit *permit);
/* @permit: (nullable) */
void apmig_permit_free(ApmigPermit *permit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigPermit, apmig_permit_free)

/* Whether it is for the guest of that UUID and name. What is known of the UUID decides: names can be given anew. */
gboolean apmig_permit_is_for(const ApmigPermit *permit, const char *uuid, const char *name);

/* Returns: (transfer none): what to call its guest. */
const char *apmig_permit_guest(const ApmigPermit *permit);

gboolean apmig_permit_id_is_valid(const char *text);
