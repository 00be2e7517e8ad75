/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

char *
sysfs_new(void)
{
    char *root = g_dir_make_tmp("apmigd-sysfs-XXXXXX", NULL);

    g_assert_nonnull(root);
    return root;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    return remove(path);
}

void
sysfs_free(char *root)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_free(root);
}

char *
sysfs_path(const char *root, const char *path)
{
    return g_build_filename(root, path, NULL);
}

/* Returns: (transfer full): the full path, with the folders above it made. */
static char *
make_place(const char *root, const char *path)
{
    char *full = sysfs_path(root, path);
    g_autofree char *folder = g_path_get_dirname(full);

    g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
    return full;
}

void
sysfs_write(const char *root, const char *path, const char *content)
{
    g_autofree char *full = make_place(root, path);
    g_autoptr(GError) error = NULL;

    g_file_set_contents(full, content, -1, &error);
    g_assert_no_error(error);
}

void
sysfs_link(const char *root, const char *path, const char *target)
{
    g_autofree char *full = make_place(root, path);

    g_assert_cmpint(symlink(target, full), ==, 0);
}

void
sysfs_remove(const char *root, const char *path)
{
    g_autofree char *full = sysfs_path(root, path);

    g_assert_cmpint(nftw(full, remove_one, 16, FTW_DEPTH | FTW_PHYS), ==, 0);
}

void
sysfs_add_device(const char *root, const char *uuid, const char *matrix, const char *guest_matrix)
{
    g_autofree char *matrix_path = g_build_filename("bus/mdev/devices", uuid, "matrix", NULL);
    g_autofree char *guest_path = g_build_filename("bus/mdev/devices", uuid, "guest_matrix", NULL);

    sysfs_write(root, matrix_path, matrix);
    if (guest_matrix != NULL)
        sysfs_write(root, guest_path, guest_matrix);
}

ApmigApHost *
sysfs_read_host(const char *root)
{
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(root);

    return apmig_ap_read_host(sysfs);
}

ApmigScope *
sysfs_device_scope(const char *root, const char *uuid)
{
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(root);

    return apmig_ap_device_scope(sysfs, uuid);
}
