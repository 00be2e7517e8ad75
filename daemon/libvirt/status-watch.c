/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/status-watch.h"

#include <glib-unix.h>
#include <stdalign.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".xml"

/* The watched folder went away: what its path names now is to be found out again. */
#define GONE_MASK (IN_DELETE_SELF | IN_MOVE_SELF)
/* Of a folder above, while the one wanted is missing or not allowed to be read. */
#define ABOVE_MASK  (IN_CREATE | IN_MOVED_TO | IN_ATTRIB | GONE_MASK | IN_ONLYDIR)
#define STATUS_MASK (IN_MOVED_TO | GONE_MASK | IN_ONLYDIR)

struct ApmigStatusWatch {
    char *dir;
    ApmigStatusFunc func;
    ApmigStatusWatchedFunc watched_func;
    gpointer user_data;
    gboolean told_watched;
    guint telling_source;
    guint checking_source;
    int fd; /* inotify; -1: none */
    guint source;
    int status_wd; /* of the folder itself; -1: only one above it is watched */
    dev_t device;  /* with it: which folder that is */
    ino_t inode;
};

static gboolean on_readable(int fd, GIOCondition condition, gpointer user_data);

static void
disarm(ApmigStatusWatch *watch)
{
    if (watch->source != 0)
        g_source_remove(watch->source);
    if (watch->fd >= 0)
        close(watch->fd);
    watch->source = 0;
    watch->fd = -1;
    watch->status_wd = -1;
}

/* Whether the path names the folder that is watched. */
static gboolean
is_the_same(const ApmigStatusWatch *watch)
{
    struct stat now;

    return stat(watch->dir, &now) == 0 && now.st_dev == watch->device && now.st_ino == watch->inode;
}

/* Before it is watched: one that is exchanged in between is then found to be another. */
static void
note_identity(ApmigStatusWatch *watch)
{
    struct stat now = {0};

    if (stat(watch->dir, &now) != 0)
        now = (struct stat){0};
    watch->device = now.st_dev;
    watch->inode = now.st_ino;
}

/* Watches the folder, or else the nearest above it that can be. Returns: the length of the path watched, 0: none. */
static gsize
watch_nearest(ApmigStatusWatch *watch)
{
    g_autofree char *path = g_strdup(watch->dir);

    note_identity(watch);
    watch->status_wd = inotify_add_watch(watch->fd, path, STATUS_MASK);
    if (watch->status_wd >= 0)
        return strlen(path);
    for (;;) {
        char *above = g_path_get_dirname(path);
        gboolean is_top = strcmp(above, path) == 0;

        g_free(path);
        path = above;
        if (inotify_add_watch(watch->fd, path, ABOVE_MASK) >= 0)
            return strlen(path);
        if (is_top)
            return 0;
    }
}

static void
arm(ApmigStatusWatch *watch)
{
    gsize length = 0, length_before;

    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd < 0)
        return;
    /* What was made on the way down before the folder above it was watched would be missed: look once more. */
    do {
        length_before = length;
        length = watch_nearest(watch);
    } while (watch->status_wd < 0 && length > length_before);
    watch->source = g_unix_fd_add(watch->fd, G_IO_IN, on_readable, watch);
}

static void
tell_watched(ApmigStatusWatch *watch)
{
    gboolean watched = watch->status_wd >= 0;

    if (watched != watch->told_watched)
        watch->watched_func(watched, watch->user_data);
    watch->told_watched = watched;
}

/* Of what changed meanwhile nothing was seen: for that moment it was not watched. */
static void
arm_again(ApmigStatusWatch *watch)
{
    disarm(watch);
    tell_watched(watch);
    arm(watch);
    tell_watched(watch);
    if (watch->status_wd >= 0)
        watch->func(NULL, watch->user_data);
}

static void
report(ApmigStatusWatch *watch, const char *file)
{
    g_autofree char *name = NULL;

    if (!g_str_has_suffix(file, SUFFIX))
        return;
    name = g_strndup(file, strlen(file) - strlen(SUFFIX));
    watch->func(g_utf8_validate(name, -1, NULL) ? name : NULL, watch->user_data);
}

/* Returns: FALSE when the watches were renewed, so that what else was read is of no use. */
static gboolean
handle_event(ApmigStatusWatch *watch, const struct inotify_event *event)
{
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        watch->func(NULL, watch->user_data);
        return TRUE;
    }
    if (watch->status_wd < 0 ||
        (event->wd == watch->status_wd && (event->mask & (GONE_MASK | IN_IGNORED)) != 0)) {
        arm_again(watch);
        return FALSE;
    }
    if (event->wd == watch->status_wd && event->len > 0)
        report(watch, event->name);
    return TRUE;
}

static gboolean
on_readable(int fd, GIOCondition condition, gpointer user_data)
{
    ApmigStatusWatch *watch = user_data;
    alignas(struct inotify_event) char buffer[4096];
    ssize_t length = read(fd, buffer, sizeof(buffer));
    const struct inotify_event *event;

    for (const char *p = buffer; p < buffer + length; p += sizeof(*event) + event->len) {
        event = (const struct inotify_event *)p;
        if (!handle_event(watch, event))
            return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static gboolean
on_telling(gpointer user_data)
{
    ApmigStatusWatch *watch = user_data;

    watch->telling_source = 0;
    tell_watched(watch);
    return G_SOURCE_REMOVE;
}

ApmigStatusWatch *
apmig_status_watch_new(const char *dir, ApmigStatusFunc func, ApmigStatusWatchedFunc watched_func,
                       gpointer user_data)
{
    ApmigStatusWatch *watch = g_new0(ApmigStatusWatch, 1);

    watch->dir = g_strdup(dir);
    watch->func = func;
    watch->watched_func = watched_func;
    watch->user_data = user_data;
    watch->fd = -1;
    watch->status_wd = -1;
    watch->telling_source = g_idle_add_full(G_PRIORITY_HIGH, on_telling, watch, NULL);
    arm(watch);
    return watch;
}

static gboolean
on_checking(gpointer user_data)
{
    ApmigStatusWatch *watch = user_data;

    watch->checking_source = 0;
    if (watch->status_wd >= 0 && !is_the_same(watch))
        arm_again(watch);
    return G_SOURCE_REMOVE;
}

void
apmig_status_watch_check(ApmigStatusWatch *watch)
{
    if (watch->checking_source == 0)
        watch->checking_source = g_idle_add_full(G_PRIORITY_DEFAULT, on_checking, watch, NULL);
}

void
apmig_status_watch_free(ApmigStatusWatch *watch)
{
    if (!watch)
        return;
    g_clear_handle_id(&watch->telling_source, g_source_remove);
    g_clear_handle_id(&watch->checking_source, g_source_remove);
    disarm(watch);
    g_free(watch->dir);
    g_free(watch);
}
