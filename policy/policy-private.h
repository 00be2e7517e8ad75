/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the policy share: policy.c reads a policy and has the table of its keys, policy-describe.c tells it.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "policy.h"

/* policy.c */
/* Returns: (transfer full): every key of the top level but the rules. */
JsonObject *policy_tell_settings(const ApmigPolicy *policy);

/* policy-describe.c */
/* Adds "steps". */
void policy_tell_steps(JsonObject *object, const ApmigPolicyStep *steps, guint n_steps);
/* @object: what was read from @origin: its keys come from there now */
void policy_note_origins(ApmigPolicy *policy, JsonObject *object, const char *origin);
