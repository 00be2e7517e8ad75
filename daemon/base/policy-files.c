/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/policy-files.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixinputstream.h>
#include <string.h>
#include <sys/stat.h>

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Returns: (transfer full) (nullable): paths of the JSON files, sorted by name. */
static GPtrArray *
list_files(const char *path, GError **error)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) failure = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &failure);
    const char *name;

    if (!dir && !g_error_matches(failure, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_suffix(name, ".json") && name[0] != '.')
            g_ptr_array_add(files, g_build_filename(path, name, NULL));
    g_ptr_array_sort(files, compare_names);
    return g_steal_pointer(&files);
}

/* Opened without waiting: a FIFO would keep the main loop. */
static GInputStream *
open_file(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    g_autoptr(GInputStream) stream = fd >= 0 ? g_unix_input_stream_new(fd, TRUE) : NULL;
    struct stat st;

    if (!stream || fstat(fd, &st) < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: %s", path, g_strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: it is no regular file", path);
        return NULL;
    }
    return g_steal_pointer(&stream);
}

/* Returns: (transfer full) (nullable): the text; a file that is too large is cut one byte above the limit, so that
 * the parser refuses it. */
static GBytes *
read_file(const char *path, GError **error)
{
    g_autoptr(GInputStream) stream = open_file(path, error);

    return stream ? g_input_stream_read_bytes(stream, APMIG_POLICY_MAX_BYTES + 1, NULL, error) : NULL;
}

ApmigPolicy *
apmig_policy_load(const char *dir, GError **error)
{
    g_autoptr(ApmigPolicy) policy = apmig_policy_new_default();
    g_autoptr(GPtrArray) files = list_files(dir, error);

    for (guint i = 0; files && i < files->len; i++) {
        const char *path = g_ptr_array_index(files, i);
        g_autoptr(GBytes) text = read_file(path, error);
        ApmigPolicy *next;
        gconstpointer data;
        gsize length;

        if (!text)
            return NULL;
        data = g_bytes_get_data(text, &length);
        next = apmig_policy_parse(data, length, path, policy, error);
        if (!next)
            return NULL;
        apmig_policy_free(policy);
        policy = next;
    }
    return files ? g_steal_pointer(&policy) : NULL;
}
