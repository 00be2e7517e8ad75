/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/hook-presence.h"

#include <errno.h>
#include <sys/stat.h>

/* Returns: (transfer full) (nullable): what is wrong with it. */
static char *
find_problem(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return errno == ENOENT ? g_strdup("does not exist")
                               : g_strdup_printf("cannot be looked at: %s", g_strerror(errno));
    if (!S_ISREG(st.st_mode))
        return g_strdup("is no regular file");
    if (!(st.st_mode & 0111))
        return g_strdup("is not executable");
    return NULL;
}

gboolean
apmig_hook_is_installed(const char *hooks_dir, char **ret_problem)
{
    g_autofree char *path = g_build_filename(hooks_dir, "qemu.d", APMIG_HOOK_NAME, NULL);
    g_autofree char *problem = find_problem(path);

    if (problem && ret_problem)
        *ret_problem = g_strdup_printf("%s %s", path, problem);
    return !problem;
}
