/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The folders of the store, and how files in them are read, written and removed so that a crash at any moment
 * leaves the old file or the new one. Any thread; one at a time in a folder. Errors are
 * APMIG_ERROR_STATE_FAILURE with a sentence that names the path.
 */
#pragma once

#include "base/error.h"

typedef struct {
    int fd;
    char *path; /* for messages */
} ApmigFolder;

/* Makes it (0700) when it is missing. */
ApmigFolder *apmig_folder_open(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void apmig_folder_free(ApmigFolder *folder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFolder, apmig_folder_free)

/* Returns: (transfer full) (element-type filename): the names in it, sorted, without those of writes that a
 * crash cut off. */
GPtrArray *apmig_folder_list(ApmigFolder *folder, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Takes away what writes that a crash cut off have left behind. */
void apmig_folder_clean(ApmigFolder *folder);

/* What was renamed, made or removed is so for good only after this. */
gboolean apmig_folder_sync(ApmigFolder *folder, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* It is there for certain; or it is there, or that cannot be told. */
gboolean apmig_folder_has(ApmigFolder *folder, const char *name);
gboolean apmig_folder_may_have(ApmigFolder *folder, const char *name);

/* Returns: realtime (usec) of the last change of @name; 0 when that cannot be told. */
gint64 apmig_folder_mtime(ApmigFolder *folder, const char *name);

/**
 * apmig_folder_read:
 * @error: a clause without the path ("it is no regular file")
 *
 * Reads a regular file of at most @max_bytes; follows no link and waits for no FIFO.
 *
 * Returns: (transfer full) (nullable): its bytes, terminated
 */
char *apmig_folder_read(ApmigFolder *folder, const char *name, gsize max_bytes, gsize *ret_length,
                        GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Writes what is to become @name into a file beside it; with @durable it is on the disk afterwards. */
gboolean apmig_folder_write_beside(ApmigFolder *folder, const char *name, const char *text, gboolean durable,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Renames that file to @name. */
gboolean apmig_folder_put_in_place(ApmigFolder *folder, const char *name,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Makes an empty file. */
gboolean apmig_folder_mark(ApmigFolder *folder, const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Renames @name to @new_name, whatever is there. */
gboolean apmig_folder_rename(ApmigFolder *folder, const char *name, const char *new_name,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Takes @name away, whatever it is: a folder that is not empty is moved to @attic. One that is not there is no
 * error. */
gboolean apmig_folder_remove(ApmigFolder *folder, const char *name, ApmigFolder *attic,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
