/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A folder in the place of /sys, of a test's own.
 */
#pragma once

#include "cards/ap-sysfs.h"

/* Returns: (transfer full): its path. */
char *sysfs_new(void);
void sysfs_free(char *root);

char *sysfs_path(const char *root, const char *path);
/* Makes a file, and the folders above it. */
void sysfs_write(const char *root, const char *path, const char *content);
/* A symbolic link. */
void sysfs_link(const char *root, const char *path, const char *target);
/* A file or a whole folder. */
void sysfs_remove(const char *root, const char *path);

/* A mediated device of vfio_ap. @guest_matrix NULL: of a kernel that has no such file. */
void sysfs_add_device(const char *root, const char *uuid, const char *matrix, const char *guest_matrix);

/* What is read below it. */
ApmigApHost *sysfs_read_host(const char *root);
ApmigScope *sysfs_device_scope(const char *root, const char *uuid);
