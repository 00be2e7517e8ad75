/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Permits where apmigd does not run: the hook looks for one of the guest itself.
 */
#pragma once

#include <glib.h>

/**
 * ctl_hook_use_permit: marks the guest's permit as used
 * @error: a clause on why there is none that counts
 *
 * RUNTIME_DIRECTORY is honoured, as by apmigd. While apmigd runs, whether it answers or not, no permit is found.
 *
 * Returns: (transfer full) (nullable): a clause on whose it is, and why
 */
char *ctl_hook_use_permit(const char *uuid, const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;
