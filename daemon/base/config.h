/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /etc/apmigd/apmigd.conf, a key file. Unknown groups and keys are errors that name file, group and key.
 */
#pragma once

#include <glib.h>

typedef struct {
    char *libvirt_uri; /* [Libvirt] URI=, default qemu:///system */
    char *hooks_dir;   /* [Libvirt] HooksDirectory=, default /etc/libvirt/hooks */
    char *status_dir;  /* [Libvirt] StatusDirectory=, default /run/libvirt/qemu; empty: none is watched */
    gint64 hook_timeout_usec;       /* [Hook] Timeout=, seconds, 1..60, default 5 */
    gboolean hook_deny_unreachable; /* [Hook] OnUnreachable=deny|allow, default deny */
} ApmigConfig;

/**
 * apmig_config_load:
 * @path: a missing file is the defaults when @must_exist is FALSE
 * @error: any; the sentence names file, group and key, and is UTF-8 without control characters
 */
ApmigConfig *apmig_config_load(const char *path, gboolean must_exist,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;
void apmig_config_free(ApmigConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigConfig, apmig_config_free)
