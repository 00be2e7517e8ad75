/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The administrator's policy: the JSON files of a folder, in name order, each over what came before, the first over
 * the built-in default.
 */
#pragma once

#include "rules/policy.h"

/**
 * apmig_policy_load:
 * @dir: a missing folder is the default
 * @error: names the file, and what apmig_policy_parse() says of it
 *
 * Returns: (transfer full) (nullable)
 */
ApmigPolicy *apmig_policy_load(const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;
