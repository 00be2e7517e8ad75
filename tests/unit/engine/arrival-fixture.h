/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that comes in with what its source says of it, and a host that knows its own: where all agrees.
 */
#pragma once

#include "ap/fixture.h"
#include "engine/fixture.h"

#define G1       "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define MDEV     "aaaaaaaa-1234-9455-926a-d65c16db1809"
#define SOURCE   "11111111-1111-4111-8111-111111111111"
#define HERE     "22222222-2222-4222-8222-222222222222"
#define REALTIME (STORY_REALTIME + G_USEC_PER_SEC) /* when it comes in */
#define DAY      (24 * 3600 * (gint64)G_USEC_PER_SEC)

#define NO_OTHER                                                                                             \
    "APKA NEW: empty -\nAPKA CUR: invalid -\nAPKA OLD: invalid -\n"                                          \
    "ASYM NEW: empty -\nASYM CUR: invalid -\nASYM OLD: invalid -\n"
#define KEY_A "AES NEW: empty -\nAES CUR: valid 0x00000000000000a1\nAES OLD: invalid -\n" NO_OTHER
#define KEY_B "AES NEW: empty -\nAES CUR: valid 0x00000000000000b2\nAES OLD: invalid -\n" NO_OTHER

/* A guest with a vfio-ap device that had 04.0012 at its source, with key A, and a host that has the same. */
typedef struct {
    Story story;
    ApmigApHost *host;
    ApmigEvidence *here, *there;
    ApmigStamp *stamp;
    ApmigArrival arrival;
    ApmigScope *scope; /* (nullable): NULL: all */
    /* of what is checked without coming in */
    ApmigAffected affected;
    gboolean restore;
    ApmigArrivalCheck *check; /* the last one */
} Fixture;

/* With the default policy, a store without locks, and a stamp of yesterday. */
void arrival_set_up(Fixture *fixture, gconstpointer data);
void arrival_tear_down(Fixture *fixture, gconstpointer data);

/* What 04.0012 said a day ago. */
void know(ApmigEvidence *evidence, const char *text);
/* @lock: (transfer full) (nullable) */
void restamp(Fixture *fixture, gint64 written_at, ApmigStampLock *lock);
/* The engine hears of what was changed in the policy. */
void set_policy(Fixture *fixture);
/* Dora asks for a permit for the guest, aaaaaaaa, for a minute; it is not written yet. */
void permit(Fixture *fixture);
