/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hosts that a command line or a file names. A host that is not understood, or named twice, is an error and never
 * passed over: a list that is shorter than it was meant to be would look like agreement.
 */
#pragma once

#include <glib.h>

/**
 * hosts_names_parse: a list as of --hosts=
 * @list: [USER@]HOST[:PORT], separated by commas
 * @error: #CTL_EXIT_USAGE; the sentence names the host
 *
 * Returns: (transfer full) (nullable) (element-type utf8): sorted, each once, at most 500
 */
GPtrArray *hosts_names_parse(const char *list, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * hosts_names_read: a file as of --hosts-file=: one host a line; # begins a comment
 * @path: at most 256 KiB are read
 * @error: #CTL_EXIT_USAGE; the sentence names the line
 *
 * Returns: as hosts_names_parse()
 */
GPtrArray *hosts_names_read(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* @name: one of those. @ret_port: (out) (nullable) (transfer full): what ssh's -p takes. Returns: (transfer full): what ssh
 * takes as its destination. */
char *hosts_names_split(const char *name, char **ret_port);
