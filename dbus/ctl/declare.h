/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Master keys that are declared, as apmigctl takes them: QUEUES:CLASS=PATTERN, one an option or one a line
 * of a file. They are only taken apart here; what they mean the daemon decides, see policy/keys/declaration.h.
 */
#pragma once

#include <glib.h>

/**
 * ctl_declare_add:
 * @pairs: (element-type utf8): gets "QUEUES CLASS" and after it the pattern, both without white space around them
 * @text: need not be UTF-8
 * @error: #CTL_EXIT_USAGE: it has another form, or is no UTF-8; @pairs is then as before
 */
gboolean ctl_declare_add(GPtrArray *pairs, const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * ctl_declare_add_lines:
 * @pairs: as ctl_declare_add(); on failure with what the lines before have said
 * @text: terminated; "#" begins a comment
 * @length: its bytes
 * @error: #CTL_EXIT_USAGE: as ctl_declare_add(), with the line's number; a NUL in the text
 */
gboolean ctl_declare_add_lines(GPtrArray *pairs, const char *text, gsize length,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* As ctl_declare_add_lines(), with what the file of that name says. */
gboolean ctl_declare_add_file(GPtrArray *pairs, const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
