/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules of a policy: what is done differently with some guests. A rule names guests by name, by UUID or by their
 * queues, and has settings of its own. The first rule that matches a guest counts, alone; what it does not set is as at
 * the top level.
 *
 * Settings are a guest's where they are about one guest that migrates: what is done with its migration (on-busy, steps)
 * and how long it may take to appear (admission-usec). All others are about a lock or the whole host, or are gates
 * (keys-differ, stamp-missing, ...): whoever defines a guest chooses its name and its UUID, so a rule is no gate.
 *
 * A rule for queues matches a guest all of whose queues are among them. One whose queues are not known counts as one of
 * every scope, so such a rule does not match it: what is not known is done with as with everybody.
 */
#pragma once

#include "rules/policy.h"
#include "ap/scope.h"

#define APMIG_RULE_MAX_GUEST 255 /* bytes of "guest" */
#define APMIG_RULE_MAX_NAME                                                                                  \
    1024 /* bytes of a guest's name; a longer one, or one that is no UTF-8, is none for a rule */

/* Not changed once it is in a policy, and counted by reference. */
typedef struct {
    char *origin;          /* the file */
    guint index;           /* in the file, from 0: "$.rules[INDEX]" */
    char *guest;           /* "guest" of "match"; (nullable): NULL: every guest */
    GPatternSpec *pattern; /* (nullable): of @guest, unless that is a UUID */
    ApmigScope *scope;     /* "scope" of "match"; (nullable): NULL: whatever its queues are */
    ApmigOnBusy on_busy;   /* UNSET: as at the top level */
    ApmigPolicyStep steps[APMIG_POLICY_MAX_STEPS];
    guint n_steps;         /* 0: as at the top level */
    gint64 admission_usec; /* 0: as at the top level */
} ApmigPolicyRule;

/* Returns: (transfer full): a rule that matches every guest and sets nothing. */
ApmigPolicyRule *apmig_policy_rule_new(const char *origin, guint index);
void apmig_policy_rule_unref(ApmigPolicyRule *rule);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigPolicyRule, apmig_policy_rule_unref)

/**
 * apmig_policy_rule_set_guest: once
 * @guest: UTF-8; a UUID, in either case, or a name in which * stands for any characters and ? for one
 */
void apmig_policy_rule_set_guest(ApmigPolicyRule *rule, const char *guest);

/* Whether both match the same guests because they say the same. */
gboolean apmig_policy_rule_has_match_of(const ApmigPolicyRule *rule, const ApmigPolicyRule *other);

/* @rules: (nullable). Returns: (transfer full): an array of its own with the same rules. */
GPtrArray *apmig_policy_rules_copy(const GPtrArray *rules);

/* What holds for one guest. */
typedef struct {
    const ApmigPolicyRule
        *rule;           /* (nullable): the one that matched; as long as the policy that it came from */
    ApmigOnBusy on_busy; /* never UNSET */
    ApmigPolicyStep steps[APMIG_POLICY_MAX_STEPS];
    guint n_steps;
    gint64 admission_usec;
} ApmigGuestSettings;

/**
 * apmig_policy_for_guest:
 * @uuid: of the guest
 * @name: of the guest; anything
 * @scope: (nullable): its queues; NULL: not known, or none, which counts as all of them
 *
 * Returns: the settings for a migration or an admission of this guest.
 */
ApmigGuestSettings apmig_policy_for_guest(const ApmigPolicy *policy, const char *uuid, const char *name,
                                          const ApmigScope *scope);

/* Returns: (transfer none) (nullable): @step as the settings have it; NULL: they do without. */
const ApmigPolicyStep *apmig_guest_settings_find_step(const ApmigGuestSettings *settings, ApmigStep step);

/* Whether some guest, seen or not, is one for which a request is refused. */
gboolean apmig_policy_may_refuse(const ApmigPolicy *policy);
