/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define MAX_SMALL_FILE 65536

static void
close_descriptor(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    errno = saved;
}

char *
apmig_proc_read(int folder, const char *path, gsize max_bytes, gsize *ret_length)
{
    __attribute__((cleanup(close_descriptor))) int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    g_autoptr(GString) content = g_string_new(NULL);
    char buffer[4096];
    ssize_t n;

    if (fd < 0)
        return NULL;
    while ((n = read(fd, buffer, sizeof buffer)) > 0) {
        g_string_append_len(content, buffer, n);
        if (content->len > max_bytes) {
            errno = EFBIG;
            return NULL;
        }
    }
    if (n < 0)
        return NULL;
    if (ret_length)
        *ret_length = content->len;
    return g_string_free(g_steal_pointer(&content), FALSE);
}

char *
apmig_proc_read_link(int folder, const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(folder, path, target, sizeof target - 1);

    return n < 0 ? NULL : g_strndup(target, (gsize)n);
}

static void
close_folder(DIR **stream)
{
    int saved = errno;

    if (*stream)
        closedir(*stream);
    errno = saved;
}

GArray *
apmig_proc_read_numbers(int folder, const char *path, guint max)
{
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(int));
    __attribute__((cleanup(close_folder))) DIR *stream = NULL;
    int fd = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *entry;

    if (fd < 0)
        return NULL;
    stream = fdopendir(fd);
    if (!stream) {
        close(fd);
        return NULL;
    }
    for (errno = 0; (entry = readdir(stream)); errno = 0) {
        guint64 value;
        int number;

        if (!g_ascii_string_to_unsigned(entry->d_name, 10, 0, INT_MAX, &value, NULL))
            continue;
        if (numbers->len == max) {
            errno = E2BIG;
            return NULL;
        }
        number = (int)value;
        g_array_append_val(numbers, number);
    }
    return errno == 0 ? g_steal_pointer(&numbers) : NULL;
}

gboolean
apmig_proc_read_stat(int folder, const char *path, char *ret_state, guint64 *ret_start_time)
{
    g_autofree char *content = apmig_proc_read(folder, path, MAX_SMALL_FILE, NULL);
    /* The second field, the name in parentheses, may contain anything; what follows it cannot. */
    const char *rest = content ? strrchr(content, ')') : NULL;
    g_auto(GStrv) fields = rest && rest[1] == ' ' ? g_strsplit(rest + 2, " ", -1) : NULL;

    if (!content)
        return FALSE;
    if (!fields || g_strv_length(fields) < 20 || strlen(fields[0]) != 1 ||
        !g_ascii_string_to_unsigned(fields[19], 10, 0, G_MAXUINT64, ret_start_time, NULL)) {
        errno = EBADMSG;
        return FALSE;
    }
    *ret_state = fields[0][0];
    return TRUE;
}

char *
apmig_proc_read_field(int folder, const char *path, const char *key)
{
    g_autofree char *content = apmig_proc_read(folder, path, MAX_SMALL_FILE, NULL);
    g_auto(GStrv) lines = content ? g_strsplit(content, "\n", -1) : NULL;
    gsize length = strlen(key);

    for (guint i = 0; lines && lines[i]; i++)
        if (strncmp(lines[i], key, length) == 0 && lines[i][length] == ':')
            return g_strdup(g_strstrip(lines[i] + length + 1));
    return NULL;
}
