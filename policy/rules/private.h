/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the policy share: policy.c has its values, policy-settings.c the table of its keys, policy-parse.c
 * reads one, policy-describe.c tells one.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "rules/policy.h"
#include "base/strict-json.h"

#define POLICY_NOT_A_KEY "no key of a policy" /* see apmig_json_check_keys() */

/* policy-settings.c */
/* Returns: (transfer full): every key of the top level but the rules. */
GStrv policy_setting_keys(void);
/* Those of them that @place has. @error: as apmig_json_fail(). */
gboolean policy_read_settings(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error);
/* Returns: (transfer full): all of them. */
JsonObject *policy_tell_settings(const ApmigPolicy *policy);
/* Adds "steps". */
void policy_tell_steps(JsonObject *object, const ApmigPolicyStep *steps, guint n_steps);

/* policy-describe.c */
/* @object: what was read from @origin: its keys come from there now */
void policy_note_origins(ApmigPolicy *policy, JsonObject *object, const char *origin);
