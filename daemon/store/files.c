/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/files.h"
#include "base/failpoint.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SHOWN_BYTES 512

/* A write in progress: a name that no lock or admission has. */
#define BESIDE_PREFIX "."
#define BESIDE_SUFFIX ".tmp"

/* --- messages ------------------------------------------------------------------------------------ */

G_GNUC_PRINTF(4, 5)
static gboolean
fail(ApmigFolder *folder, const char *name, GError **error, const char *what, ...)
{
    int saved_errno = errno;
    g_autofree char *path = name ? g_build_filename(folder->path, name, NULL) : g_strdup(folder->path);
    g_autofree char *shown = apmig_text_escape(path, PATH_SHOWN_BYTES);
    g_autofree char *doing = NULL;
    va_list args;

    va_start(args, what);
    doing = g_strdup_vprintf(what, args);
    va_end(args);
    g_set_error(
        error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE, "cannot %s %s: %s%s", doing, shown,
        g_strerror(saved_errno),
        saved_errno == ENOSPC || saved_errno == EDQUOT ? "; make room on its file system and try again" : "");
    return FALSE;
}

/* --- folders ------------------------------------------------------------------------------------- */

/* A new folder is one for good only once its parent is synced. */
static void
sync_parent(const char *path)
{
    g_autofree char *parent = g_path_get_dirname(path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

ApmigFolder *
apmig_folder_open(const char *path, GError **error)
{
    g_autoptr(ApmigFolder) folder = g_new0(ApmigFolder, 1);
    gboolean missing = !g_file_test(path, G_FILE_TEST_EXISTS);

    folder->fd = -1;
    folder->path = g_strdup(path);
    if (missing && g_mkdir_with_parents(path, 0700) < 0) {
        fail(folder, NULL, error, "make the folder");
        return NULL;
    }
    folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0) {
        fail(folder, NULL, error, "open the folder");
        return NULL;
    }
    if (missing)
        sync_parent(path);
    return g_steal_pointer(&folder);
}

void
apmig_folder_free(ApmigFolder *folder)
{
    if (!folder)
        return;
    if (folder->fd >= 0)
        close(folder->fd);
    g_free(folder->path);
    g_free(folder);
}

static gboolean
is_left_over(const char *name)
{
    return g_str_has_prefix(name, BESIDE_PREFIX) && g_str_has_suffix(name, BESIDE_SUFFIX);
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every name but "." and "..", as it comes. */
static GPtrArray *
read_names(ApmigFolder *folder, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    int result;

    if (!dir) {
        fail(folder, NULL, error, "read the folder");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    while (errno = 0, (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            g_ptr_array_add(names, g_strdup(entry->d_name));
    result = errno;
    closedir(dir);
    if (result != 0) {
        errno = result;
        fail(folder, NULL, error, "read the folder");
        return NULL;
    }
    return g_steal_pointer(&names);
}

GPtrArray *
apmig_folder_list(ApmigFolder *folder, GError **error)
{
    GPtrArray *names = read_names(folder, error);

    if (!names)
        return NULL;
    for (guint i = names->len; i > 0; i--)
        if (is_left_over(g_ptr_array_index(names, i - 1)))
            g_ptr_array_remove_index(names, i - 1);
    g_ptr_array_sort(names, compare_names);
    return names;
}

void
apmig_folder_clean(ApmigFolder *folder)
{
    g_autoptr(GPtrArray) names = read_names(folder, NULL);

    for (guint i = 0; names && i < names->len; i++)
        if (is_left_over(g_ptr_array_index(names, i)))
            unlinkat(folder->fd, g_ptr_array_index(names, i), 0);
}

gboolean
apmig_folder_sync(ApmigFolder *folder, GError **error)
{
    return fsync(folder->fd) == 0 || fail(folder, NULL, error, "sync the folder");
}

gboolean
apmig_folder_has(ApmigFolder *folder, const char *name)
{
    return faccessat(folder->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

gboolean
apmig_folder_may_have(ApmigFolder *folder, const char *name)
{
    return apmig_folder_has(folder, name) || errno != ENOENT;
}

gint64
apmig_folder_mtime(ApmigFolder *folder, const char *name)
{
    struct stat st;

    if (fstatat(folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return st.st_mtim.tv_sec * G_USEC_PER_SEC + st.st_mtim.tv_nsec / 1000;
}

/* --- reading ------------------------------------------------------------------------------------- */

G_GNUC_PRINTF(2, 3)
static gboolean
refuse(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(APMIG_ERROR, APMIG_ERROR_STATE_FAILURE, format, args);
    va_end(args);
    return FALSE;
}

/* One more than the bound is asked for, so that a file that grows meanwhile is noticed too. */
static gboolean
read_all(int fd, gsize max_bytes, GString *out, GError **error)
{
    while (out->len <= max_bytes) {
        char buffer[4096];
        ssize_t n = read(fd, buffer, sizeof(buffer));

        if (n == 0)
            return TRUE;
        if (n < 0 && errno != EINTR)
            return refuse(error, "it cannot be read: %s", g_strerror(errno));
        if (n > 0)
            g_string_append_len(out, buffer, n);
    }
    return refuse(error, "it has more than %" G_GSIZE_FORMAT " bytes", max_bytes);
}

/* Looked at before it is opened: opening can already do something to a device. */
static int
open_regular(ApmigFolder *folder, const char *name, GError **error)
{
    struct stat st;
    int fd;

    if (fstatat(folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode)) {
        refuse(error, "it is no regular file");
        return -1;
    }
    fd = openat(folder->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        refuse(error, "it cannot be opened: %s", g_strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        refuse(error, "it is no regular file");
        close(fd);
        return -1;
    }
    return fd;
}

char *
apmig_folder_read(ApmigFolder *folder, const char *name, gsize max_bytes, gsize *ret_length, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int fd = open_regular(folder, name, error);
    gboolean ok;

    if (fd < 0)
        return NULL;
    ok = read_all(fd, max_bytes, text, error);
    close(fd);
    if (!ok)
        return NULL;
    *ret_length = text->len;
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* --- writing ------------------------------------------------------------------------------------- */
/*
 * Not g_file_set_contents_full(): it ignores an error of the folder's sync, so a lock that is not durable would
 * pass for one that is; and it goes by path, not by the folder that is locked.
 */

static char *
beside(const char *name)
{
    return g_strconcat(BESIDE_PREFIX, name, BESIDE_SUFFIX, NULL);
}

static gboolean
write_all(int fd, const char *text)
{
    for (gsize done = 0, length = strlen(text); done < length;) {
        ssize_t n = write(fd, text + done, length - done);

        if (n < 0 && errno != EINTR)
            return FALSE;
        done += MAX(n, 0);
    }
    return TRUE;
}

gboolean
apmig_folder_write_beside(ApmigFolder *folder, const char *name, const char *text, gboolean durable,
                          GError **error)
{
    g_autofree char *temporary = beside(name);
    gboolean ok;
    int fd;

    unlinkat(folder->fd, temporary, 0);
    fd = openat(folder->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(folder, name, error, "write");
    if (durable)
        apmig_failpoint("file-opened");
    ok = write_all(fd, text);
    if (durable && ok) {
        apmig_failpoint("file-written");
        ok = fsync(fd) == 0;
    }
    if (!ok)
        fail(folder, name, error, "write");
    if (close(fd) < 0 && ok)
        ok = fail(folder, name, error, "write");
    if (!ok)
        unlinkat(folder->fd, temporary, 0);
    return ok;
}

gboolean
apmig_folder_put_in_place(ApmigFolder *folder, const char *name, GError **error)
{
    g_autofree char *temporary = beside(name);

    if (renameat(folder->fd, temporary, folder->fd, name) == 0)
        return TRUE;
    fail(folder, name, error, "write");
    unlinkat(folder->fd, temporary, 0);
    return FALSE;
}

gboolean
apmig_folder_mark(ApmigFolder *folder, const char *name, GError **error)
{
    int fd = openat(folder->fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd < 0)
        return fail(folder, name, error, "write");
    close(fd);
    return TRUE;
}

gboolean
apmig_folder_rename(ApmigFolder *folder, const char *name, const char *new_name, GError **error)
{
    return renameat(folder->fd, name, folder->fd, new_name) == 0 ||
           fail(folder, name, error, "move aside, to %s,", new_name);
}

/* --- removal ------------------------------------------------------------------------------------- */

static gboolean
remove_folder(ApmigFolder *folder, const char *name, ApmigFolder *attic, GError **error)
{
    g_autofree char *aside = NULL;

    if (unlinkat(folder->fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return TRUE;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return fail(folder, name, error, "remove");
    aside = g_strdup_printf("removed-%" G_GINT64_FORMAT, g_get_real_time());
    return renameat(folder->fd, name, attic->fd, aside) == 0 ||
           fail(folder, name, error, "move aside, to %s,", aside);
}

gboolean
apmig_folder_remove(ApmigFolder *folder, const char *name, ApmigFolder *attic, GError **error)
{
    struct stat st;

    if (fstatat(folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        return remove_folder(folder, name, attic, error);
    return unlinkat(folder->fd, name, 0) == 0 || errno == ENOENT || fail(folder, name, error, "remove");
}
