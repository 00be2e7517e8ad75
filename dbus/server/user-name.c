/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server/user-name.h"

#include <errno.h>
#include <gio/gio.h>
#include <pwd.h>
#include <string.h>

#define DEADLINE_MSEC   2000
#define NAME_MAX_BYTES  128
#define BUFFER_MAX_SIZE (1024 * 1024)

struct ApmigUserLookup {
    guint32 uid;
    ApmigUserNameFunc func; /* NULL: cancelled */
    gpointer user_data;
    GCancellable *deadline;
    guint deadline_id;
};

static gboolean
name_is_printable(const char *name)
{
    if (*name == '\0' || strlen(name) > NAME_MAX_BYTES || !g_utf8_validate(name, -1, NULL))
        return FALSE;

    for (const char *c = name; *c; c = g_utf8_next_char(c)) {
        if (!g_unichar_isprint(g_utf8_get_char(c)))
            return FALSE;
    }
    return TRUE;
}

/* Runs in a worker thread; no more than the uid is shared with it. */
static void
ask_name_service(GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
    uid_t uid = GPOINTER_TO_UINT(task_data);

    for (gsize size = 4096; size <= BUFFER_MAX_SIZE; size *= 4) {
        g_autofree char *buffer = g_malloc(size);
        struct passwd entry;
        struct passwd *found = NULL;
        int r = getpwuid_r(uid, &entry, buffer, size, &found);

        if (r == ERANGE)
            continue;
        if (r == 0 && found && name_is_printable(found->pw_name)) {
            g_task_return_pointer(task, g_strdup(found->pw_name), g_free);
            return;
        }
        break;
    }
    g_task_return_pointer(task, g_strdup_printf("%" G_GUINT32_FORMAT, (guint32)uid), g_free);
}

static gboolean
on_deadline(gpointer user_data)
{
    ApmigUserLookup *lookup = user_data;

    lookup->deadline_id = 0;
    g_cancellable_cancel(lookup->deadline);
    return G_SOURCE_REMOVE;
}

static void
on_answered(GObject *source, GAsyncResult *result, gpointer user_data)
{
    ApmigUserLookup *lookup = user_data;
    g_autofree char *name = g_task_propagate_pointer(G_TASK(result), NULL);

    if (!name)
        name = g_strdup_printf("%" G_GUINT32_FORMAT, lookup->uid);
    if (lookup->func)
        lookup->func(name, lookup->user_data);

    g_clear_handle_id(&lookup->deadline_id, g_source_remove);
    g_object_unref(lookup->deadline);
    g_free(lookup);
}

ApmigUserLookup *
apmig_user_name_look_up(guint32 uid, ApmigUserNameFunc func, gpointer user_data)
{
    ApmigUserLookup *lookup = g_new0(ApmigUserLookup, 1);
    g_autoptr(GTask) task = NULL;

    lookup->uid = uid;
    lookup->func = func;
    lookup->user_data = user_data;
    lookup->deadline = g_cancellable_new();
    lookup->deadline_id = g_timeout_add(DEADLINE_MSEC, on_deadline, lookup);

    task = g_task_new(NULL, lookup->deadline, on_answered, lookup);
    g_task_set_task_data(task, GUINT_TO_POINTER(uid), NULL);
    g_task_set_return_on_cancel(task, TRUE);
    g_task_run_in_thread(task, ask_name_service);
    return lookup;
}

void
apmig_user_lookup_cancel(ApmigUserLookup *lookup)
{
    lookup->func = NULL;
    g_cancellable_cancel(lookup->deadline);
}
