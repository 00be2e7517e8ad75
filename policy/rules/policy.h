/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The policy: what is done with a migration that is in progress when a lock is asked for, and the times and
 * limits of the engine. It is a JSON object; the shipped default is policy/default.json, for administrators it is
 * described in docs/policy.md. What is done differently with some guests is in policy-rules.h.
 */
#pragma once

#include <glib.h>

#include "stamp/stamp.h"
#include "ap/device-remap.h"

#define APMIG_POLICY_MAX_BYTES (1024 * 1024)
#define APMIG_POLICY_MAX_STEPS 3
#define APMIG_POLICY_MAX_RULES 256 /* of all files together */

typedef enum {
    APMIG_ON_BUSY_UNSET = 0, /* the request names none: the policy decides */
    APMIG_ON_BUSY_ABORT,
    APMIG_ON_BUSY_WAIT,
    APMIG_ON_BUSY_REFUSE,
} ApmigOnBusy;

typedef enum {
    APMIG_ON_RELEASE_VERIFY = 0, /* the cards are asked whether the keys are in step */
    APMIG_ON_RELEASE_TRUST,      /* whoever releases is believed */
} ApmigOnRelease;

typedef enum {
    APMIG_ON_UNANNOUNCED_WARN = 0, /* journal and signal */
    APMIG_ON_UNANNOUNCED_LOCK,     /* besides, apmigd takes a lock over it by itself */
    APMIG_ON_UNANNOUNCED_IGNORE,
} ApmigOnUnannounced;

typedef enum {
    APMIG_STEP_LIBVIRT_ABORT, /* "libvirt-abort": virDomainAbortJob on the source */
    APMIG_STEP_VFIO_STATE, /* "vfio-state": the device's migration state makes the data stream fail, on either side */
    APMIG_STEP_KILL_INCOMING, /* "kill-incoming": ends a QEMU that has not finished loading, on the destination */
} ApmigStep;

#define APMIG_N_STEPS (APMIG_STEP_KILL_INCOMING + 1)

typedef struct {
    ApmigStep step;
    gint64 deadline_usec; /* when the next step is tried although this one has not answered */
} ApmigPolicyStep;

/* Filled by apmig_policy_parse() and not changed afterwards. All times in microseconds. Before each member: its
 * key in the JSON object, the range that is accepted, and what it means. */
typedef struct {
    /* "on-busy": "abort", "wait" or "refuse"; never UNSET */
    ApmigOnBusy on_busy;
    /* "steps": an array of 1 .. APMIG_POLICY_MAX_STEPS objects, each with both "step" (each at most once) and
     * "deadline-usec" (100 ms .. 10 min); it replaces the base's as a whole */
    ApmigPolicyStep steps[APMIG_POLICY_MAX_STEPS];
    guint n_steps;
    /* "on-release": "verify" or "trust": what comes before the end of a lock that was held */
    ApmigOnRelease on_release;
    /* "admission-usec", 1 s .. 1 h: how long an admitted guest may take to appear */
    gint64 admission_usec;
    /* "draining-interval-usec", 10 ms .. 10 s: job states are read this often while a lock drains */
    gint64 draining_interval_usec;
    /* "held-interval-usec", 100 ms .. 1 min: and this often while one is held */
    gint64 held_interval_usec;
    gint64 silence_usec; /* how long a question may be without an answer under a lock that is held */
    /* "request-timeout-usec", 100 ms .. 1 day: deadline of a TakeLock without a timeout-usec of its own */
    gint64 request_timeout_usec;
    /* "release-verify-usec", 100 ms .. 10 min: how long a release waits for the cards; then it goes on unverified */
    gint64 release_verify_usec;
    /* "evidence-interval-usec", 1 s .. 1 day: cards are asked at most this often, unless a lock is released */
    gint64 evidence_interval_usec;
    /* "watch-keys-usec", 0 .. 1 day: the cards of this host are asked this often for changes without a lock, which is
     * work for them; 0: never */
    gint64 watch_keys_usec;
    /* "on-unannounced": "warn", "lock" or "ignore": what is done about such a change */
    ApmigOnUnannounced on_unannounced;
    /* "on-config-change": the same words: what is done about a change of the AP configuration under a lock that is in force
     * or during a migration */
    ApmigOnUnannounced on_config_change;
    /* "max-locks", 1 .. 1024 */
    guint max_locks;
    /* "max-locks-per-user", 1 .. 1024; root is not limited by it */
    guint max_locks_per_user;
    /* "max-admissions", 1 .. 65536 */
    guint max_admissions;
    /* "stamp": "full", "digest" or "off": what this host says of its guests in their metadata. With "off" what a guest
     * brought is taken away when it has arrived */
    ApmigStampForm stamp;
    /* "keys-differ": "deny" or "warn"; "keys-unknown" and "stamp-missing": "allow", "warn" or "deny": what follows from
     * the stamp that a guest brings, or does not bring. To warn is to let it in with an entry in the journal */
    ApmigStampAnswer keys_differ;
    ApmigStampAnswer keys_unknown;
    ApmigStampAnswer stamp_missing;
    /* "stamp-fresh-sec", 0 (any age is good) .. 10 years: what a stamp that is older says of keys does not count. It is
     * written when a guest starts and when a lock over it changes, so it is about as old as the guest's run: a time
     * shorter than that only makes it count for nothing. 90 days outlast most runs, and bound for how long keys that were
     * changed without a lock are taken for what they were. The lock in a stamp has no age: see apmig_stamp_judge(). */
    guint stamp_fresh_seconds;
    /* "remap-devices": "off", "matching" or "matching-or-empty": what takes the place of the mediated device of a guest
     * that comes in, where no device of that UUID is free here */
    ApmigRemap remap_devices;
    /* "overdue-usec", 0 .. 10 years: a lock without an expected duration of its own is overdue after that; 0: never */
    gint64 overdue_usec;
    /* "overdue-again-usec", 0, or 1 min .. 10 years: the journal says so again this often; 0: once */
    gint64 overdue_again_usec;
    /* "rules": see policy-rules.h; they are added to those of the base, after them */
    GPtrArray *rules; /* (nullable) (element-type ApmigPolicyRule): not changed any more, copies share it */
    /* Who set which key: @origin of apmig_policy_parse(). A key that is not there is as built in. */
    GHashTable *origins; /* (nullable) (element-type utf8 utf8): the same */
} ApmigPolicy;

/**
 * apmig_policy_parse:
 * @json: the text, not necessarily terminated
 * @length: its bytes, at most %APMIG_POLICY_MAX_BYTES
 * @origin: what it is called in errors, such as a file name
 * @base: (nullable): what a missing key keeps; %NULL: the built-in default, which equals policy/default.json
 * @error: #APMIG_ERROR_INVALID_OPTION with @origin in the sentence, and where: line and column, or line, of what
 *   is no strict JSON; the JSON path ("$.steps[0].deadline-usec") of what is no policy
 *
 * Strict, see strict-json.h; besides, an unknown key, a wrong type, and a number that is no integer or out of
 * range are errors.
 *
 * Returns: (transfer full) (nullable): the policy; free it with apmig_policy_free().
 */
ApmigPolicy *apmig_policy_parse(const char *json, gsize length, const char *origin, const ApmigPolicy *base,
                                GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full): the built-in default. */
ApmigPolicy *apmig_policy_new_default(void);
ApmigPolicy *apmig_policy_copy(const ApmigPolicy *policy);
/* @policy: (nullable) */
void apmig_policy_free(ApmigPolicy *policy);

/* Returns: (transfer full): the policy as a JSON object: "settings", with every key but the rules, as a file could have
 * them; "origins", by key, the file that set it, without those that are built in; "rules" in order, each with its file as
 * "origin" and its "index" there. Valid UTF-8. */
char *apmig_policy_describe(const ApmigPolicy *policy);

/* Returns: (transfer none) (nullable): @step as the policy has it; NULL: it does without. */
const ApmigPolicyStep *apmig_policy_find_step(const ApmigPolicy *policy, ApmigStep step);

/* By number, NULL-terminated: "abort", "wait", "refuse"; "" for UNSET. */
extern const char *const apmig_on_busy_words[];
/* The same: "libvirt-abort", "vfio-state", "kill-incoming". */
extern const char *const apmig_step_words[];

const char *apmig_on_busy_to_string(ApmigOnBusy on_busy);
/* Returns: FALSE when @text names none of the three; @ret_on_busy is then untouched. */
gboolean apmig_on_busy_from_string(const char *text, ApmigOnBusy *ret_on_busy);
const char *apmig_step_to_string(ApmigStep step);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigPolicy, apmig_policy_free)
