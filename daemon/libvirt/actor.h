/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who makes the changes at libvirt that apmigd itself has no right to: apmigd-act, of which nothing is known here
 * (act/client.h); the test suites bring others. Main loop's thread only; every call returns at once.
 */
#pragma once

#include <glib.h>

typedef enum {
    APMIG_ACT_READY, /* "ready": nothing but a connection to libvirt, so that the next has not to wait for it */
    APMIG_ACT_ABORT,        /* "abort": ends the outgoing migration of a guest */
    APMIG_ACT_WRITE_STAMP,  /* "write-stamp": in place of the one that there is */
    APMIG_ACT_REMOVE_STAMP, /* "remove-stamp" */
} ApmigActVerb;

#define APMIG_N_ACT_VERBS (APMIG_ACT_REMOVE_STAMP + 1)

typedef enum {
    APMIG_ACT_DONE,        /* "done": of an abort that libvirt said yes, which proves nothing */
    APMIG_ACT_NOTHING,     /* "nothing-to-do": no migration, no stamp, or no such active guest */
    APMIG_ACT_BUSY,        /* "busy": the guest has a job, during which its metadata cannot be written */
    APMIG_ACT_TOO_LATE,    /* "too-late": it is in post-copy */
    APMIG_ACT_REFUSED,     /* "refused": it is none of the things that may be done */
    APMIG_ACT_FAILED,      /* "failed": an obstacle */
    APMIG_ACT_UNAVAILABLE, /* nobody is there who could */
} ApmigActResult;

#define APMIG_N_ACT_RESULTS (APMIG_ACT_UNAVAILABLE + 1)

typedef struct {
    ApmigActVerb verb;
    const char *uuid;  /* (nullable): of the guest; not with %APMIG_ACT_READY */
    const char *stamp; /* (nullable): with %APMIG_ACT_WRITE_STAMP, as of apmig_stamp_to_xml() */
} ApmigActOrder;

/* @message: a clause to the result */
typedef void (*ApmigActFunc)(ApmigActResult result, const char *message, gpointer user_data);

typedef struct ApmigActor ApmigActor;

struct ApmigActor {
    /* @order: copied. @func is called exactly once, never from within the call, unless the actor is freed before. */
    void (*act)(ApmigActor *self, const ApmigActOrder *order, ApmigActFunc func, gpointer user_data);
    /* No callback after it. */
    void (*free)(ApmigActor *self);
};
