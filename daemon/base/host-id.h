/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this host is called in stamps.
 */
#pragma once

#include <glib.h>

/**
 * apmig_host_id:
 * @error: #GFileError, with a sentence
 *
 * A UUID made of /etc/machine-id and a constant of apmigd's, so that the machine id itself, which is not to be shown to
 * others (machine-id(5)), stays here. It lasts as long as the machine id.
 *
 * Returns: (transfer full) (nullable): lower case.
 */
char *apmig_host_id(GError **error) G_GNUC_WARN_UNUSED_RESULT;
